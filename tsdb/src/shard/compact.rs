//! When parts are rewritten, and what that makes unnecessary: parts of a day that is over become one, many flushes become fewer,
//! deletes are carried out and forgotten.

use super::{Shard, TOMBSTONES_MAX};
use crate::error::StoreError;
use crate::state::{Tombstone, Tombstones};
use crate::store::rewrite::Rewritten;
use crate::store::{Day, Part, PartKind, RewritePlan};
use model::Timestamp;
use std::sync::atomic::{AtomicBool, Ordering};

const HOUR_MS: i64 = 3_600_000;
/// Time that parts keep what was deleted, unless they are rewritten for another reason or somebody asks for it.
const DELETED_KEPT_MS: i64 = 24 * HOUR_MS;
/// A flush that comes after a day's last rewrite is left beside it while it is a smaller share than this.
const LATE_SHARE: u64 = 16;

impl Shard {
    /// Whether parts are due to be rewritten.
    #[must_use]
    pub fn wants_rewrite(&self) -> bool {
        self.due_rewrite().is_some()
    }

    /// Carries out what is due, one day, or tells that nothing is. Blocks on the disk; checkpoints of the shard wait, apply and
    /// reads go on. Durable when it returns.
    ///
    /// # Errors
    /// [`StoreError::Cancelled`] once `stop` is set, [`StoreError::PartDamaged`] if an input is not what it was, or the store cannot
    /// be written; the shard stops applying if it is unknown what reached the disk.
    pub fn rewrite_due(&self, stop: &AtomicBool) -> Result<Option<Rewritten>, StoreError> {
        let _alone = self.checkpointing.lock();
        let Some(plan) = self.due_rewrite() else { return Ok(None) };
        let done = self.carry_out(&plan, stop)?;
        self.forget_tombstones();
        Ok(Some(done))
    }

    /// Rewrites every day that a delete applied before the call touches, so that nothing of what was deleted is left on this disk.
    ///
    /// # Errors
    /// As [`Shard::rewrite_due`].
    pub fn clean_tombstones(&self, stop: &AtomicBool) -> Result<(), StoreError> {
        let until = self.applied().map_or(0, |point| point.index);
        self.checkpoint()?;
        let _alone = self.checkpointing.lock();
        let is_meant = |tombstone: &Tombstone| tombstone.log_index <= until;
        while let Some(day) = self.touched_day(is_meant) {
            self.carry_out(&self.whole_day(day), stop)?;
        }
        self.forget_tombstones();
        Ok(())
    }

    fn carry_out(&self, plan: &RewritePlan, stop: &AtomicBool) -> Result<Rewritten, StoreError> {
        let store = self.store();
        // Later deletes are not durable yet: a replay must judge the writes before them as they were judged.
        let tombstones = self.tombstones_of(store.point().map_or(0, |point| point.index));
        let done = store.rewrite(plan, &tombstones, stop);
        if store.is_retired() {
            self.halted.store(true, Ordering::SeqCst);
        }
        let done = done?;
        let Rewritten { series, samples, bytes_read } = done;
        tracing::info!(shard = %self.id, day = plan.day.0, parts = plan.parts.len(), series, samples, bytes_read, "parts rewritten");
        Ok(done)
    }

    /// The deletes that the checkpoint in force holds.
    fn tombstones_of(&self, log_index: u64) -> Tombstones {
        self.hidden().0.up_to(log_index)
    }

    fn due_rewrite(&self) -> Option<RewritePlan> {
        let now_ms = self.time_ms();
        let view = self.store().view();
        let (_, dropped_before_ms) = self.hidden();
        let kept = || view.parts().iter().filter(|part| part.kind.has_samples() && part.day.first_ms() >= dropped_before_ms);
        let mut days: Vec<Day> = kept().map(|part| part.day).collect();
        days.dedup();
        let of_day = |day: Day| kept().filter(move |part| part.day == day).collect::<Vec<_>>();
        let over = days.iter().copied().find(|day| self.is_over(*day, now_ms) && wants_last_rewrite(&of_day(*day)));
        if let Some(day) = over {
            return Some(self.whole_day(day));
        }
        let merge = days.iter().map(|day| (*day, of_day(*day))).find_map(|(day, parts)| {
            let flushes: Vec<u64> = parts.iter().filter(|part| part.kind == PartKind::Flush).map(|part| part.id).collect();
            let plan = RewritePlan { day, parts: flushes, is_whole_day: false, is_over: false };
            (plan.parts.len() >= self.config.flush_parts_max).then_some(plan)
        });
        merge.or_else(|| {
            let is_crowded = self.hidden().0.len() > TOMBSTONES_MAX / 4;
            let day = self.touched_day(|tombstone| is_crowded || tombstone.time_ms.saturating_add(DELETED_KEPT_MS) <= now_ms)?;
            Some(self.whole_day(day))
        })
    }

    /// Whether no window lets a sample of the day in any more, and idle series had an hour to leave.
    fn is_over(&self, day: Day, now_ms: Timestamp) -> bool {
        let limits = self.limits();
        let window_ms = limits.late_window_ms.max(limits.out_of_order_window_ms);
        now_ms > day.last_ms().saturating_add(window_ms).saturating_add(HOUR_MS)
    }

    fn whole_day(&self, day: Day) -> RewritePlan {
        let view = self.store().view();
        let parts = view.parts().iter().filter(|part| part.kind.has_samples() && part.day == day).map(|part| part.id).collect();
        RewritePlan { day, parts, is_whole_day: true, is_over: self.is_over(day, self.time_ms()) }
    }

    /// A day with a part that may hold something that a delete, in the checkpoint in force, takes away.
    fn touched_day(&self, is_meant: impl Fn(&Tombstone) -> bool) -> Option<Day> {
        let view = self.store().view();
        let tombstones = self.tombstones_of(view.point().map_or(0, |point| point.index));
        let parts = view.parts();
        parts.iter().find(|part| tombstones.iter().any(|tombstone| is_meant(tombstone) && touches(tombstone, part))).map(|part| part.day)
    }

    /// Forgets the deletes of which nothing is left to hide. The caller keeps checkpoints away.
    fn forget_tombstones(&self) {
        self.release_listed();
        if !self.listed.lock().is_empty() {
            // The head still holds what parts held before, for older readers.
            return;
        }
        let view = self.store().view();
        let durable = view.point().map_or(0, |point| point.index);
        let mut state = self.replicated.lock();
        let is_done = |tombstone: &Tombstone| {
            // The chunks it met were cut, so the checkpoint brought all of them into parts.
            tombstone.log_index <= durable && !view.parts().iter().any(|part| touches(tombstone, part))
        };
        if state.tombstones.iter().any(is_done) {
            state.tombstones.retain(|tombstone| !is_done(tombstone));
            self.told.all(&state);
        }
    }
}

fn touches(tombstone: &Tombstone, part: &Part) -> bool {
    part.kind.has_samples() && part.min_log_index < tombstone.log_index && part.overlaps(tombstone.first_ms, tombstone.last_ms)
}

/// Whether a day that is over is not in its last form, and what is beside it is worth another rewrite.
fn wants_last_rewrite(parts: &[&Part]) -> bool {
    let bytes = |is_last: bool| parts.iter().filter(|part| (part.kind == PartKind::Day) == is_last).map(|part| part.bytes).sum::<u64>();
    let (last, beside) = (bytes(true), bytes(false));
    beside > 0 && beside >= last / LATE_SHARE
}
