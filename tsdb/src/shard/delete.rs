//! Deletes (`core.md` C14) and the end of days that are older than retention (C5).

use super::Shard;
use crate::entry::Delete;
use crate::select::select;
use crate::state::{Replicated, Tombstone};
use crate::store::Day;
use crate::verdict::PartVerdict;
use model::{Matcher, Timestamp};
use parking_lot::RwLockWriteGuard;

/// Series whose chunks one section of the head's lock cuts.
const SECTION_SERIES: usize = 1024;

/// Deletes that a shard keeps in mind before it takes no further ones: a rewrite of the parts they touch makes room.
pub const TOMBSTONES_MAX: usize = 1024;

impl Shard {
    /// Hides what was written so far into the delete's interval; in memory, O(series that match).
    ///
    /// Gives a verdict with a stale row, and hides nothing, if the shard's map has a generation in
    /// the delete's interval that the asker does not know.
    pub(super) fn delete(&self, state: &mut Replicated, delete: Delete, log_index: u64) -> Option<PartVerdict> {
        let Delete { known_revision, first_ms, last_ms, matcher_sets } = delete;
        if state.map.is_newer_than(known_revision, first_ms, last_ms) {
            return Some(PartVerdict { stale_rows: vec![0], ..PartVerdict::default() });
        }
        let (content_first, content_last) = state.bounds?;
        let first_ms = first_ms.max(content_first).max(state.dropped_before_ms);
        let last_ms = last_ms.min(content_last);
        if first_ms > last_ms || matcher_sets.is_empty() {
            return None;
        }
        for matchers in matcher_sets {
            self.cut_chunks(&matchers, first_ms, last_ms);
            state.tombstones.push(Tombstone { matchers, first_ms, last_ms, log_index, time_ms: state.time_ms });
        }
        // Readers learn of it only now: whoever knows of the delete finds no chunk that reaches across it.
        self.told.all(state);
        self.changes.lock().note(first_ms, last_ms, log_index);
        self.note_change();
        None
    }

    fn cut_chunks(&self, matchers: &[Matcher], first_ms: Timestamp, last_ms: Timestamp) {
        let Ok(matching) = select(&*self.index.read(), matchers);
        let mut head = self.head.write();
        for (done, sid) in matching.iter().enumerate() {
            if done % SECTION_SERIES == SECTION_SERIES - 1 {
                RwLockWriteGuard::bump(&mut head);
            }
            let Some(slot) = head.slot_of_sid(sid) else { continue };
            let Some(line) = head.line_mut(slot) else { continue };
            let before = line.bytes();
            line.delete(first_ms, last_ms);
            let after = line.bytes();
            head.sample_bytes = head.sample_bytes + after - before;
            head.note_deleted(slot);
        }
    }

    /// Drops the days before `before_ms`, as far as retention allows by now: at once for readers and verdicts; the next checkpoint
    /// lets go of their parts.
    pub(super) fn drop_days(&self, state: &mut Replicated, time_ms: Timestamp, before_ms: Timestamp, log_index: u64) {
        state.advance(time_ms);
        let Some(day) = Day::of(before_ms.min(state.time_ms.saturating_sub(state.limits.retention_ms))) else { return };
        let before_ms = day.first_ms();
        if before_ms <= state.dropped_before_ms {
            return;
        }
        let from_ms = state.bounds.map_or(before_ms, |(first, _)| first).max(state.dropped_before_ms);
        state.dropped_before_ms = before_ms;
        state.tombstones.retain(|tombstone| tombstone.last_ms >= before_ms);
        self.told.all(state);
        if from_ms < before_ms {
            self.changes.lock().note(from_ms, before_ms - 1, log_index);
        }
        self.note_change();
    }

    /// The time before which the leader should propose to drop everything, if there are whole days older than retention.
    #[must_use]
    pub fn wants_drop_day(&self, now_ms: Timestamp) -> Option<Timestamp> {
        let before_ms = Day::of(now_ms.saturating_sub(self.limits().retention_ms))?.first_ms();
        let (_, dropped_before_ms) = self.told.hidden();
        let oldest = self.oldest_day_ms()?;
        (before_ms > dropped_before_ms && oldest < before_ms).then_some(before_ms)
    }

    /// Whether a delete with so many sets of matchers may be proposed.
    #[must_use]
    pub fn takes_deletes(&self, sets: usize) -> bool {
        self.told.hidden().0.len().saturating_add(sets) <= TOMBSTONES_MAX
    }

    /// The first day that parts hold.
    fn oldest_day_ms(&self) -> Option<Timestamp> {
        self.store().view().parts().first().map(|part| part.day.first_ms())
    }
}
