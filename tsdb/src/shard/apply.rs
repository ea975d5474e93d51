//! Applying entries.

use super::write::Writer;
use super::{Shard, SinceCheckpoint};
use crate::entry::{Entry, EntryError, Part};
use crate::error::{Corruption, StoreError};
use crate::head::{Head, Series};
use crate::metrics;
use crate::rows::RowError;
use crate::state::Replicated;
use crate::store::StoreView;
use crate::verdict::{ApplyResponse, PartVerdict};
use bytes::Bytes;
use model::planted::{self, Bug};
use model::{Labels, LogPoint, Timestamp};
use std::sync::atomic::Ordering;

/// Why an entry was not applied. The shard stops there: no later entry and no checkpoint is taken.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// This binary cannot read the entry.
    #[error("entry {point}: {source}")]
    Entry {
        /// Where the entry stands.
        point: LogPoint,
        /// What is wrong with it.
        source: EntryError,
    },
    /// The labels of a new series are malformed; leaders check them before they propose.
    #[error("entry {point}: {source}")]
    Labels {
        /// Where the entry stands.
        point: LogPoint,
        /// What is wrong with them.
        source: RowError,
    },
    /// The entry does not follow the last one applied.
    #[error("entry {point} does not follow {applied}")]
    NotNext {
        /// Where the entry stands.
        point: LogPoint,
        /// The last entry applied.
        applied: LogPoint,
    },
    /// The store could not be read.
    #[error("entry {point}: {source}")]
    Store {
        /// Where the entry stands.
        point: LogPoint,
        /// What the store said.
        source: StoreError,
    },
    /// A chunk in memory cannot be decoded.
    #[error("entry {point}: head chunk: {source}")]
    HeadChunk {
        /// Where the entry stands.
        point: LogPoint,
        /// What is wrong with it.
        source: Corruption,
    },
    /// An earlier entry failed half-way, or a snapshot could not be loaded.
    #[error("the shard has stopped applying")]
    Halted,
}

