//! Seconds of the newest sample of every slot, beside one another: which series are active is told without touching their lines.

use model::Timestamp;

/// Nothing is known: the line must be asked.
const UNSURE: u32 = 0;
/// No series lies in the slot.
const VACANT: u32 = u32::MAX;
/// Slots that are compared at once.
const RUN: usize = 256;

/// When each slot took its newest sample, in whole seconds.
#[derive(Debug, Default)]
pub(super) struct Recent {
    seconds: Vec<u32>,
    /// No sample of the head is later.
    newest_ms: Option<Timestamp>,
}

impl Recent {
    /// The newest sample of a slot, which is in the head or in a listed part and was not deleted; `None` if no such one is known.
    pub(super) fn set(&mut self, slot: u32, newest_ms: Option<Timestamp>) {
        let seconds = newest_ms.map(|t| t.div_euclid(1000)).and_then(|s| u32::try_from(s).ok()).filter(|s| *s != VACANT);
        self.newest_ms = self.newest_ms.max(newest_ms);
        self.put(slot, seconds.unwrap_or(UNSURE));
    }

    /// The series has left the slot.
    pub(super) fn vacate(&mut self, slot: u32) {
        self.put(slot, VACANT);
    }

    fn put(&mut self, slot: u32, seconds: u32) {
        let slot = slot as usize;
        if slot >= self.seconds.len() {
            self.seconds.resize(slot + 1, VACANT);
        }
        self.seconds[slot] = seconds;
    }

    /// Slots in use whose newest sample is not sure to lie in (`after_ms`, `to_ms`]; `None` if they are more than `most`.
    pub(super) fn unsure_in(&self, after_ms: Timestamp, to_ms: Timestamp, most: usize) -> Option<Vec<u32>> {
        let bounded = |second: i64| second.clamp(i64::from(UNSURE), i64::from(VACANT)) as u32;
        let first = bounded(after_ms.div_euclid(1000).saturating_add(1)).max(UNSURE + 1);
        let is_open = self.newest_ms.is_none_or(|newest| newest <= to_ms);
        // The last second all of which is in the range.
        let last = if is_open { VACANT - 1 } else { bounded(to_ms.saturating_add(1).div_euclid(1000).saturating_sub(1)).min(VACANT - 1) };
        let is_unsure = |seconds: u32| seconds != VACANT && (seconds < first || seconds > last);
        let mut unsure = Vec::new();
        for (run, seconds) in self.seconds.chunks(RUN).enumerate() {
            // Without a branch for each slot, so that it becomes vector instructions.
            if !seconds.iter().fold(false, |any, s| any | is_unsure(*s)) {
                continue;
            }
            let slots = seconds.iter().enumerate().filter(|(_, s)| is_unsure(**s)).map(|(at, _)| (run * RUN + at) as u32);
            unsure.extend(slots);
            if unsure.len() > most {
                return None;
            }
        }
        Some(unsure)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    #[test]
    fn slots_are_unsure_unless_their_newest_is_in_the_range() {
        let mut recent = Recent::default();
        for (slot, t) in [(0, Some(5_000)), (1, Some(6_999)), (3, Some(9_000)), (4, None), (5, Some(i64::MAX))] {
            recent.set(slot, t);
        }
        // Slot 2 is vacant; a time that no second stands for is unsure.
        assert_eq!(recent.unsure_in(4_999, i64::MAX, 9), Some(vec![4, 5]));
        assert_eq!(recent.unsure_in(4_999, 9_000, 9), Some(vec![3, 4, 5]), "the second of slot 3 is not over at the end of the range");
        assert_eq!(recent.unsure_in(5_000, i64::MAX, 9), Some(vec![0, 4, 5]), "begins within the second of slot 0");
        assert_eq!(recent.unsure_in(4_999, i64::MAX, 1), None);
        recent.set(0, None);
        recent.vacate(5);
        assert_eq!(recent.unsure_in(i64::MIN, i64::MAX, 9), Some(vec![0, 4]));
    }

    proptest! {
        #[test]
        fn who_is_sure_has_its_newest_in_the_range(
            newest in vec(prop::option::of(0i64..20_000), 0..600),
            (after_ms, to_ms) in (-2_000i64..21_000, -2_000i64..21_000),
        ) {
            let mut recent = Recent::default();
            (0u32..).zip(&newest).for_each(|(slot, t)| recent.set(slot, *t));
            let unsure = recent.unsure_in(after_ms, to_ms, usize::MAX).unwrap();
            for (slot, t) in (0u32..).zip(&newest) {
                prop_assert!(unsure.contains(&slot) || t.is_some_and(|t| after_ms < t && t <= to_ms), "{slot}");
            }
        }
    }
}
