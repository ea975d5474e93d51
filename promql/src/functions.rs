//! The table of functions: names, argument types, what they return. How they compute is `eval::function`.

use crate::ast::ValueType;

/// One function's signature.
#[derive(Debug, PartialEq)]
pub struct Function {
    /// Its name.
    pub name: &'static str,
    /// Types of the arguments; the last may repeat or be left out, see `variadic`.
    pub args: &'static [ValueType],
    /// 0: exactly `args`; n > 0: the last argument may be left out or repeated up to n times; -1: any number of times.
    pub variadic: i8,
    /// Type of the value.
    pub returns: ValueType,
    /// Needs `promql-experimental-functions`.
    pub experimental: bool,
}

/// Finds a function by name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Function> {
    FUNCTIONS.iter().find(|f| f.name == name)
}

/// All functions, sorted by name.
pub static FUNCTIONS: &[Function] = &[];
