//! Reasons to refuse a query, with positions.

use crate::ast::Span;
use std::fmt;

/// One reason to refuse a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError {
    /// The bytes it is about.
    pub span: Span,
    /// Line of the span's first byte, from 1; 0 if the query is empty.
    pub line: u32,
    /// Column of that byte in its line, in bytes, from 1.
    pub column: u32,
    /// What is wrong, in Prometheus's words.
    pub message: String,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line == 0 {
            write!(f, "unknown position: parse error: {}", self.message)
        } else {
            write!(f, "{}:{}: parse error: {}", self.line, self.column, self.message)
        }
    }
}

/// All reasons to refuse a query, in the order they were found; never empty. Displays as the first one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseErrors(pub Vec<ParseError>);

impl fmt::Display for ParseErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.first().map_or(Ok(()), |error| error.fmt(f))
    }
}

impl std::error::Error for ParseErrors {}

/// Adds lines and columns to errors.
pub(super) fn located(text: &str, errors: Vec<(Span, String)>) -> ParseErrors {
    let locate = |(span, message): (Span, String)| {
        let before = &text.as_bytes()[..(span.start as usize).min(text.len())];
        let line_begin = before.iter().rposition(|b| *b == b'\n').map_or(0, |n| n + 1);
        let lines = before.iter().filter(|b| **b == b'\n').count() as u32 + 1;
        let line = if text.is_empty() { 0 } else { lines };
        ParseError { span, line, column: (before.len() - line_begin) as u32 + 1, message }
    };
    ParseErrors(errors.into_iter().map(locate).collect())
}
