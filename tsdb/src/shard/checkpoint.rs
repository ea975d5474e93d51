//! Making the state durable (`core.md` C2): freeze at a log point, write without locks, flip the store, let go of what parts hold.

use super::flush::{Flushed, write_parts};
use super::{Shard, SinceCheckpoint};
use crate::error::StoreError;
use crate::state::{PageWriter, ShardState};
use crate::store::CheckpointWriter;
use model::LogPoint;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Time that applying one sample takes again in a replay, measured with the head bench and rounded up.
const REPLAY_PER_SAMPLE: Duration = Duration::from_nanos(200);
/// Time that an entry takes whatever it holds.
const REPLAY_PER_ENTRY: Duration = Duration::from_micros(5);
/// What a sample takes in the head, roughly.
const BYTES_PER_SAMPLE: u64 = 2;
/// Share of the head's budget that must be new before memory alone makes a checkpoint due: a head full of series gains nothing by it.
const FLUSH_SHARE: u64 = 16;
/// Slots handled in one section of the head's lock.
const SECTION_SLOTS: usize = 4096;

/// Why a checkpoint is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CheckpointReason {
    /// The head takes more memory than it may.
    HeadBytes,
    /// The log since the last one is long.
    LogBytes,
    /// A replay would take long.
    ReplayCost,
    /// The last one is old.
    Age,
    /// The node has nothing better to do.
    Idle,
}

/// Chunks that parts list since a flip, to be let go of when no view from before it is held.
#[derive(Debug)]
pub(super) struct Listed {
    flip: u64,
    slots: Vec<Flushed>,
}

impl Shard {
    /// Tells whether a checkpoint is due and why. `node_is_idle` is the caller's knowledge of the machine.
    #[must_use]
    pub fn wants_checkpoint(&self, node_is_idle: bool) -> Option<CheckpointReason> {
        let since = *self.since_checkpoint.lock();
        if since.entries == 0 {
            return None;
        }
        let config = &self.config;
        let replay = REPLAY_PER_SAMPLE * u32::try_from(since.samples).unwrap_or(u32::MAX)
            + REPLAY_PER_ENTRY * u32::try_from(since.entries).unwrap_or(u32::MAX);
        let age_ms = self.time_ms().saturating_sub(since.time_ms);
        if self.frees_enough(since.samples) && self.head_bytes() >= config.head_bytes_max {
            Some(CheckpointReason::HeadBytes)
        } else if since.log_bytes >= config.log_bytes_max {
            Some(CheckpointReason::LogBytes)
        } else if replay >= config.replay_max {
            Some(CheckpointReason::ReplayCost)
        } else if since.changes > 0 && u128::try_from(age_ms).unwrap_or(0) >= config.age_max.as_millis() {
            Some(CheckpointReason::Age)
        } else if node_is_idle && (replay >= config.idle_replay || since.log_bytes >= config.idle_log_bytes) {
            Some(CheckpointReason::Idle)
        } else {
            None
        }
    }

    /// Whether a checkpoint or a rewrite of parts is under way, so that another would wait for it.
    #[must_use]
    pub fn is_writing_parts(&self) -> bool {
        self.checkpointing.is_locked()
    }

    /// Bytes that head and index take, roughly. Two short read sections.
    #[must_use]
    pub fn head_bytes(&self) -> u64 {
        let head = self.head.read().bytes();
        head + self.index.read().bytes()
    }

    /// Whether enough was written since the last checkpoint that another frees memory worth its cost.
    #[must_use]
    pub fn is_worth_flushing(&self) -> bool {
        let samples = self.since_checkpoint.lock().samples;
        self.frees_enough(samples)
    }

    fn frees_enough(&self, samples_since: u64) -> bool {
        samples_since.saturating_mul(BYTES_PER_SAMPLE) >= self.config.head_bytes_max / FLUSH_SHARE
    }

