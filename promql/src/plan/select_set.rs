//! The raw reads of a plan, each once.

use crate::source::{Select, SelectId};
use model::{Matcher, Timestamp};

/// Collects reads; reads of the same series whose time ranges touch become one.
#[derive(Debug, Default)]
pub(crate) struct SelectSet {
    selects: Vec<Select>,
}

impl SelectSet {
    /// Notes that samples in `(start_ms, end_ms]` are needed, or the newest of them.
    pub(crate) fn add(&mut self, matchers: &[Matcher], (start_ms, end_ms): (Timestamp, Timestamp), newest_only: bool) -> SelectId {
        let touches = |s: &&mut Select| s.matchers == matchers && start_ms <= s.end_ms && s.start_ms <= end_ms;
        if let Some(known) = self.selects.iter_mut().find(touches) {
            known.newest_only &= newest_only && (known.start_ms, known.end_ms) == (start_ms, end_ms);
            known.start_ms = known.start_ms.min(start_ms);
            known.end_ms = known.end_ms.max(end_ms);
            return known.id;
        }
        let id = SelectId(self.selects.len() as u32);
        self.selects.push(Select { id, matchers: matchers.to_vec(), start_ms, end_ms, newest_only });
        id
    }

    /// The reads in the order of their numbers.
    pub(crate) fn finish(self) -> Vec<Select> {
        self.selects
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_that_touch_are_merged_and_distant_ones_are_not() {
        let m = [Matcher::equal("a", "1")];
        let mut set = SelectSet::default();
        assert_eq!(set.add(&m, (100, 200), false), SelectId(0));
        assert_eq!(set.add(&m, (150, 300), false), SelectId(0));
        assert_eq!(set.add(&m, (-9_000, -8_000), false), SelectId(1));
        assert_eq!(set.add(&[Matcher::equal("a", "2")], (100, 200), false), SelectId(2));
        let selects = set.finish();
        assert_eq!((selects[0].start_ms, selects[0].end_ms), (100, 300));
        assert_eq!(selects.len(), 3);
    }

    #[test]
    fn the_newest_sample_is_enough_only_if_it_is_for_all_at_the_same_times() {
        let m = [Matcher::equal("a", "1")];
        let newest_only = |reads: &[(i64, i64, bool)]| {
            let mut set = SelectSet::default();
            for (start_ms, end_ms, newest_only) in reads {
                set.add(&m, (*start_ms, *end_ms), *newest_only);
            }
            set.finish()[0].newest_only
        };
        assert!(newest_only(&[(1, 9, true), (1, 9, true)]));
        assert!(!newest_only(&[(1, 9, true), (1, 9, false)]));
        assert!(!newest_only(&[(1, 9, false), (1, 9, true)]));
        assert!(!newest_only(&[(1, 9, true), (1, 8, true)]));
        assert!(!newest_only(&[(1, 9, true), (1, 8, true), (1, 9, true)]));
    }
}
