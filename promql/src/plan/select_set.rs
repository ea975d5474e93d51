//! The raw reads of a plan, each once.

use crate::source::{Select, SelectId};
use model::{Matcher, Timestamp};

/// Collects reads; reads of the same series whose time ranges touch become one.
#[derive(Debug, Default)]
pub(crate) struct SelectSet {
    selects: Vec<Select>,
}

impl SelectSet {
    /// Notes that samples in `(start_ms, end_ms]` are needed.
    pub(crate) fn add(&mut self, matchers: &[Matcher], start_ms: Timestamp, end_ms: Timestamp) -> SelectId {
        let touches = |s: &&mut Select| s.matchers == matchers && start_ms <= s.end_ms && s.start_ms <= end_ms;
        if let Some(known) = self.selects.iter_mut().find(touches) {
            known.start_ms = known.start_ms.min(start_ms);
            known.end_ms = known.end_ms.max(end_ms);
            return known.id;
        }
        let id = SelectId(self.selects.len() as u32);
        self.selects.push(Select { id, matchers: matchers.to_vec(), start_ms, end_ms });
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
        assert_eq!(set.add(&m, 100, 200), SelectId(0));
        assert_eq!(set.add(&m, 150, 300), SelectId(0));
        assert_eq!(set.add(&m, -9_000, -8_000), SelectId(1));
        assert_eq!(set.add(&[Matcher::equal("a", "2")], 100, 200), SelectId(2));
        let selects = set.finish();
        assert_eq!((selects[0].start_ms, selects[0].end_ms), (100, 300));
        assert_eq!(selects.len(), 3);
    }
}
