//! Why a policy is refused, and at which place.

use std::fmt;

/// A fact about one place of a policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {fact}")]
pub struct PolicyError {
    /// Where: `Statement[0].Condition.StringEquals`.
    pub place: Place,
    /// What is wrong there.
    pub fact: PolicyFact,
}

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyFact {
    /// The text is too long.
    #[error("{bytes} bytes are more than {max}")]
    TooLarge {
        /// How long it is.
        bytes: usize,
        /// How long it may be.
        max: usize,
    },
    /// The text is not JSON, or has an object that names a member twice.
    #[error("not JSON in which each name stands once (line {line}, column {column})")]
    Json {
        /// Line, from one.
        line: usize,
        /// Column, from one.
        column: usize,
    },
    /// The element is none that this server knows, or none of this kind of policy.
    #[error("not an element that is supported here")]
    UnknownElement,
    /// The element must be there.
    #[error("missing")]
    Missing,
    /// Two elements exclude each other.
    #[error("not together with its opposite")]
    WithOpposite,
    /// The value is of another form.
    #[error("must be {expected}")]
    Expected {
        /// Which form it must have.
        expected: &'static str,
    },
    /// There are too many.
    #[error("more than {max}")]
    TooMany {
        /// How many there may be.
        max: usize,
    },
    /// The same Sid stands twice.
    #[error("stands twice")]
    Twice,
    /// The operator is none that this server knows.
    #[error("not a condition operator that is supported")]
    UnknownOperator,
    /// The key is none that this server knows.
    #[error("not a condition key that is supported here")]
    UnknownKey,
    /// The operator does not compare what the key holds.
    #[error("the operator does not fit the key")]
    OperatorOfKey,
    /// No action has such a name.
    #[error("matches no action that can be allowed or denied here")]
    UnknownAction,
    /// Policy variables are not supported but for `${*}`, `${?}` and `${$}`.
    #[error("holds a policy variable that is not supported")]
    UnknownVariable,
    /// A matcher cannot be read.
    #[error("not label matchers: {detail}")]
    Matchers {
        /// Why.
        detail: String,
    },
}

/// A place in a policy, as a path of names and positions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place(String);

impl Place {
    /// A member of this place.
    #[must_use]
    pub(super) fn member(&self, name: &str) -> Self {
        const SHOWN_MAX: usize = 80;
        let shown: String = name.chars().take(SHOWN_MAX).collect();
        Self(if self.0.is_empty() { shown } else { format!("{}.{shown}", self.0) })
    }

    /// An element of this place.
    #[must_use]
    pub(super) fn element(&self, at: usize) -> Self {
        Self(format!("{}[{at}]", self.0))
    }

    pub(super) fn error(&self, fact: PolicyFact) -> PolicyError {
        PolicyError { place: self.clone(), fact }
    }

    pub(super) fn expected(&self, expected: &'static str) -> PolicyError {
        self.error(PolicyFact::Expected { expected })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "policy" } else { &self.0 })
    }
}
