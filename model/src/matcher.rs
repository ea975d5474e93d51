//! One label condition; the same type in selectors, index lookups, silences and routes.

use crate::labels::Labels;
use crate::regex::{Regex, RegexCache, RegexError};
use std::fmt;

/// How a matcher compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MatchOp {
    /// `=`
    Equal,
    /// `!=`
    NotEqual,
    /// `=~`, anchored at both ends
    Regex,
    /// `!~`, anchored at both ends
    NotRegex,
}

impl MatchOp {
    /// The operator as it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::NotEqual => "!=",
            Self::Regex => "=~",
            Self::NotRegex => "!~",
        }
    }
}

/// A label name, an operator and a value; a label that is absent has the empty value.
#[derive(Clone, Debug)]
pub struct Matcher {
    /// Label name.
    pub name: String,
    /// Comparison.
    pub op: MatchOp,
    /// Text or pattern to compare with.
    pub value: String,
    regex: Option<Regex>,
}

impl Matcher {
    /// Makes a matcher, compiling the pattern of a regular expression.
    ///
    /// # Errors
    /// The pattern is not one that RE2 accepts, or one that this version cannot read exactly as RE2 does.
    pub fn new(name: impl Into<String>, op: MatchOp, value: impl Into<String>) -> Result<Self, RegexError> {
        Self::compiled_by(Regex::anchored, name.into(), op, value.into())
    }

    /// Makes a matcher whose pattern, if it has one, is taken from a cache.
    ///
    /// # Errors
    /// As [`Matcher::new`].
    pub fn cached(cache: &RegexCache, name: impl Into<String>, op: MatchOp, value: impl Into<String>) -> Result<Self, RegexError> {
        Self::compiled_by(|pattern| cache.anchored(pattern), name.into(), op, value.into())
    }

    fn compiled_by(
        compile: impl FnOnce(&str) -> Result<Regex, RegexError>,
        name: String,
        op: MatchOp,
        value: String,
    ) -> Result<Self, RegexError> {
        let regex = match op {
            MatchOp::Regex | MatchOp::NotRegex => Some(compile(&value)?),
            MatchOp::Equal | MatchOp::NotEqual => None,
        };
        Ok(Self { name, op, value, regex })
    }

    /// Makes an equality matcher.
    #[must_use]
    pub fn equal(name: impl Into<String>, value: impl Into<String>) -> Self {
        Self { name: name.into(), op: MatchOp::Equal, value: value.into(), regex: None }
    }

    /// Whether `value` (empty if the label is absent) satisfies the condition.
    #[must_use]
    pub fn matches(&self, value: &str) -> bool {
        match (self.op, &self.regex) {
            (MatchOp::Equal, _) => value == self.value,
            (MatchOp::NotEqual, _) => value != self.value,
            (MatchOp::Regex, Some(regex)) => regex.is_match(value),
            (MatchOp::NotRegex, Some(regex)) => !regex.is_match(value),
            (MatchOp::Regex | MatchOp::NotRegex, None) => false,
        }
    }

    /// Whether an absent label satisfies the condition.
    #[must_use]
    pub fn matches_empty(&self) -> bool {
        self.matches("")
    }

    /// Whether `labels` satisfy the condition.
    #[must_use]
    pub fn matches_labels(&self, labels: &Labels) -> bool {
        self.matches(labels.get(&self.name).unwrap_or(""))
    }

    /// The compiled pattern of a regular expression matcher.
    #[must_use]
    pub fn regex(&self) -> Option<&Regex> {
        self.regex.as_ref()
    }
}

impl PartialEq for Matcher {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.op == other.op && self.value == other.value
    }
}

impl Eq for Matcher {}

impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if crate::labels::is_plain_label_name(&self.name) {
            f.write_str(&self.name)?;
        } else {
            f.write_str(&crate::labels::quote(&self.name))?;
        }
        write!(f, "{}{}", self.op.as_str(), crate::labels::quote(&self.value))
    }
}