    /// Writes a checkpoint of what is applied now, while apply goes on; gives its log point, or `None` if nothing was ever applied
    /// or apply has stopped half-way through an entry. Nothing is written if the last checkpoint holds it all already.
    ///
    /// Blocks on the disk. Durable when it returns: the log may be purged up to the point.
    ///
    /// # Errors
    /// The store cannot be written; after a failed commit the shard stops applying, since only a restart can tell what reached the
    /// disk.
    pub fn checkpoint(&self) -> Result<Option<LogPoint>, StoreError> {
        let _alone = self.checkpointing.lock();
        self.release_listed();
        let Some((state, since)) = self.freeze() else { return Ok(None) };
        let Some(point) = state.replicated.applied else { return Ok(None) };
        let store = self.store();
        if since.entries == 0 && store.point() == Some(point) {
            return Ok(Some(point));
        }
        let written = store.begin_checkpoint().and_then(|mut writer| {
            let flushed = write(&state, &mut writer)?;
            Ok((writer, flushed))
        });
        let (writer, flushed) = written.inspect_err(|_| self.unfreeze(since))?;
        let extra = state.replicated.extra.clone();
        drop(state);
        if let Err(error) = writer.commit(point, &extra) {
            self.halted.store(true, Ordering::SeqCst);
            return Err(error);
        }
        let flip = {
            let mut views = self.views.lock();
            views.flips += 1;
            views.flips
        };
        self.mark_listed(&flushed);
        self.listed.lock().push(Listed { flip, slots: flushed });
        self.release_listed();
        Ok(Some(point))
    }

    /// Copies the page lists of the state at one log point; what is applied later copies the pages it touches.
    pub(super) fn freeze(&self) -> Option<(ShardState, SinceCheckpoint)> {
        let replicated = self.replicated.lock();
        if self.halted.load(Ordering::SeqCst) {
            return None;
        }
        let mut since = self.since_checkpoint.lock();
        let before = std::mem::replace(&mut *since, SinceCheckpoint { time_ms: replicated.time_ms, ..SinceCheckpoint::default() });
        let head = self.head.read().freeze();
        let pairs = self.index.read().pairs().clone();
        Some((ShardState { replicated: replicated.clone(), head, pairs }, before))
    }

    /// Adds back what a checkpoint that failed did not save.
    fn unfreeze(&self, before: SinceCheckpoint) {
        let mut since = self.since_checkpoint.lock();
        since.log_bytes += before.log_bytes;
        since.samples += before.samples;
        since.changes += before.changes;
        since.entries += before.entries;
        since.time_ms = before.time_ms;
    }

    fn mark_listed(&self, flushed: &[Flushed]) {
        for section in flushed.chunks(SECTION_SLOTS) {
            let mut head = self.head.write();
            for Flushed { slot, sid, end } in section {
                if head.series(*slot).is_some_and(|series| series.sid == *sid)
                    && let Some(line) = head.line_mut(*slot)
                {
                    line.mark_listed(*end);
                }
            }
        }
    }

    /// Lets go of listed chunks that no view from before their flip may need. Another thread at it is left to it.
    pub(super) fn release_listed(&self) {
        let Some(mut waiting) = self.listed.try_lock() else { return };
        while let Some(first) = waiting.first() {
            if !self.views.lock().all_opened_since(first.flip) {
                return;
            }
            let listed = waiting.remove(0);
            for section in listed.slots.chunks(SECTION_SLOTS) {
                let mut head = self.head.write();
                for Flushed { slot, sid, end } in section {
                    if head.series(*slot).is_some_and(|series| series.sid == *sid) {
                        head.drop_listed(*slot, *end);
                    }
                }
            }
        }
    }
}

/// Writes pages and parts of a frozen state; gives what went into parts.
fn write(state: &ShardState, writer: &mut CheckpointWriter<'_>) -> Result<Vec<Flushed>, StoreError> {
    // Whoever adds a field decides here how a checkpoint holds it.
    let ShardState { replicated, head, pairs } = state;
    let mut pages = PageWriter::new(|page: &[u8]| writer.page(page));
    pages.replicated(replicated)?;
    for (number, pair) in pairs.iter().enumerate() {
        pages.pair(number as u32, pair)?;
    }
    for (_, series, line) in head.slots() {
        pages.series(series, line)?;
    }
    pages.finish()?;
    writer.remove_days_before(replicated.dropped_before_ms);
    write_parts(state, writer)
}
