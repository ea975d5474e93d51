//! Generations that are not decided yet (`core.md` C8): whether this shard can stop taking what they put elsewhere.

use super::Shard;
use crate::state::{Replicated, is_newer_than, is_on};
use model::planted::{self, Bug};
use model::{Generation, Timestamp};
use std::sync::Arc;

/// What became of a fence in this shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FenceState {
    /// It was not told.
    Unknown,
    /// It holds: from its time on the shard takes only what the generation puts there.
    Accepted,
    /// It came too late, a later revision was told, or it was taken back: it will never hold.
    Refused,
}

impl Shard {
    /// Takes a fence if no sample that it puts on another shard is here.
    pub(super) fn fence(&self, state: &mut Replicated, fence: Generation) {
        let (bounds, time_ms) = (state.bounds, state.time_ms);
        state.map.fence(fence, |fence| {
            let newest = bounds.map_or(Timestamp::MIN, |(_, newest)| newest);
            newest >= fence.from_ms && (fence.from_ms < time_ms || self.holds_elsewhere(fence))
        });
        self.told.all(state);
    }

    /// Whether the head has a series with a sample in the generation's time that it puts elsewhere. No series with a sample later than
    /// entry time ever left the head, so for such a generation the head tells all. O(series).
    fn holds_elsewhere(&self, fence: &Generation) -> bool {
        let head = self.head.read();
        (0..head.slot_count()).any(|slot| {
            let (Some(series), Some(line)) = (head.series(slot), head.line(slot)) else { return false };
            line.newest.is_some_and(|(t, _)| t >= fence.from_ms) && !is_on(fence, self.id, series.placement)
        })
    }

    /// The shard map as the entries applied so far left it.
    #[must_use]
    pub fn map_state(&self) -> MapState {
        self.told.map()
    }

    /// Whether the shard has a generation that covers some of `first_ms..=last_ms` and is newer than revision `known`: then an asker who
    /// knows no later one would miss what lies on shards that it does not ask.
    #[must_use]
    pub fn has_newer_map(&self, known: u64, first_ms: Timestamp, last_ms: Timestamp) -> bool {
        !planted::is(Bug::ReaderKeepsMap) && is_newer_than(&self.told.map().generations, known, first_ms, last_ms)
    }
}

/// What a shard knows of its workspace's map.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MapState {
    /// The generations, by `from_ms`; the last may not be decided yet.
    pub generations: Arc<[Generation]>,
    /// The highest revision that the shard was told of.
    pub seen_rev: u64,
}

impl MapState {
    /// What became of the fence of `generation` at `rev`.
    #[must_use]
    pub fn fence(&self, generation: u64, rev: u64) -> FenceState {
        if self.generations.iter().any(|known| known.generation == generation && known.rev == rev) {
            FenceState::Accepted
        } else if self.seen_rev >= rev {
            FenceState::Refused
        } else {
            FenceState::Unknown
        }
    }
}
