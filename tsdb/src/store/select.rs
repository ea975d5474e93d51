//! From matchers to series, over any source of postings: the head's or an index segment's.

use model::Matcher;
use model::matcher::MatchOp;
use roaring::RoaringBitmap;

/// Longest list of alternatives that is looked up one by one.
const SET_MATCH_MAX: usize = 256;

/// Something that knows which series carry a label.
///
/// Two implementations exist: the head's postings and a stored index segment.
pub trait PostingsSource {
    /// Why a lookup can fail.
    type Error;
    /// Adds every series to `into`.
    ///
    /// # Errors
    /// The source cannot be read.
    fn add_all(&self, into: &mut RoaringBitmap) -> Result<(), Self::Error>;
    /// Adds the series that have the label `name` with exactly `value`.
    ///
    /// # Errors
    /// The source cannot be read.
    fn add_value(&self, name: &str, value: &str, into: &mut RoaringBitmap) -> Result<(), Self::Error>;
    /// Adds the series that have the label `name` with a value that `keep` accepts.
    ///
    /// # Errors
    /// The source cannot be read.
    fn add_values_where(&self, name: &str, keep: &mut dyn FnMut(&str) -> bool, into: &mut RoaringBitmap) -> Result<(), Self::Error>;
}

/// The series of `source` that satisfy all `matchers`, an absent label having the empty value.
///
/// As Prometheus' `PostingsForMatchers`: matchers that refuse the empty value intersect, the others subtract the series whose
/// value they refuse; without any of the first kind everything is the start.
///
/// # Errors
/// The source cannot be read.
pub fn select<S: PostingsSource>(source: &S, matchers: &[Matcher]) -> Result<RoaringBitmap, S::Error> {
    let mut needed: Vec<&Matcher> = matchers.iter().filter(|m| !m.matches_empty()).collect();
    needed.sort_by_key(|m| cost(m));
    let mut found: Option<RoaringBitmap> = None;
    for matcher in needed {
        let mut postings = RoaringBitmap::new();
        add_matching(source, matcher, &mut postings)?;
        found = Some(match found {
            None => postings,
            Some(before) => before & postings,
        });
        if found.as_ref().is_some_and(RoaringBitmap::is_empty) {
            return Ok(RoaringBitmap::new());
        }
    }
    let mut found = match found {
        Some(found) => found,
        None => {
            let mut all = RoaringBitmap::new();
            source.add_all(&mut all)?;
            all
        }
    };
    for matcher in matchers.iter().filter(|m| m.matches_empty()) {
        if found.is_empty() {
            break;
        }
        let mut refused = RoaringBitmap::new();
        add_refused(source, matcher, &mut refused)?;
        found -= refused;
    }
    Ok(found)
}

/// Cheap lookups first: they make the later ones unnecessary when nothing is left.
fn cost(matcher: &Matcher) -> u8 {
    match matcher.op {
        MatchOp::Equal => 0,
        MatchOp::Regex => 1,
        MatchOp::NotEqual | MatchOp::NotRegex => 2,
    }
}

fn add_matching<S: PostingsSource>(source: &S, matcher: &Matcher, into: &mut RoaringBitmap) -> Result<(), S::Error> {
    match matcher.op {
        MatchOp::Equal => source.add_value(&matcher.name, &matcher.value, into),
        MatchOp::Regex => match alternatives(&matcher.value) {
            Some(values) => values.into_iter().try_for_each(|value| source.add_value(&matcher.name, value, into)),
            None => source.add_values_where(&matcher.name, &mut |value| matcher.matches(value), into),
        },
        MatchOp::NotEqual | MatchOp::NotRegex => source.add_values_where(&matcher.name, &mut |value| matcher.matches(value), into),
    }
}

/// The series whose value a matcher refuses that accepts the empty value.
fn add_refused<S: PostingsSource>(source: &S, matcher: &Matcher, into: &mut RoaringBitmap) -> Result<(), S::Error> {
    let alternatives = match matcher.op {
        MatchOp::NotEqual => Some(vec![matcher.value.as_str()]),
        MatchOp::NotRegex => alternatives(&matcher.value),
        MatchOp::Equal | MatchOp::Regex => None,
    };
    match alternatives {
        Some(values) => values.into_iter().try_for_each(|value| source.add_value(&matcher.name, value, into)),
        None => source.add_values_where(&matcher.name, &mut |value| !matcher.matches(value), into),
    }
}

/// The values of a pattern like `a|b|c` without any special character.
fn alternatives(pattern: &str) -> Option<Vec<&str>> {
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | ':' | '/' | ' ' | ',' | ';' | '=' | '@' | '%' | '|');
    if !pattern.chars().all(plain) {
        return None;
    }
    let values: Vec<&str> = pattern.split('|').collect();
    (values.len() <= SET_MATCH_MAX && values.iter().all(|v| !v.is_empty())).then_some(values)
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::Labels;
    use proptest::collection::vec;
    use proptest::prelude::*;
    use std::convert::Infallible;

    struct Model(Vec<Labels>);

    impl Model {
        fn add(&self, keep: impl Fn(&Labels) -> bool, into: &mut RoaringBitmap) {
            into.extend((0u32..).zip(&self.0).filter(|(_, labels)| keep(labels)).map(|(sid, _)| sid));
        }
    }

    impl PostingsSource for Model {
        type Error = Infallible;

        fn add_all(&self, into: &mut RoaringBitmap) -> Result<(), Infallible> {
            self.add(|_| true, into);
            Ok(())
        }

        fn add_value(&self, name: &str, value: &str, into: &mut RoaringBitmap) -> Result<(), Infallible> {
            self.add(|labels| labels.get(name) == Some(value), into);
            Ok(())
        }

        fn add_values_where(&self, name: &str, keep: &mut dyn FnMut(&str) -> bool, into: &mut RoaringBitmap) -> Result<(), Infallible> {
            for (sid, labels) in (0u32..).zip(&self.0) {
                if labels.get(name).is_some_and(&mut *keep) {
                    into.insert(sid);
                }
            }
            Ok(())
        }
    }

    proptest! {
        #[test]
        fn selection_is_what_every_matcher_accepts(
            series in vec((0u8..4, 0u8..4), 0..20),
            matchers in vec((0usize..3, 0usize..4, 0usize..9), 0..4),
        ) {
            let value = |n: u8| ["", "a", "b", "ab"][usize::from(n)];
            let source = Model(series.iter().map(|(x, y)| Labels::from_pairs([("x", value(*x)), ("y", value(*y))])).collect());
            let matchers: Vec<Matcher> = matchers
                .iter()
                .map(|(name, op, pattern)| {
                    let op = [MatchOp::Equal, MatchOp::NotEqual, MatchOp::Regex, MatchOp::NotRegex][*op];
                    Matcher::new(["x", "y", "z"][*name], op, ["", "a", "b", "a|b", "a|", ".*", ".+", "a.*", "ab|zz"][*pattern]).unwrap()
                })
                .collect();
            let found: Vec<u32> = select(&source, &matchers).unwrap().iter().collect();
            let expected: Vec<u32> = (0u32..)
                .zip(&source.0)
                .filter(|(_, labels)| matchers.iter().all(|m| m.matches_labels(labels)))
                .map(|(sid, _)| sid)
                .collect();
            prop_assert_eq!(found, expected);
        }
    }
}
