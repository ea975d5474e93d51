//! Which spans of time were written last by which entry: what a kept result asks whether it still holds.
//!
//! It follows the log but is no part of the replicated state: a replica that restarts, or that a snapshot brought up to date, no
//! longer knows what happened before and says that everything may have changed until then.

use crate::view::TimeRange;
use model::Timestamp;
use std::collections::BTreeMap;

/// Length of the spans of time that are told apart, in milliseconds.
pub const SPAN_MS: i64 = 5 * 60_000;
/// Spans that are told apart: two weeks of them. Older ones are one.
const SPANS_MAX: usize = 4096;

/// For each span of time the log index of the last entry that wrote a sample into it, or a later one: never an earlier one.
///
/// Whatever removes samples has to be noted as well.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Nothing is known of entries up to this one.
    pub began: u64,
    /// All time before `.0` was written last by entry `.1`.
    pub older: Option<(Timestamp, u64)>,
    /// First millisecond of a span -> entry.
    pub spans: BTreeMap<Timestamp, u64>,
}

impl Changes {
    /// Knows of the entries after `index` only.
    #[must_use]
    pub fn since(index: u64) -> Self {
        Self { began: index, ..Self::default() }
    }

    /// Notes that entry `index` wrote somewhere in `first_ms..=last_ms`.
    pub fn note(&mut self, first_ms: Timestamp, last_ms: Timestamp, index: u64) {
        let mut span = span_of(first_ms);
        if let Some((end_ms, older)) = self.older.as_mut().filter(|(end_ms, _)| span < *end_ms) {
            *older = index.max(*older);
            span = *end_ms;
        }
        // What lies further back than is kept needs no spans of its own.
        let oldest_kept = span_of(last_ms).saturating_sub(SPANS_MAX as i64 * SPAN_MS);
        if span < oldest_kept {
            self.fold_before(oldest_kept, index);
            span = oldest_kept;
        }
        while span <= last_ms {
            self.spans.insert(span, index);
            span = span.saturating_add(SPAN_MS);
        }
        while self.spans.len() > SPANS_MAX {
            let Some((first, entry)) = self.spans.pop_first() else { break };
            self.fold_before(first.saturating_add(SPAN_MS), entry);
        }
    }

    /// All time before `end_ms` becomes one span.
    fn fold_before(&mut self, end_ms: Timestamp, index: u64) {
        let kept = self.spans.split_off(&end_ms);
        let newest = std::mem::replace(&mut self.spans, kept).into_values().max().unwrap_or(0).max(index);
        let (known_end, known) = self.older.unwrap_or((end_ms, 0));
        self.older = Some((known_end.max(end_ms), known.max(newest)));
    }

    /// What concerns `range`.
    #[must_use]
    pub fn within(&self, range: TimeRange) -> Self {
        if range.first_ms() > range.to_ms {
            return Self::since(self.began);
        }
        let older = self.older.filter(|(end_ms, _)| range.first_ms() < *end_ms);
        let spans = self.spans.range(span_of(range.first_ms())..=range.to_ms).map(|(start, index)| (*start, *index)).collect();
        Self { began: self.began, older, spans }
    }

    /// The last entry that may have written into `range`.
    #[must_use]
    pub fn last_in(&self, range: TimeRange) -> u64 {
        let Self { began, older, spans } = self.within(range);
        let older = older.map_or(0, |(_, index)| index);
        spans.into_values().max().unwrap_or(0).max(older).max(began)
    }

    /// The first millisecond of `range` that an entry after `index` may have written.
    #[must_use]
    pub fn first_after(&self, range: TimeRange, index: u64) -> Option<Timestamp> {
        let within = self.within(range);
        if within.began > index || within.older.is_some_and(|(_, older)| older > index) {
            return Some(range.first_ms());
        }
        let start = within.spans.iter().find(|(_, entry)| **entry > index).map(|(start, _)| *start)?;
        Some(start.max(range.first_ms()))
    }
}

fn span_of(ms: Timestamp) -> Timestamp {
    ms.div_euclid(SPAN_MS).saturating_mul(SPAN_MS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn range(first_ms: i64, to_ms: i64) -> TimeRange {
        TimeRange { after_ms: first_ms - 1, to_ms }
    }

    #[test]
    fn a_write_into_one_span_leaves_the_others_as_they_were() {
        let mut changes = Changes::since(7);
        changes.note(10 * SPAN_MS + 5, 10 * SPAN_MS + 5, 8);
        changes.note(12 * SPAN_MS, 13 * SPAN_MS, 9);
        assert_eq!(changes.last_in(range(0, 10 * SPAN_MS - 1)), 7);
        assert_eq!(changes.last_in(range(0, 10 * SPAN_MS)), 8);
        assert_eq!(changes.last_in(range(11 * SPAN_MS, 12 * SPAN_MS - 1)), 7);
        assert_eq!(changes.last_in(range(13 * SPAN_MS + 1, i64::MAX)), 9);
        assert_eq!(changes.first_after(range(0, i64::MAX), 8), Some(12 * SPAN_MS));
        assert_eq!(changes.first_after(range(0, i64::MAX), 9), None);
        assert_eq!(changes.first_after(range(3, i64::MAX), 6), Some(3), "nothing is known of entry 7");
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut changes = Changes::default();
        for i in 0..10_000 {
            changes.note(i * SPAN_MS, i * SPAN_MS, i as u64 + 1);
        }
        assert_eq!(changes.spans.len(), SPANS_MAX);
        assert_eq!(changes.last_in(range(0, 0)), 10_000 - SPANS_MAX as u64, "what was folded was written no later than its last");
        changes.note(-5_000 * SPAN_MS, 10_000 * SPAN_MS, 20_000);
        assert!(changes.spans.len() <= SPANS_MAX + 1);
        assert_eq!(changes.last_in(range(i64::MIN + 1, i64::MAX)), 20_000);
    }

    proptest! {
        #[test]
        fn no_write_is_ever_forgotten(
            writes in prop::collection::vec((-9_000i64..9_000, 0i64..20), 1..60),
            asked in prop::collection::vec((-9_000i64..9_000, 0i64..400, 0u64..60), 20),
        ) {
            let mut changes = Changes::default();
            let mut model = Vec::new();
            for (i, (at, length)) in writes.into_iter().enumerate() {
                let (first, last) = (at * SPAN_MS / 3, (at + length) * SPAN_MS / 3);
                changes.note(first, last, i as u64 + 1);
                model.push((first, last, i as u64 + 1));
            }
            for (at, length, since) in asked {
                let wanted = range(at * SPAN_MS / 3 + 1, (at + length) * SPAN_MS / 3 + 2);
                let meets = |w: &&(i64, i64, u64)| w.0 <= wanted.to_ms && w.1 >= wanted.first_ms();
                let newest = model.iter().filter(meets).map(|w| w.2).max().unwrap_or(0);
                prop_assert!(changes.last_in(wanted) >= newest);
                let first = model.iter().filter(meets).filter(|w| w.2 > since).map(|w| w.0.max(wanted.first_ms())).min();
                if let Some(first) = first {
                    prop_assert!(changes.first_after(wanted, since).is_some_and(|told| told <= first));
                }
            }
        }
    }
}
