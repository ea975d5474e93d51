//! Which series a permission reaches: `aps:LabelMatchers` for what is read, `aps:RequiredLabels` for what is written.

use model::{Labels, MatchOp, Matcher};
use std::fmt::Write;

/// Matchers of one list at most.
const MATCHERS_MAX: usize = 20;
/// Bytes of one list at most: it may hold patterns, which are compiled.
const TEXT_BYTES_MAX: usize = 2048;
/// Lists that a permission may be made of at most.
pub(super) const SETS_MAX: usize = 64;

/// Matchers that must all hold, as they were written and as read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MatcherSet {
    text: String,
    matchers: Vec<Matcher>,
}

impl MatcherSet {
    /// Reads a list in the form of a PromQL selector without a metric name, `{team="a",env=~"dev|test"}`; the braces may be left out.
    /// Values stand in double quotes, with the escapes of Go's strings for single characters.
    ///
    /// # Errors
    /// What cannot be read.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.len() > TEXT_BYTES_MAX {
            return Err(format!("{} bytes are more than {TEXT_BYTES_MAX}", text.len()));
        }
        let list = text.trim();
        let list = match (list.strip_prefix('{'), list.strip_suffix('}')) {
            (Some(_), Some(_)) => &list[1..list.len() - 1],
            (None, _) => list,
            _ => return Err("a brace is not closed".to_owned()),
        };
        let mut matchers = Vec::new();
        let mut rest = list.trim_start();
        while !rest.is_empty() {
            if matchers.len() == MATCHERS_MAX {
                return Err(format!("more than {MATCHERS_MAX} matchers"));
            }
            let (matcher, after) = take_matcher(rest)?;
            matchers.push(matcher);
            rest = match after.trim_start().strip_prefix(',') {
                Some(after) => after.trim_start(),
                None if after.trim().is_empty() => "",
                None => return Err("a comma is missing".to_owned()),
            };
        }
        if matchers.is_empty() {
            return Err("no matcher".to_owned());
        }
        Ok(Self { text: text.to_owned(), matchers })
    }

    /// As it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The matchers.
    #[must_use]
    pub fn matchers(&self) -> &[Matcher] {
        &self.matchers
    }

    /// Whether all hold for `labels`.
    #[must_use]
    pub fn matches(&self, labels: &Labels) -> bool {
        self.matchers.iter().all(|matcher| matcher.matches_labels(labels))
    }

    /// The matchers of both.
    fn and(&self, other: &Self) -> Self {
        let mut matchers = self.matchers.clone();
        let new = other.matchers.iter().filter(|matcher| !self.matchers.contains(matcher));
        matchers.extend(new.cloned());
        let mut text = String::from("{");
        for (at, matcher) in matchers.iter().enumerate() {
            let _ = write!(text, "{}{matcher}", if at == 0 { "" } else { "," });
        }
        text.push('}');
        Self { text, matchers }
    }
}

fn take_matcher(text: &str) -> Result<(Matcher, &str), String> {
    let (name, rest) = if text.starts_with('"') {
        take_quoted(text)?
    } else {
        let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(text.len());
        let (name, rest) = text.split_at(end);
        if !model::labels::is_plain_label_name(name) {
            return Err("a label name is missing".to_owned());
        }
        (name.to_owned(), rest)
    };
    let rest = rest.trim_start();
    let operators = [MatchOp::Regex, MatchOp::NotRegex, MatchOp::NotEqual, MatchOp::Equal];
    let found = operators.into_iter().find_map(|op| Some((op, rest.strip_prefix(op.as_str())?)));
    let (op, rest) = found.ok_or_else(|| "one of = != =~ !~ is missing".to_owned())?;
    let (value, rest) = take_quoted(rest.trim_start())?;
    Ok((Matcher::new(name, op, value).map_err(|error| error.to_string())?, rest))
}

/// Takes a quoted text; the inverse of `model::labels::quote`.
fn take_quoted(text: &str) -> Result<(String, &str), String> {
    let mut chars = text.strip_prefix('"').ok_or("a value in double quotes is missing")?.chars();
    let mut out = String::new();
    loop {
        match chars.next().ok_or("a quote is not closed")? {
            '"' => return Ok((out, chars.as_str())),
            '\\' => out.push(match chars.next().ok_or("a quote is not closed")? {
                c @ ('"' | '\\' | '\'') => c,
                'a' => '\x07',
                'b' => '\x08',
                'f' => '\x0c',
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                'v' => '\x0b',
                'x' => take_hex(&mut chars, 2).filter(char::is_ascii).ok_or("an escape is not of an ASCII character")?,
                'u' => take_hex(&mut chars, 4).ok_or("an escape is not of a character")?,
                _ => return Err("an escape is unknown".to_owned()),
            }),
            '\n' => return Err("a value has a line break".to_owned()),
            c => out.push(c),
        }
    }
}

fn take_hex(chars: &mut std::str::Chars<'_>, digits: usize) -> Option<char> {
    let number = (0..digits).try_fold(0, |number, _| Some(number * 16 + chars.next()?.to_digit(16)?))?;
    char::from_u32(number)
}

