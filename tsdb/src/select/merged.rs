//! The first so many texts of several sorted sources.

use std::cmp::Ordering;
use std::ops::ControlFlow;

/// The union of sorted sources, cut to a limit as it grows: sources are read no further than what can be in it.
#[derive(Debug)]
pub(crate) struct Merged {
    limit: usize,
    /// Of the sources before; what is in front of `at` went into `next`.
    done: Vec<String>,
    at: usize,
    next: Vec<String>,
}

impl Merged {
    /// Keeps the first `limit`; all, if it is 0.
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit: if limit == 0 { usize::MAX } else { limit }, done: Vec::new(), at: 0, next: Vec::new() }
    }

    /// How many it keeps at most.
    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    /// Takes texts in any order as one source.
    pub(crate) fn take(&mut self, mut texts: Vec<String>) {
        texts.sort_unstable();
        texts.dedup();
        let _ = texts.iter().try_for_each(|text| self.offer(text, || true));
        self.end_source();
    }

    /// Takes the next text of the present source, later than the one before, if it is new and `is_meant`; tells whether the source can
    /// have more to give.
    pub(crate) fn offer(&mut self, text: &str, is_meant: impl FnOnce() -> bool) -> ControlFlow<()> {
        while let Some(known) = self.done.get_mut(self.at) {
            let order = known.as_str().cmp(text);
            if order == Ordering::Greater {
                break;
            }
            self.next.push(std::mem::take(known));
            self.at += 1;
            if order == Ordering::Equal || self.next.len() >= self.limit {
                return self.go_on();
            }
        }
        if is_meant() {
            self.next.push(text.to_owned());
        }
        self.go_on()
    }

    fn go_on(&self) -> ControlFlow<()> {
        if self.next.len() >= self.limit { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    /// Ends the present source.
    pub(crate) fn end_source(&mut self) {
        let room = self.limit - self.next.len();
        self.next.extend(self.done.drain(..).skip(self.at).take(room));
        std::mem::swap(&mut self.done, &mut self.next);
        self.at = 0;
    }

    /// The texts, sorted.
    pub(crate) fn finish(self) -> Vec<String> {
        self.done
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::{btree_set, vec};
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn merged_are_the_first_of_the_union(sources in vec(btree_set("[ab]{0,3}", 0..12), 0..5), limit in 0usize..10) {
            let mut merged = Merged::new(limit);
            for source in &sources {
                let mut read = 0;
                for text in source {
                    read += 1;
                    if merged.offer(text, || text.len() != 2).is_break() {
                        break;
                    }
                }
                let most = source.iter().filter(|text| text.len() != 2).nth(limit.wrapping_sub(1));
                if let Some(most) = most {
                    prop_assert!(read <= source.iter().position(|text| text == most).unwrap() + 1, "a source is left as soon as it can be");
                }
                merged.end_source();
            }
            let all: BTreeSet<&String> = sources.iter().flatten().filter(|text| text.len() != 2).collect();
            let expected: Vec<String> = all.into_iter().take(if limit == 0 { usize::MAX } else { limit }).cloned().collect();
            prop_assert_eq!(merged.finish(), expected);
        }
    }
}
