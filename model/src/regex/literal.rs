//! What can be known about matching values without running the engine.

use regex_syntax::hir::{Class, Dot, Hir, HirKind};

const ALTERNATIVES_MAX: usize = 256;

/// Patterns that plain text comparison decides.
#[derive(Debug)]
pub(super) enum Shape {
    /// One of these, sorted and unique.
    Set(Vec<String>),
    /// `prefix.*suffix`, or `prefix.+suffix` if the middle may not be empty.
    Around { prefix: String, suffix: String, middle_bytes_min: usize },
    /// `.*text.*`
    Contains(String),
    /// Everything else.
    Other,
}

impl Shape {
    pub(super) fn of(hir: &Hir) -> Self {
        if let Some(set) = alternatives(hir) {
            return Self::Set(set);
        }
        let parts = match hir.kind() {
            HirKind::Concat(parts) => parts.as_slice(),
            _ => std::slice::from_ref(hir),
        };
        let around = |prefix: Option<&str>, any: &Hir, suffix: Option<&str>| {
            Some(Self::Around {
                prefix: prefix?.to_owned(),
                suffix: suffix?.to_owned(),
                middle_bytes_min: usize::from(any_text(any)? == AnyText::NotEmpty),
            })
        };
        let shape = match parts {
            [any] => around(Some(""), any, Some("")),
            [first, last] if any_text(last).is_some() => around(text_of(first), last, Some("")),
            [first, last] => around(Some(""), first, text_of(last)),
            [first, middle, last] if any_text(first) == Some(AnyText::Any) && any_text(last) == Some(AnyText::Any) => {
                text_of(middle).map(|text| Self::Contains(text.to_owned()))
            }
            [first, middle, last] => around(text_of(first), middle, text_of(last)),
            _ => None,
        };
        shape.unwrap_or(Self::Other)
    }

    /// The verdict on `value`, if the shape decides it.
    pub(super) fn decides(&self, value: &str) -> Option<bool> {
        match self {
            Self::Set(set) => Some(set.binary_search_by(|candidate| candidate.as_str().cmp(value)).is_ok()),
            Self::Around { prefix, suffix, middle_bytes_min } => Some(
                value.len() >= prefix.len() + suffix.len() + middle_bytes_min
                    && value.starts_with(prefix.as_str())
                    && value.ends_with(suffix.as_str()),
            ),
            Self::Contains(text) => Some(value.contains(text.as_str())),
            Self::Other => None,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum AnyText {
    Any,
    NotEmpty,
}

/// Recognises `.*` and `.+` where the dot is any character.
fn any_text(hir: &Hir) -> Option<AnyText> {
    match hir.kind() {
        HirKind::Capture(capture) => any_text(&capture.sub),
        HirKind::Repetition(repetition) if repetition.max.is_none() && *repetition.sub == Hir::dot(Dot::AnyChar) => match repetition.min {
            0 => Some(AnyText::Any),
            1 => Some(AnyText::NotEmpty),
            _ => None,
        },
        _ => None,
    }
}

fn text_of(hir: &Hir) -> Option<&str> {
    match hir.kind() {
        HirKind::Capture(capture) => text_of(&capture.sub),
        HirKind::Literal(literal) => std::str::from_utf8(&literal.0).ok(),
        _ => None,
    }
}

/// All texts that match, sorted and unique, if they are few.
fn alternatives(hir: &Hir) -> Option<Vec<String>> {
    let mut texts = expand(hir)?;
    texts.sort_unstable();
    texts.dedup();
    Some(texts)
}

fn expand(hir: &Hir) -> Option<Vec<String>> {
    match hir.kind() {
        HirKind::Empty => Some(vec![String::new()]),
        HirKind::Literal(literal) => Some(vec![std::str::from_utf8(&literal.0).ok()?.to_owned()]),
        HirKind::Capture(capture) => expand(&capture.sub),
        HirKind::Class(Class::Unicode(class)) => {
            let size: u64 = class.ranges().iter().map(|r| u64::from(r.end()) - u64::from(r.start()) + 1).sum();
            if size > ALTERNATIVES_MAX as u64 {
                return None;
            }
            Some(class.ranges().iter().flat_map(|r| r.start()..=r.end()).map(String::from).collect())
        }
        HirKind::Concat(parts) => {
            let mut texts = vec![String::new()];
            for part in parts {
                let endings = expand(part)?;
                if texts.len().saturating_mul(endings.len()) > ALTERNATIVES_MAX {
                    return None;
                }
                texts = texts.iter().flat_map(|text| endings.iter().map(move |end| format!("{text}{end}"))).collect();
            }
            Some(texts)
        }
        HirKind::Alternation(choices) => {
            let mut texts = Vec::new();
            for choice in choices {
                texts.extend(expand(choice)?);
                if texts.len() > ALTERNATIVES_MAX {
                    return None;
                }
            }
            Some(texts)
        }
        HirKind::Repetition(repetition) if (repetition.min, repetition.max) == (0, Some(1)) => {
            let mut texts = expand(&repetition.sub)?;
            texts.push(String::new());
            Some(texts)
        }
        HirKind::Class(Class::Bytes(_)) | HirKind::Look(_) | HirKind::Repetition(_) => None,
    }
}

/// What every matching text begins with.
pub(super) fn prefix(hir: &Hir) -> String {
    let mut text = String::new();
    extend_prefix(hir, &mut text);
    text
}

/// Appends what must stand here; true if that is all that `hir` matches.
fn extend_prefix(hir: &Hir, text: &mut String) -> bool {
    match hir.kind() {
        HirKind::Empty => true,
        HirKind::Literal(literal) => match std::str::from_utf8(&literal.0) {
            Ok(literal) => {
                text.push_str(literal);
                true
            }
            Err(_) => false,
        },
        HirKind::Capture(capture) => extend_prefix(&capture.sub, text),
        HirKind::Concat(parts) => parts.iter().all(|part| extend_prefix(part, text)),
        HirKind::Alternation(choices) => {
            let mut common: Option<String> = None;
            for choice in choices {
                let begin = prefix(choice);
                common = Some(common.map_or_else(|| begin.clone(), |common| common_prefix(&common, &begin).to_owned()));
            }
            text.push_str(&common.unwrap_or_default());
            false
        }
        HirKind::Class(_) | HirKind::Look(_) | HirKind::Repetition(_) => false,
    }
}

fn common_prefix<'a>(a: &'a str, b: &str) -> &'a str {
    let length: usize = a.chars().zip(b.chars()).take_while(|(x, y)| x == y).map(|(x, _)| x.len_utf8()).sum();
    &a[..length]
}
