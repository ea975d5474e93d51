//! The generations a shard was told, and which samples they put there (`core.md` C8).

use model::planted::{self, Bug};
use model::{Generation, ShardId, Timestamp, hash::jump_hash};

/// A shard's own copy of its workspace's shard map; changed by apply alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ShardMap {
    pub(crate) placement_key: u64,
    /// By `from_ms`, ascending.
    pub(crate) generations: Vec<Generation>,
    /// The highest revision that was ever told, whatever became of it: nothing up to it is taken a second time.
    pub(crate) seen_rev: u64,
    /// Whether the list was ever replaced or extended, so that a series may have moved.
    pub(crate) has_changed: bool,
}

impl ShardMap {
    /// Takes a decided list over: a new generation is added, a higher revision replaces its own generation, anything else is a no-op.
    pub(crate) fn open(&mut self, placement_key: u64, generations: Vec<Generation>) {
        let is_first = self.generations.is_empty();
        if is_first {
            self.placement_key = placement_key;
        }
        let before = self.generations.clone();
        for new in generations {
            self.seen_rev = self.seen_rev.max(new.rev);
            self.put(new);
        }
        self.has_changed |= self.generations.len() > 1 || (!is_first && self.generations != before);
    }

    /// Takes a generation over that is not decided yet, unless its revision or a later one was told before, or `holds_elsewhere` finds a
    /// sample here that the generation puts on another shard. What an earlier revision left of the same generation goes: it was aborted.
    pub(crate) fn fence(&mut self, fence: Generation, holds_elsewhere: impl FnOnce(&Generation) -> bool) {
        if fence.rev <= self.seen_rev || self.generations.is_empty() {
            return;
        }
        self.seen_rev = fence.rev;
        self.generations.retain(|known| known.generation != fence.generation);
        let follows = self.generations.last().is_some_and(|last| last.generation < fence.generation && last.from_ms < fence.from_ms);
        if follows && (planted::is(Bug::FenceNotJudged) || !holds_elsewhere(&fence)) {
            self.put(fence);
        }
        self.has_changed = true;
    }

    /// Takes an aborted generation out again, also one that is yet to come.
    pub(crate) fn unfence(&mut self, generation: u64, rev: u64) {
        self.seen_rev = self.seen_rev.max(rev);
        self.generations.retain(|known| known.generation != generation || known.rev > rev);
    }

    fn put(&mut self, new: Generation) {
        match self.generations.iter_mut().find(|known| known.generation == new.generation) {
            Some(known) if known.rev < new.rev => *known = new,
            Some(_) => {}
            None => self.generations.push(new),
        }
        self.generations.sort_by_key(|g| (g.from_ms, g.generation));
    }

    /// Whether the list puts a sample at `t` of a series with this placement hash on `shard`.
    pub(crate) fn places(&self, shard: ShardId, placement: u64, t: Timestamp) -> bool {
        let covering = self.generations.iter().rev().find(|g| g.from_ms <= t);
        covering.is_some_and(|g| is_on(g, shard, placement))
    }

    /// Whether a series that was accepted once belongs here at every time, so that its samples need no check.
    pub(crate) fn keeps_accepted_series(&self) -> bool {
        planted::is(Bug::SeriesNotRechecked) || !self.has_changed && self.generations.len() == 1
    }

    /// Whether the list puts all samples of a series with this placement hash on `shard`, whatever their time.
    pub(crate) fn always_places(&self, shard: ShardId, placement: u64) -> bool {
        self.generations.first().is_some_and(|first| first.from_ms == i64::MIN)
            && self.generations.iter().all(|g| is_on(g, shard, placement))
    }

    /// Whether the list has a generation that covers some of `first_ms..=last_ms` and is newer than revision `known`.
    pub(crate) fn is_newer_than(&self, known: u64, first_ms: Timestamp, last_ms: Timestamp) -> bool {
        is_newer_than(&self.generations, known, first_ms, last_ms)
    }
}

/// Whether `generations`, by `from_ms`, have one that covers some of `first_ms..=last_ms` and is newer than revision `known`.
pub(crate) fn is_newer_than(generations: &[Generation], known: u64, first_ms: Timestamp, last_ms: Timestamp) -> bool {
    let ends_before = |next: Option<&Generation>| next.is_some_and(|next| next.from_ms <= first_ms);
    let covers = |(at, g): (usize, &Generation)| g.rev > known && g.from_ms <= last_ms && !ends_before(generations.get(at + 1));
    generations.iter().enumerate().any(covers)
}

/// Whether `generation` puts series with this placement hash on `shard`.
pub(crate) fn is_on(generation: &Generation, shard: ShardId, placement: u64) -> bool {
    let buckets = u32::try_from(generation.shards.len()).unwrap_or(u32::MAX);
    buckets > 0 && generation.shards.get(jump_hash(placement, buckets) as usize) == Some(&shard)
}
