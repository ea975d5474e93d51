//! The head's postings behind the evaluator of matchers.

use super::Index;
use super::posting::Posting;
use crate::select::{Merged, Postings, Source, Values, Visit};
use model::Matcher;
use model::matcher::MatchOp;
use roaring::RoaringBitmap;
use std::collections::HashSet;
use std::convert::Infallible;
use std::ops::{Bound, ControlFlow};
use std::sync::Arc;

impl Source for Index {
    type Error = Infallible;

    fn all(&self) -> &RoaringBitmap {
        &self.all
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        self.names.keys().map(AsRef::as_ref)
    }

    fn value_count(&self, name: &str) -> u64 {
        self.values_of(name)
    }

    fn visit(&self, name: &str, values: Values<'_>, visit: Visit<'_>) -> Result<(), Infallible> {
        match values {
            Values::One(value) => {
                if let Some(posting) = self.posting(name, value) {
                    let _ = visit(value, posting.read());
                }
            }
            Values::Where { prefix, keep } => {
                let Some(values) = self.names.get(name) else { return Ok(()) };
                let from = values.range::<str, _>((Bound::Included(prefix), Bound::Unbounded));
                for (value, pair) in from.take_while(|(value, _)| value.starts_with(prefix)).filter(|(value, _)| keep(value)) {
                    let Some(posting) = self.postings.get(*pair as usize) else { continue };
                    if visit(value, posting.read()).is_break() {
                        break;
                    }
                }
            }
        }
        Ok(())
    }

    fn texts(&self, name: &str, visit: &mut dyn FnMut(&str) -> ControlFlow<()>) -> Result<(), Infallible> {
        let _ = self.names.get(name).into_iter().flatten().try_for_each(|(value, _): (&Arc<str>, _)| visit(value));
        Ok(())
    }

    fn len_of(&self, matcher: &Matcher) -> Option<u64> {
        let of = |value: &str| self.posting(&matcher.name, value).map_or(0, Posting::len);
        match matcher.op {
            MatchOp::Equal => Some(of(&matcher.value)),
            MatchOp::Regex => matcher.regex()?.set_matches().map(|set| set.iter().map(|value| of(value)).sum()),
            MatchOp::NotEqual | MatchOp::NotRegex => None,
        }
    }
}

impl Index {
    /// Gives `merged` the values of `name`: all but those with a pair number in `doubtful`, and those of the doubtful of whose series
    /// `is_meant` says so.
    pub(crate) fn values_doubting(
        &self,
        name: &str,
        doubtful: &HashSet<u32>,
        is_meant: impl Fn(Postings<'_>) -> bool,
        merged: &mut Merged,
    ) {
        let _ = self.names.get(name).into_iter().flatten().try_for_each(|(value, pair): (&Arc<str>, &u32)| {
            merged.offer(value, || {
                !doubtful.contains(pair) || self.postings.get(*pair as usize).is_some_and(|posting| is_meant(posting.read()))
            })
        });
        merged.end_source();
    }

    /// The number of the pair with `name` among those of a series.
    pub(crate) fn pair_of(&self, pairs: &[u32], name: &str) -> Option<u32> {
        pairs.iter().copied().find(|pair| self.pair(*pair).is_some_and(|(known, _)| known == name))
    }

    pub(super) fn posting(&self, name: &str, value: &str) -> Option<&Posting> {
        let pair = self.names.get(name)?.get(value)?;
        self.postings.get(*pair as usize)
    }
}
