//! Patterns with `*` (any text) and `?` (any character).

/// Why a pattern cannot be read: it holds a policy variable other than `${*}`, `${?}` and `${$}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct UnknownVariable;

/// A pattern. Matching never steps back over a `*`: it costs the length of the text, or for pieces that hold `?` at most the length of the
/// text times that of the piece, and takes no memory.
#[derive(Clone, Debug)]
pub struct Glob {
    text: String,
    /// What stands between the stars: one more than there are.
    pieces: Vec<Piece>,
}

impl PartialEq for Glob {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Glob {}

#[derive(Clone, Debug)]
enum Piece {
    Literal(String),
    /// Characters; none stands for any.
    Holes(Vec<Option<char>>),
}

/// One symbol of a pattern.
enum Symbol {
    Char(char),
    AnyChar,
    AnyText,
}

/// Reads symbols, with variables taken as what they stand for.
fn symbols(text: &str) -> Result<Vec<Symbol>, UnknownVariable> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if let Some(variable) = rest.strip_prefix("${") {
            let mut chars = variable.chars();
            match (chars.next(), chars.next()) {
                (Some(c @ ('*' | '?' | '$')), Some('}')) => out.push(Symbol::Char(c)),
                _ => return Err(UnknownVariable),
            }
            rest = chars.as_str();
            continue;
        }
        out.push(match c {
            '*' => Symbol::AnyText,
            '?' => Symbol::AnyChar,
            c => Symbol::Char(c),
        });
        rest = &rest[c.len_utf8()..];
    }
    Ok(out)
}

/// Reads a text in which `*` and `?` stand for themselves.
pub(super) fn literal(text: &str) -> Result<String, UnknownVariable> {
    let char_of = |symbol: Symbol| match symbol {
        Symbol::Char(c) => c,
        Symbol::AnyChar => '?',
        Symbol::AnyText => '*',
    };
    Ok(symbols(text)?.into_iter().map(char_of).collect())
}

impl Glob {
    /// Reads a pattern.
    pub(super) fn parse(text: &str) -> Result<Self, UnknownVariable> {
        let mut pieces = vec![Vec::new()];
        for symbol in symbols(text)? {
            match (symbol, pieces.last_mut()) {
                (Symbol::Char(c), Some(piece)) => piece.push(Some(c)),
                (Symbol::AnyChar, Some(piece)) => piece.push(None),
                _ => pieces.push(Vec::new()),
            }
        }
        Ok(Self { text: text.to_owned(), pieces: pieces.into_iter().map(Piece::new).collect() })
    }

    /// The pattern as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether the whole of `text` matches.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        let Some((first, others)) = self.pieces.split_first() else { return text.is_empty() };
        let Some(mut rest) = first.strip(text) else { return false };
        let Some((last, between)) = others.split_last() else { return rest.is_empty() };
        for piece in between {
            match piece.after_first(rest) {
                Some(after) => rest = after,
                None => return false,
            }
        }
        last.ends(rest)
    }
}

impl Piece {
    fn new(chars: Vec<Option<char>>) -> Self {
        match chars.iter().copied().collect::<Option<String>>() {
            Some(literal) => Self::Literal(literal),
            None => Self::Holes(chars),
        }
    }

    /// What follows if the text begins with the piece.
    fn strip<'t>(&self, text: &'t str) -> Option<&'t str> {
        match self {
            Self::Literal(literal) => text.strip_prefix(literal.as_str()),
            Self::Holes(holes) => {
                let mut chars = text.chars();
                holes.iter().all(|hole| chars.next().is_some_and(|c| hole.is_none_or(|hole| hole == c))).then_some(chars.as_str())
            }
        }
    }

    /// What follows the first place of the piece.
    fn after_first<'t>(&self, text: &'t str) -> Option<&'t str> {
        match self {
            Self::Literal(literal) => text.find(literal.as_str()).and_then(|at| text.get(at + literal.len()..)),
            Self::Holes(_) => text.char_indices().find_map(|(at, _)| self.strip(text.get(at..)?)),
        }
    }

    fn ends(&self, text: &str) -> bool {
        match self {
            Self::Literal(literal) => text.ends_with(literal.as_str()),
            Self::Holes(holes) => {
                let mut chars = text.chars().rev();
                holes.iter().rev().all(|hole| chars.next().is_some_and(|c| hole.is_none_or(|hole| hole == c)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What a pattern means, said as shortly as can be.
    fn oracle(pattern: &[char], text: &[char]) -> bool {
        match (pattern.first(), text.first()) {
            (None, None) => true,
            (Some('*'), _) => oracle(&pattern[1..], text) || (!text.is_empty() && oracle(pattern, &text[1..])),
            (Some('?'), Some(_)) => oracle(&pattern[1..], &text[1..]),
            (Some(p), Some(t)) if p == t => oracle(&pattern[1..], &text[1..]),
            _ => false,
        }
    }

    #[test]
    fn variables_stand_for_characters_or_are_refused() {
        assert!(Glob::parse("a${*}b").unwrap().matches("a*b"));
        assert!(!Glob::parse("a${*}b").unwrap().matches("axb"));
        assert!(Glob::parse("${?}${$}").unwrap().matches("?$"));
        assert_eq!(literal("a*?${*}"), Ok("a*?*".to_owned()));
        for text in ["${aws:username}", "${*", "${", "x${}"] {
            assert_eq!(Glob::parse(text), Err(UnknownVariable), "{text}");
            assert_eq!(literal(text), Err(UnknownVariable), "{text}");
        }
        assert!(Glob::parse("$a}$").unwrap().matches("$a}$"));
    }

    #[test]
    fn a_pattern_made_to_step_back_costs_no_more() {
        let text = "a".repeat(100_000);
        assert!(!Glob::parse(&format!("{}b", "a*".repeat(5_000))).unwrap().matches(&text));
        assert!(Glob::parse(&"*a".repeat(5_000)).unwrap().matches(&text));
        assert!(!Glob::parse(&format!("{}b*", "?*a".repeat(2_000))).unwrap().matches(&text));
    }

    proptest! {
        #[test]
        fn a_pattern_matches_what_it_means(pattern in "[ab*?ä]{0,8}", text in "[abä]{0,8}") {
            let chars = |text: &str| text.chars().collect::<Vec<_>>();
            prop_assert_eq!(Glob::parse(&pattern).unwrap().matches(&text), oracle(&chars(&pattern), &chars(&text)));
        }

        #[test]
        fn any_pattern_is_read_or_refused(pattern in ".{0,30}", text in ".{0,30}") {
            if let Ok(glob) = Glob::parse(&pattern) {
                let _ = glob.matches(&text);
            }
        }
    }
}
