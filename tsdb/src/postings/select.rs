//! The head's postings behind the evaluator of matchers.

use super::Index;
use super::posting::Posting;
use crate::select::{Source, Values, Visit};
use model::Matcher;
use model::matcher::MatchOp;
use roaring::RoaringBitmap;
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
        let is_equal = matcher.op == MatchOp::Equal;
        is_equal.then(|| self.posting(&matcher.name, &matcher.value).map_or(0, Posting::len))
    }
}

impl Index {
    pub(super) fn posting(&self, name: &str, value: &str) -> Option<&Posting> {
        let pair = self.names.get(name)?.get(value)?;
        self.postings.get(*pair as usize)
    }
}