/// Which series: all, or those that one of some lists of matchers fits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum LabelScope {
    /// All series.
    #[default]
    All,
    /// Series that at least one of these fits; never empty.
    AnyOf(Vec<MatcherSet>),
}

/// A scope is made of more lists than are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooManySets;

impl LabelScope {
    /// Whether a series with these labels is in it.
    #[must_use]
    pub fn admits(&self, labels: &Labels) -> bool {
        match self {
            Self::All => true,
            Self::AnyOf(sets) => sets.iter().any(|set| set.matches(labels)),
        }
    }

    /// What either reaches.
    pub(super) fn or(self, other: &Self) -> Result<Self, TooManySets> {
        match (self, other) {
            (Self::All, _) | (_, Self::All) => Ok(Self::All),
            (Self::AnyOf(sets), Self::AnyOf(others)) => Self::of(sets.iter().chain(others).cloned()),
        }
    }

    /// What both reach.
    pub(super) fn and(self, other: &Self) -> Result<Self, TooManySets> {
        match (self, other) {
            (Self::All, other) => Ok(other.clone()),
            (scope, Self::All) => Ok(scope),
            (Self::AnyOf(sets), Self::AnyOf(others)) => Self::of(sets.iter().flat_map(|set| others.iter().map(|other| set.and(other)))),
        }
    }

    fn of(all: impl Iterator<Item = MatcherSet>) -> Result<Self, TooManySets> {
        let mut sets: Vec<MatcherSet> = Vec::new();
        for set in all {
            if sets.iter().any(|have| have.matchers == set.matchers) {
                continue;
            }
            if sets.len() == SETS_MAX {
                return Err(TooManySets);
            }
            sets.push(set);
        }
        Ok(Self::AnyOf(sets))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn set(text: &str) -> MatcherSet {
        MatcherSet::parse(text).unwrap()
    }

    #[test]
    fn lists_are_read_as_selectors() {
        for text in [
            "{team=\"a\"}",
            "team=\"a\"",
            " { team = \"a\" , } ",
            "{team=\"a\",env=~\"dev|test\",x!=\"\",y!~\"z\"}",
            "\"a.b\"=\"\\x00\\u00ad\"",
        ] {
            assert!(MatcherSet::parse(text).is_ok(), "{text}");
        }
        for text in [
            "",
            "{}",
            "{",
            "{team=\"a\"",
            "team=a",
            "team=\"a",
            "team=\"a\" x=\"b\"",
            "up{a=\"b\"}",
            "=\"a\"",
            "a=~\"(\"",
            "a==\"b\"",
            "a=\"\\q\"",
            "a=\"\\xff\"",
        ] {
            assert!(MatcherSet::parse(text).is_err(), "{text}");
        }
        assert!(MatcherSet::parse(&"a=\"b\",".repeat(21)).is_err());
        assert!(MatcherSet::parse(&format!("a=\"{}\"", "b".repeat(3000))).is_err());
    }

    #[test]
    fn scopes_widen_and_narrow() {
        let scope = |texts: &[&str]| LabelScope::AnyOf(texts.iter().map(|text| set(text)).collect());
        let labels = Labels::from_pairs([("team", "a"), ("env", "dev")]);
        let (a, b, dev) = (scope(&["team=\"a\""]), scope(&["team=\"b\""]), scope(&["env=\"dev\""]));
        assert!(a.admits(&labels) && !b.admits(&labels) && LabelScope::All.admits(&labels));
        assert!(a.clone().or(&b).unwrap().admits(&labels));
        assert!(a.clone().and(&dev).unwrap().admits(&labels));
        assert!(!b.clone().and(&dev).unwrap().admits(&labels));
        assert_eq!(a.clone().or(&LabelScope::All), Ok(LabelScope::All));
        assert_eq!(a.clone().and(&LabelScope::All), Ok(a.clone()));
        assert_eq!(a.clone().or(&scope(&["{ team=\"a\" }"])), Ok(a.clone()), "the same list counts once");
        assert_eq!(a.and(&dev), Ok(scope(&["{team=\"a\",env=\"dev\"}"])));
        let many = |name: &str| LabelScope::AnyOf((0..9).map(|n| set(&format!("{name}=\"{n}\""))).collect());
        assert_eq!(many("a").and(&many("b")), Err(TooManySets));
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read_back(name in "[a-z.]{1,3}", value in ".{0,8}", other in "[a-c]{0,2}") {
            let matchers = [Matcher::new(name, MatchOp::NotEqual, value).unwrap(), Matcher::new("x", MatchOp::Regex, other).unwrap()];
            let text = format!("{{{},{}}}", matchers[0], matchers[1]);
            prop_assert_eq!(&set(&text).matchers, &matchers);
        }

        #[test]
        fn any_text_is_read_or_refused(text in ".{0,30}|\\{[a-z]=\"[a-z\\\\\"]{0,6}\",?[ -~]{0,6}\\}") {
            let _ = MatcherSet::parse(&text);
        }
    }
}
