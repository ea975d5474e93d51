//! What the log alone determines, beside the samples: time, settings, generations, ids, counters, the ring of verdicts.

mod exemplars;
mod lines;
mod pages;
mod ring;
#[cfg(test)]
mod tests;
mod tombstones;

pub(crate) use exemplars::{Exemplars, Stored, StoredExemplar};
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
use model::{Generation, LogPoint, ShardId, Timestamp, hash::jump_hash};
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

/// The generations a shard was told, and which samples they put here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ShardMap {
    pub(crate) placement_key: u64,
    /// By `from_ms`, ascending.
    pub(crate) generations: Vec<Generation>,
    /// Whether the list was ever replaced or extended, so that a series may have moved.
    pub(crate) has_changed: bool,
}

impl ShardMap {
    /// Takes a list over: a new generation is added, a higher revision replaces its own generation, anything else is a no-op.
    pub(crate) fn open(&mut self, placement_key: u64, generations: Vec<Generation>) {
        let is_first = self.generations.is_empty();
        if is_first {
            self.placement_key = placement_key;
        }
        let before = self.generations.clone();
        for new in generations {
            match self.generations.iter_mut().find(|known| known.generation == new.generation) {
                Some(known) if known.rev < new.rev => *known = new,
                Some(_) => {}
                None => self.generations.push(new),
            }
        }
        self.generations.sort_by_key(|g| (g.from_ms, g.generation));
        self.has_changed |= self.generations.len() > 1 || (!is_first && self.generations != before);
    }

    /// Whether the list puts a sample at `t` of a series with this placement hash on `shard`.
    pub(crate) fn places(&self, shard: ShardId, placement: u64, t: Timestamp) -> bool {
        let covering = self.generations.iter().rev().find(|g| g.from_ms <= t);
        covering.is_some_and(|g| {
            let buckets = u32::try_from(g.shards.len()).unwrap_or(u32::MAX);
            buckets > 0 && g.shards.get(jump_hash(placement, buckets) as usize) == Some(&shard)
        })
    }

    /// Whether a series that was accepted once belongs here at every time, so that its samples need no check.
    pub(crate) fn keeps_accepted_series(&self) -> bool {
        !self.has_changed && self.generations.len() == 1
    }
}
