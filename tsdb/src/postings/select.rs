//! Which series match: `PostingsForMatchers` of Prometheus, on bitmaps.

use super::{Index, Posting};
use model::{MatchOp, Matcher};
use roaring::RoaringBitmap;
use std::collections::HashMap;
use std::sync::Arc;

impl Index {
    /// The series that satisfy every matcher.
    ///
    /// A matcher that an absent label does not satisfy gives a set; the others are subtracted as the series whose value does not satisfy them.
    /// Sets come before subtractions and equalities before patterns, so that patterns meet few candidates.
    pub(crate) fn select(&self, matchers: &[Matcher]) -> RoaringBitmap {
        let mut ordered: Vec<&Matcher> = matchers.iter().collect();
        ordered.sort_by_key(|m| self.cost(m));
        let mut result: Option<RoaringBitmap> = None;
        for matcher in ordered {
            let must_be_set = matchers.iter().any(|m| m.name == matcher.name && !m.matches_empty());
            let by_inclusion = !matcher.matches_empty() || (must_be_set && matcher.op == MatchOp::Regex);
            if by_inclusion {
                let matching = self.union_where(matcher, true);
                result = Some(match result {
                    None => matching,
                    Some(mut set) => {
                        set &= matching;
                        set
                    }
                });
            } else {
                let set = result.get_or_insert_with(|| self.all.clone());
                self.subtract_unmatched(matcher, set);
            }
            if result.as_ref().is_some_and(RoaringBitmap::is_empty) {
                break;
            }
        }
        result.unwrap_or_else(|| self.all.clone())
    }

    /// Values of `name` carried by at least one of `among` (by any series if `None`), in no order.
    pub(crate) fn values<'a>(&'a self, name: &str, among: Option<&'a RoaringBitmap>) -> impl Iterator<Item = &'a str> {
        let values = self.names.get(name).into_iter().flatten();
        values.filter(move |(_, pair)| among.is_none_or(|set| self.postings[**pair as usize].intersects(set))).map(|(value, _)| value.as_ref())
    }

    /// Names carried by at least one of `among`, in no order.
    pub(crate) fn names_among<'a>(&'a self, among: &'a RoaringBitmap) -> impl Iterator<Item = &'a str> {
        self.names
            .iter()
            .filter(|(_, values)| values.values().any(|pair| self.postings[*pair as usize].intersects(among)))
            .map(|(name, _)| name.as_ref())
    }

    fn posting(&self, name: &str, value: &str) -> Option<&Posting> {
        let pair = *self.names.get(name)?.get(value)?;
        self.postings.get(pair as usize)
    }

    /// Sort key: sets before subtractions, then by how much there is to look at.
    fn cost(&self, matcher: &Matcher) -> (bool, bool, u64) {
        let is_pattern = matcher.regex().is_some();
        let size = match matcher.op {
            MatchOp::Equal => self.posting(&matcher.name, &matcher.value).map_or(0, Posting::len),
            MatchOp::NotEqual | MatchOp::Regex | MatchOp::NotRegex => self.names.get(matcher.name.as_str()).map_or(0, HashMap::len) as u64,
        };
        (matcher.matches_empty(), is_pattern, size)
    }

    fn union_where(&self, matcher: &Matcher, matches: bool) -> RoaringBitmap {
        let mut union = RoaringBitmap::new();
        if matcher.op == MatchOp::Equal && matches {
            if let Some(posting) = self.posting(&matcher.name, &matcher.value) {
                posting.add_to(&mut union);
            }
            return union;
        }
        for (value, pair) in self.values_of(&matcher.name) {
            if matcher.matches(value) == matches {
                self.postings[pair as usize].add_to(&mut union);
            }
        }
        union
    }

    fn subtract_unmatched(&self, matcher: &Matcher, set: &mut RoaringBitmap) {
        match matcher.op {
            MatchOp::NotEqual => {
                if let Some(posting) = self.posting(&matcher.name, &matcher.value) {
                    posting.subtract_from(set);
                }
            }
            MatchOp::Equal | MatchOp::Regex | MatchOp::NotRegex => {
                for (value, pair) in self.values_of(&matcher.name) {
                    if !matcher.matches(value) {
                        self.postings[pair as usize].subtract_from(set);
                    }
                }
            }
        }
    }

    fn values_of(&self, name: &str) -> impl Iterator<Item = (&Arc<str>, u32)> {
        self.names.get(name).into_iter().flatten().map(|(value, pair)| (value, *pair))
    }
}
