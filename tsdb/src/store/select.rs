//! From matchers to series, over any source of postings: the head's or an index segment's.

use model::Matcher;
use model::matcher::MatchOp;
use model::regex::Regex;
use roaring::RoaringBitmap;

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
    /// Adds the series that have the label `name` with a value that begins with `prefix` and that `keep` accepts.
    ///
    /// `keep` may be asked about other values too; it accepts none that does not begin with `prefix`.
    ///
    /// # Errors
    /// The source cannot be read.
    fn add_values_where(
        &self,
        name: &str,
        prefix: &str,
        keep: &mut dyn FnMut(&str) -> bool,
        into: &mut RoaringBitmap,
    ) -> Result<(), Self::Error>;

    /// Number of series that have the label `name` with exactly `value`, where the source knows it without reading them.
    fn value_len(&self, name: &str, value: &str) -> Option<u64> {
        let _ = (name, value);
        None
    }

    /// Keeps the series of `among` that have the label `name` with exactly `value`.
    ///
    /// # Errors
    /// The source cannot be read.
    fn keep_value(&self, name: &str, value: &str, among: &mut RoaringBitmap) -> Result<(), Self::Error> {
        let mut postings = RoaringBitmap::new();
        self.add_value(name, value, &mut postings)?;
        *among &= postings;
        Ok(())
    }

    /// Removes the series from `among` that have the label `name` with exactly `value`.
    ///
    /// # Errors
    /// The source cannot be read.
    fn drop_value(&self, name: &str, value: &str, among: &mut RoaringBitmap) -> Result<(), Self::Error> {
        let mut postings = RoaringBitmap::new();
        self.add_value(name, value, &mut postings)?;
        *among -= postings;
        Ok(())
    }
}

/// The series of `source` that satisfy all `matchers`, an absent label having the empty value.
///
/// As Prometheus' `PostingsForMatchers`: matchers that refuse the empty value intersect, the others subtract the series whose
/// value they refuse; without any of the first kind everything is the start.
///
/// # Errors
/// The source cannot be read.
pub fn select<S: PostingsSource>(source: &S, matchers: &[Matcher]) -> Result<RoaringBitmap, S::Error> {
    let mut needed: Vec<(u8, u64, &Matcher)> =
        matchers.iter().filter(|m| !m.matches_empty()).map(|m| (rank(m), len_of(source, m), m)).collect();
    needed.sort_by_key(|(rank, len, _)| (*rank, *len));
    let mut found: Option<RoaringBitmap> = None;
    for (_, _, matcher) in needed {
        let after = match found.take() {
            Some(mut before) => {
                keep_matching(source, matcher, &mut before)?;
                before
            }
            None => {
                let mut postings = RoaringBitmap::new();
                add_matching(source, matcher, &mut postings)?;
                postings
            }
        };
        if after.is_empty() {
            return Ok(after);
        }
        found = Some(after);
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
        drop_refused(source, matcher, &mut found)?;
    }
    Ok(found)
}

/// Cheap lookups first: they make the later ones unnecessary when nothing is left.
fn rank(matcher: &Matcher) -> u8 {
    match matcher.op {
        MatchOp::Equal => 0,
        MatchOp::Regex => 1,
        MatchOp::NotEqual | MatchOp::NotRegex => 2,
    }
}

/// Series of a lookup; as if there were many where the source does not know.
fn len_of<S: PostingsSource>(source: &S, matcher: &Matcher) -> u64 {
    let len = match matcher.op {
        MatchOp::Equal => source.value_len(&matcher.name, &matcher.value),
        MatchOp::NotEqual | MatchOp::Regex | MatchOp::NotRegex => None,
    };
    len.unwrap_or(u64::MAX)
}

fn add_matching<S: PostingsSource>(source: &S, matcher: &Matcher, into: &mut RoaringBitmap) -> Result<(), S::Error> {
    let name = &matcher.name;
    match (matcher.op, matcher.value.as_str()) {
        (MatchOp::Equal, value) => source.add_value(name, value, into),
        // Whatever the value is: a label that is present has one.
        (MatchOp::Regex, ".+") | (MatchOp::NotEqual, "") => source.add_values_where(name, "", &mut |_| true, into),
        (MatchOp::NotRegex, ".*") => Ok(()),
        (MatchOp::Regex, _) => match matcher.regex().and_then(Regex::set_matches) {
            Some(values) => values.iter().try_for_each(|value| source.add_value(name, value, into)),
            None => source.add_values_where(name, prefix_of(matcher), &mut |value| matcher.matches(value), into),
        },
        (MatchOp::NotEqual | MatchOp::NotRegex, _) => source.add_values_where(name, "", &mut |value| matcher.matches(value), into),
    }
}

/// What every value begins with that the pattern of a matcher finds.
fn prefix_of(matcher: &Matcher) -> &str {
    matcher.regex().map_or("", Regex::prefix)
}

fn keep_matching<S: PostingsSource>(source: &S, matcher: &Matcher, among: &mut RoaringBitmap) -> Result<(), S::Error> {
    if matcher.op == MatchOp::Equal {
        return source.keep_value(&matcher.name, &matcher.value, among);
    }
    let mut postings = RoaringBitmap::new();
    add_matching(source, matcher, &mut postings)?;
    *among &= postings;
    Ok(())
}

/// Removes the series whose value a matcher refuses that accepts the empty value.
fn drop_refused<S: PostingsSource>(source: &S, matcher: &Matcher, among: &mut RoaringBitmap) -> Result<(), S::Error> {
    let name = &matcher.name;
    let mut refused = RoaringBitmap::new();
    match (matcher.op, matcher.value.as_str()) {
        // It refuses nothing.
        (MatchOp::Regex, ".*") => return Ok(()),
        (MatchOp::NotEqual, value) => return source.drop_value(name, value, among),
        (MatchOp::NotRegex, _) => match matcher.regex().and_then(Regex::set_matches) {
            Some(values) => return values.iter().try_for_each(|value| source.drop_value(name, value, among)),
            None => source.add_values_where(name, prefix_of(matcher), &mut |value| !matcher.matches(value), &mut refused)?,
        },
        (MatchOp::Equal | MatchOp::Regex, _) => {
            source.add_values_where(name, "", &mut |value| !matcher.matches(value), &mut refused)?;
        }
    }
    *among -= refused;
    Ok(())
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

        fn add_values_where(
            &self,
            name: &str,
            prefix: &str,
            keep: &mut dyn FnMut(&str) -> bool,
            into: &mut RoaringBitmap,
        ) -> Result<(), Infallible> {
            for (sid, labels) in (0u32..).zip(&self.0) {
                if labels.get(name).is_some_and(|value| value.starts_with(prefix) && keep(value)) {
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
            matchers in vec((0usize..3, 0usize..4, 0usize..11), 0..4),
        ) {
            let value = |n: u8| ["", "a", "b", "ab"][usize::from(n)];
            let source = Model(series.iter().map(|(x, y)| Labels::from_pairs([("x", value(*x)), ("y", value(*y))])).collect());
            let matchers: Vec<Matcher> = matchers
                .iter()
                .map(|(name, op, pattern)| {
                    let op = [MatchOp::Equal, MatchOp::NotEqual, MatchOp::Regex, MatchOp::NotRegex][*op];
                    Matcher::new(["x", "y", "z"][*name], op, ["", "a", "b", "a|b", "a|", ".*", ".+", "a.*", "ab|zz", "(a|b)", "(?:ab|c\\.d)"][*pattern]).unwrap()
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
