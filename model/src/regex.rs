//! Regular expressions as RE2 reads them: translated for the `regex` crate, or refused where the two might differ.
//!
//! Patterns are scanned once and written anew with everything explicit, so that no construct that the two dialects read
//! differently ever reaches the other engine.

mod cache;
mod literal;
#[cfg(test)]
mod tests;
mod translate;

pub use cache::RegexCache;

use crate::limits::REGEX_BYTES_MAX;
use literal::Shape;
use std::sync::{Arc, OnceLock};

/// Bytes of a compiled program.
const PROGRAM_BYTES_MAX: usize = 4 << 20;

/// Why a pattern was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegexError {
    /// Not a pattern RE2 accepts; the text is Go's.
    #[error("error parsing regexp: {0}")]
    Syntax(String),
    /// Longer than [`REGEX_BYTES_MAX`].
    #[error("error parsing regexp: pattern of {bytes} bytes is longer than {REGEX_BYTES_MAX}")]
    TooLong {
        /// Bytes of the pattern.
        bytes: usize,
    },
    /// Its program would exceed the memory that one pattern may take.
    #[error("error parsing regexp: expression is too large")]
    TooLarge,
    /// RE2 may accept it, but it cannot be translated.
    #[error("error parsing regexp: unsupported expression: {reason}")]
    Unsupported {
        /// What the engine said.
        reason: String,
    },
}

/// A compiled pattern; cheap to clone.
#[derive(Clone, Debug)]
pub struct Regex {
    inner: Arc<Compiled>,
}

#[derive(Debug)]
struct Compiled {
    /// The pattern as the engine reads it, anchored.
    translated: String,
    /// Compiled at once unless the shape decides all matches; then when groups are first asked for.
    engine: OnceLock<Option<regex::Regex>>,
    group_names: Vec<Option<String>>,
    shape: Shape,
    prefix: String,
}

impl Compiled {
    fn engine(&self) -> Option<&regex::Regex> {
        self.engine.get_or_init(|| compile(&self.translated).ok()).as_ref()
    }
}

fn compile(translated: &str) -> Result<regex::Regex, RegexError> {
    regex::RegexBuilder::new(translated).size_limit(PROGRAM_BYTES_MAX).build().map_err(|e| match e {
        regex::Error::CompiledTooBig(_) => RegexError::TooLarge,
        other => unsupported(&other),
    })
}

impl Regex {
    /// Compiles `pattern` so that it matches whole values: `^(?s:pattern)$`.
    ///
    /// # Errors
    /// See [`RegexError`].
    pub fn anchored(pattern: &str) -> Result<Self, RegexError> {
        if pattern.len() > REGEX_BYTES_MAX {
            return Err(RegexError::TooLong { bytes: pattern.len() });
        }
        let translated = translate::translate(pattern)?;
        let body = format!("(?s:{})", translated.pattern);
        let hir = regex_syntax::parse(&body).map_err(|e| unsupported(&e))?;
        let shape = Shape::of(&hir);
        let prefix = literal::prefix(&hir);
        let translated_whole = format!(r"\A{body}\z");
        let engine = match shape {
            Shape::Other => OnceLock::from(Some(compile(&translated_whole)?)),
            _ => OnceLock::new(),
        };
        let group_names = translated.group_names;
        Ok(Self { inner: Arc::new(Compiled { translated: translated_whole, engine, group_names, shape, prefix }) })
    }

    /// Whether the whole of `value` matches.
    #[must_use]
    pub fn is_match(&self, value: &str) -> bool {
        let by_engine = || value.starts_with(self.prefix()) && self.inner.engine().is_some_and(|engine| engine.is_match(value));
        self.inner.shape.decides(value).unwrap_or_else(by_engine)
    }

    /// All values that match, sorted, if the pattern is a choice of at most 256 literals.
    #[must_use]
    pub fn set_matches(&self) -> Option<&[String]> {
        if let Shape::Set(set) = &self.inner.shape { Some(set) } else { None }
    }

    /// What every value that matches begins with; may be empty.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.inner.prefix
    }

    /// If the whole of `value` matches, `template` with `$1`, `${1}`, `$name` and `${name}` replaced by what the groups
    /// matched and `$$` by a dollar sign, as Go's `Regexp.Expand` does.
    #[must_use]
    pub fn expand(&self, value: &str, template: &str) -> Option<String> {
        let groups = self.inner.engine()?.captures(value)?;
        let mut out = String::with_capacity(template.len());
        let mut rest = template;
        while let Some(dollar) = rest.find('$') {
            out.push_str(&rest[..dollar]);
            let reference = &rest[dollar + 1..];
            if let Some(tail) = reference.strip_prefix('$') {
                out.push('$');
                rest = tail;
            } else if let Some((name, tail)) = reference_name(reference) {
                out.push_str(self.group(&groups, name).unwrap_or_default());
                rest = tail;
            } else {
                out.push('$');
                rest = reference;
            }
        }
        out.push_str(rest);
        Some(out)
    }

    fn group<'v>(&self, groups: &regex::Captures<'v>, name: &str) -> Option<&'v str> {
        let index = if name.bytes().all(|b| b.is_ascii_digit()) && (name == "0" || !name.starts_with('0')) {
            name.parse::<usize>().ok()?
        } else {
            self.inner.group_names.iter().rposition(|n| n.as_deref() == Some(name))? + 1
        };
        groups.get(index).map(|m| m.as_str())
    }
}

/// The name behind a dollar sign, with or without braces, and what follows it.
fn reference_name(text: &str) -> Option<(&str, &str)> {
    let (braced, body) = text.strip_prefix('{').map_or((false, text), |body| (true, body));
    let end = body.find(|c: char| !(c == '_' || c.is_alphanumeric())).unwrap_or(body.len());
    let (name, tail) = body.split_at(end);
    let tail = if braced { tail.strip_prefix('}')? } else { tail };
    if name.is_empty() { None } else { Some((name, tail)) }
}

fn unsupported(error: &dyn std::fmt::Display) -> RegexError {
    let text = error.to_string();
    RegexError::Unsupported { reason: text.lines().last().unwrap_or_default().to_owned() }
}
