//! The table of functions: names, argument types, what they return. How they compute is `eval::function`.

use crate::ast::ValueType;
use ValueType::{Matrix, Scalar, String, Vector};

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
    FUNCTIONS.binary_search_by(|f| f.name.cmp(name)).ok().map(|i| &FUNCTIONS[i])
}

const fn stable(name: &'static str, args: &'static [ValueType], variadic: i8, returns: ValueType) -> Function {
    Function { name, args, variadic, returns, experimental: false }
}

const fn experimental(name: &'static str, args: &'static [ValueType], variadic: i8, returns: ValueType) -> Function {
    Function { name, args, variadic, returns, experimental: true }
}

/// A function of one instant vector.
const fn vector(name: &'static str) -> Function {
    stable(name, &[Vector], 0, Vector)
}

/// A function of one range vector.
const fn matrix(name: &'static str) -> Function {
    stable(name, &[Matrix], 0, Vector)
}

/// A part of a date: of the evaluation time if there is no argument.
const fn date(name: &'static str) -> Function {
    stable(name, &[Vector], 1, Vector)
}

/// All functions, sorted by name.
pub static FUNCTIONS: &[Function] = &[
    vector("abs"),
    vector("absent"),
    matrix("absent_over_time"),
    vector("acos"),
    vector("acosh"),
    vector("asin"),
    vector("asinh"),
    vector("atan"),
    vector("atanh"),
    matrix("avg_over_time"),
    vector("ceil"),
    matrix("changes"),
    stable("clamp", &[Vector, Scalar, Scalar], 0, Vector),
    stable("clamp_max", &[Vector, Scalar], 0, Vector),
    stable("clamp_min", &[Vector, Scalar], 0, Vector),
    vector("cos"),
    vector("cosh"),
    matrix("count_over_time"),
    date("day_of_month"),
    date("day_of_week"),
    date("day_of_year"),
    date("days_in_month"),
    vector("deg"),
    matrix("delta"),
    matrix("deriv"),
    experimental("double_exponential_smoothing", &[Matrix, Scalar, Scalar], 0, Vector),
    experimental("end", &[], 0, Scalar),
    vector("exp"),
    matrix("first_over_time"),
    vector("floor"),
    vector("histogram_avg"),
    vector("histogram_count"),
    stable("histogram_fraction", &[Scalar, Scalar, Vector], 0, Vector),
    stable("histogram_quantile", &[Scalar, Vector], 0, Vector),
    experimental("histogram_quantiles", &[Vector, String, Scalar, Scalar], 9, Vector),
    vector("histogram_stddev"),
    vector("histogram_stdvar"),
    vector("histogram_sum"),
    date("hour"),
    matrix("idelta"),
    matrix("increase"),
    experimental("info", &[Vector, Vector], 1, Vector),
    matrix("irate"),
    stable("label_join", &[Vector, String, String, String], -1, Vector),
    stable("label_replace", &[Vector, String, String, String, String], 0, Vector),
    matrix("last_over_time"),
    vector("ln"),
    vector("log10"),
    vector("log2"),
    experimental("mad_over_time", &[Matrix], 0, Vector),
    experimental("max_of", &[Scalar, Scalar], 0, Scalar),
    matrix("max_over_time"),
    experimental("min_of", &[Scalar, Scalar], 0, Scalar),
    matrix("min_over_time"),
    date("minute"),
    date("month"),
    stable("pi", &[], 0, Scalar),
    stable("predict_linear", &[Matrix, Scalar], 0, Vector),
    matrix("present_over_time"),
    stable("quantile_over_time", &[Scalar, Matrix], 0, Vector),
    vector("rad"),
    experimental("range", &[], 0, Scalar),
    matrix("rate"),
    matrix("resets"),
    stable("round", &[Vector, Scalar], 1, Vector),
    stable("scalar", &[Vector], 0, Scalar),
    vector("sgn"),
    vector("sin"),
    vector("sinh"),
    vector("sort"),
    experimental("sort_by_label", &[Vector, String], -1, Vector),
    experimental("sort_by_label_desc", &[Vector, String], -1, Vector),
    vector("sort_desc"),
    vector("sqrt"),
    experimental("start", &[], 0, Scalar),
    experimental("start_timestamp", &[Vector], 0, Vector),
    matrix("stddev_over_time"),
    matrix("stdvar_over_time"),
    experimental("step", &[], 0, Scalar),
    matrix("sum_over_time"),
    vector("tan"),
    vector("tanh"),
    stable("time", &[], 0, Scalar),
    vector("timestamp"),
    experimental("ts_of_first_over_time", &[Matrix], 0, Vector),
    experimental("ts_of_last_over_time", &[Matrix], 0, Vector),
    experimental("ts_of_max_over_time", &[Matrix], 0, Vector),
    experimental("ts_of_min_over_time", &[Matrix], 0, Vector),
    stable("vector", &[Scalar], 0, Vector),
    date("year"),
];