/// What goes wrong inside one entry.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    #[error(transparent)]
    Entry(#[from] EntryError),
    #[error(transparent)]
    Labels(#[from] RowError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    HeadChunk(#[from] Corruption),
}

impl Fault {
    fn at(self, point: LogPoint) -> ApplyError {
        match self {
            Self::Entry(source) => ApplyError::Entry { point, source },
            Self::Labels(source) => ApplyError::Labels { point, source },
            Self::Store(source) => ApplyError::Store { point, source },
            Self::HeadChunk(source) => ApplyError::HeadChunk { point, source },
        }
    }
}

/// Slots that one section of the head's lock looks at.
const SWEEP_SLOTS: u32 = 4096;

impl Shard {
    /// Applies one entry; gives the encoded [`ApplyResponse`]. One caller at a time, entries in the order of the log.
    ///
    /// In memory when this returns; durable with the next checkpoint (the log holds the entry until then).
    ///
    /// # Errors
    /// See [`ApplyError`]; the shard has stopped then.
    pub fn apply(&self, point: LogPoint, payload: &[u8]) -> Result<Bytes, ApplyError> {
        let mut replicated = self.begin(point)?;
        self.halted.store(true, Ordering::SeqCst);
        let response = self.dispatch(&mut replicated, point, payload).map_err(|fault| fault.at(point))?;
        replicated.applied = Some(point);
        self.told.time(&replicated);
        self.halted.store(false, Ordering::SeqCst);
        let accepted = response.parts.iter().map(|part| u64::from(part.accepted)).sum();
        self.note(&replicated, payload.len(), accepted);
        Ok(response.encode())
    }

    /// Takes note of an entry without content.
    ///
    /// # Errors
    /// See [`ApplyError`].
    pub fn apply_blank(&self, point: LogPoint) -> Result<(), ApplyError> {
        let mut replicated = self.begin(point)?;
        replicated.applied = Some(point);
        self.note(&replicated, 0, 0);
        Ok(())
    }

    /// Keeps bytes of the state machine's own (membership) beside the shard's state, as the effect of one entry.
    ///
    /// # Errors
    /// See [`ApplyError`].
    pub fn set_extra(&self, point: LogPoint, extra: Bytes) -> Result<(), ApplyError> {
        let mut replicated = self.begin(point)?;
        replicated.applied = Some(point);
        replicated.extra = extra;
        self.note(&replicated, replicated.extra.len(), 0);
        Ok(())
    }

    fn begin(&self, point: LogPoint) -> Result<parking_lot::MutexGuard<'_, Replicated>, ApplyError> {
        let replicated = self.replicated.lock();
        if self.halted.load(Ordering::SeqCst) {
            return Err(ApplyError::Halted);
        }
        match replicated.applied {
            Some(applied) if point.index <= applied.index => Err(ApplyError::NotNext { point, applied }),
            _ => Ok(replicated),
        }
    }

    pub(super) fn note_change(&self) {
        self.since_checkpoint.lock().changes += 1;
    }

    fn note(&self, replicated: &Replicated, bytes: usize, samples: u64) {
        let mut since = self.since_checkpoint.lock();
        let SinceCheckpoint { log_bytes, samples: total, entries, changes, time_ms } = &mut *since;
        *log_bytes += bytes as u64;
        *total += samples;
        *entries += 1;
        *changes += samples;
        if *time_ms == 0 {
            *time_ms = replicated.time_ms;
        }
    }

    fn dispatch(&self, replicated: &mut Replicated, point: LogPoint, payload: &[u8]) -> Result<ApplyResponse, Fault> {
        let mut response = ApplyResponse::default();
        match Entry::decode(payload)? {
            Entry::Write { time_ms, resolver_term, mut parts } => {
                replicated.advance(time_ms);
                while let Some(part) = parts.next_part()? {
                    let verdict = self.part(replicated, point.index, part)?;
                    if verdict.unresolved {
                        metrics::count_violation("C4");
                        tracing::error!(shard = %self.id, %point, resolver_term, "a part names a series that the shard never had");
                    }
                    response.parts.push(verdict);
                }
            }
            Entry::SetLimits(limits) => {
                replicated.set_limits(limits);
                self.told.all(replicated);
            }
            Entry::Open { placement_key, generations } => {
                replicated.map.open(placement_key, generations);
                self.told.all(replicated);
            }
            Entry::Fence { time_ms, generation } => {
                replicated.advance(time_ms);
                self.fence(replicated, generation);
            }
            Entry::Unfence { generation, rev } => {
                replicated.map.unfence(generation, rev);
                self.told.all(replicated);
            }
            Entry::Tick { time_ms } => {
                replicated.advance(time_ms);
                self.release_listed();
            }
            Entry::EvictIdle { time_ms } => {
                replicated.advance(time_ms);
                self.release_listed();
                self.evict_idle(replicated);
                self.last_evict_ms.store(replicated.time_ms, Ordering::SeqCst);
            }
            Entry::DropDay { time_ms, before_ms } => self.drop_days(replicated, time_ms, before_ms, point.index),
            Entry::DayDigest(digest) => self.expect_digest(digest),
            Entry::Delete(delete) => response.parts.extend(self.delete(replicated, delete, point.index)),
        }
        Ok(response)
    }

    fn part(&self, replicated: &mut Replicated, log_index: u64, part: Part<'_>) -> Result<PartVerdict, Fault> {
        let Part { key, origin: _, created, rows, metadata } = part;
        if let Some(verdict) = replicated.ring.get(&key).filter(|_| !planted::is(Bug::BatchRingDropped)) {
            return Ok(verdict.clone());
        }
        let verdict = Writer::new(self, log_index, &created).write(replicated, rows, &metadata)?;
        replicated.ring.put(replicated.time_ms, key, &verdict);
        Ok(verdict)
    }

    /// Seals what idle series have open and lets those go of which the store holds everything: samples, number and labels. Which those
    /// are differs among replicas; that a series is known, and by which number, must not.
    fn evict_idle(&self, replicated: &Replicated) {
        let window = replicated.limits.late_window_ms.max(replicated.limits.out_of_order_window_ms);
        let before_ms = replicated.time_ms.saturating_sub(window);
        let slots = self.head.read().slot_count();
        let stored = self.store().view();
        let mut sealed = 0;
        for from in (0..slots).step_by(SWEEP_SLOTS as usize) {
            let mut head = self.head.write();
            for slot in from..slots.min(from.saturating_add(SWEEP_SLOTS)) {
                sealed += u64::from(self.evict_slot(&mut head, &stored, slot, before_ms));
            }
        }
        self.since_checkpoint.lock().changes += sealed;
    }

    /// Tells whether it sealed what the series had open.
    fn evict_slot(&self, head: &mut Head, stored: &StoreView, slot: u32, before_ms: Timestamp) -> bool {
        let Some(series) = head.series(slot) else { return false };
        let (Some(line), is_listed) = (head.line(slot), stored.lists_series(series.sid)) else { return false };
        if line.newest.is_some_and(|(t, _)| t >= before_ms) {
            return false;
        }
        if line.is_all_stored() {
            if is_listed && let Some(series) = head.remove(slot) {
                self.index.write().remove(series.sid, &series.pairs);
            }
            return false;
        }
        if line.open.is_none() && line.out_of_order.is_none() {
            return false;
        }
        let Some(line) = head.line_mut(slot) else { return false };
        let before = line.bytes();
        line.seal_open();
        line.seal_out_of_order();
        let after = line.bytes();
        head.sample_bytes = head.sample_bytes + after - before;
        true
    }

    /// The labels of a series in the head.
    pub(crate) fn labels_in_head(&self, head: &Head, slot: u32) -> Labels {
        head.series(slot).map_or_else(Labels::empty, |series| self.labels_of_series(series))
    }

    /// The labels of a series that is in the head.
    pub(super) fn labels_of_series(&self, series: &Series) -> Labels {
        let index = self.index.read();
        Labels::from_sorted(series.pairs.iter().filter_map(|pair| index.pair(*pair)))
    }
}
