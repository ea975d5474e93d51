//! What can be known about matching values without running the engine.

use regex_syntax::hir::{Class, Hir, HirKind};

const ALTERNATIVES_MAX: usize = 256;

/// All texts that match, sorted and unique, if they are few.
pub(super) fn alternatives(hir: &Hir) -> Option<Vec<String>> {
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
                if texts.len() * endings.len() > ALTERNATIVES_MAX {
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
