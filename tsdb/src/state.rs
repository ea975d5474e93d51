//! What the log alone determines, beside the samples: time, settings, generations, ids, counters, the ring of verdicts.

mod exemplars;
mod lines;
mod map;
mod pages;
mod ring;
#[cfg(test)]
mod tests;
mod tombstones;

pub(crate) use exemplars::{Exemplars, Stored, StoredExemplar};
pub(crate) use map::{ShardMap, is_newer_than, is_on};
pub(crate) use pages::{PageWriter, Restored, read_page};
pub(crate) use ring::BatchRing;
pub(crate) use tombstones::{Deleted, Tombstone, Tombstones};

use crate::entry::Limits;
use crate::head::FrozenHead;
use crate::head::{CowVec, join};
use crate::metadata::Families;
use crate::postings::Pair;
use crate::shard::judge::Rules;
use bytes::Bytes;
use model::{LogPoint, Timestamp};
use std::sync::Arc;

/// Everything that a replay from one log point on needs.
#[derive(Clone, Debug)]
pub(crate) struct ShardState {
    pub(crate) replicated: Replicated,
    pub(crate) head: FrozenHead,
    pub(crate) pairs: CowVec<Pair>,
}

/// The small part of a shard's state; changed by apply alone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Replicated {
    /// The last entry applied.
    pub(crate) applied: Option<LogPoint>,
    /// The state machine's own bytes beside the shard (membership).
    pub(crate) extra: Bytes,
    /// Entry time: never goes back.
    pub(crate) time_ms: Timestamp,
    pub(crate) limits: Limits,
    pub(crate) map: ShardMap,
    /// The id that the next new series gets.
    pub(crate) next_sid: u32,
    /// Samples accepted so far.
    pub(crate) samples: u64,
    /// First and last timestamp accepted so far.
    pub(crate) bounds: Option<(Timestamp, Timestamp)>,
    /// Everything before was dropped; the beginning of a day, 0 if nothing ever was.
    pub(crate) dropped_before_ms: Timestamp,
    /// Deletes that parts may still hold something of. Which are gone already differs between replicas: it changes no answer.
    pub(crate) tombstones: Tombstones,
    pub(crate) ring: BatchRing,
    /// Copied on the first write after a checkpoint froze it.
    pub(crate) exemplars: Arc<Exemplars>,
    /// Likewise.
    pub(crate) families: Arc<Families>,
}

impl Replicated {
    /// Moves entry time; an entry stamped earlier than one before it takes that one's time.
    pub(crate) fn advance(&mut self, time_ms: Timestamp) {
        self.time_ms = self.time_ms.max(time_ms);
        self.ring.expire(self.time_ms);
    }

    pub(crate) fn set_limits(&mut self, limits: Limits) {
        if limits.version > self.limits.version {
            self.limits = limits;
            Arc::make_mut(&mut self.exemplars).shrink(limits.exemplars_max as usize);
        }
    }

    /// What samples are judged against.
    pub(crate) fn rules(&self) -> Rules<'_> {
        Rules { now_ms: self.time_ms, limits: &self.limits, dropped_before_ms: self.dropped_before_ms }
    }

    /// Counts an accepted sample.
    pub(crate) fn count(&mut self, timestamp_ms: Timestamp) {
        self.samples += 1;
        self.bounds = Some(join(self.bounds, timestamp_ms, timestamp_ms));
    }
}
