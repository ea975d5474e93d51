//! A workspace's shard map: an ordered list of generations, each with its own shards from a time on.

use crate::hash::jump_hash;
use crate::ids::ShardId;
use crate::time::Timestamp;

/// The shards that hold a workspace's samples from `from_ms` until the next generation begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Generation {
    /// Place in the workspace's history, ascending.
    pub generation: u64,
    /// Revision: a higher one replaces a lower one of the same generation.
    pub rev: u64,
    /// First timestamp (milliseconds) that belongs here; `i64::MIN` for the first unless retention cut it.
    pub from_ms: Timestamp,
    /// Shards in the order that the jump hash counts them.
    pub shards: Vec<ShardId>,
}

/// Why a list of generations cannot be a shard map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GenerationError {
    /// A map has at least one generation.
    #[error("shard map without a generation")]
    Empty,
    /// A generation has between one and `u32::MAX` shards.
    #[error("generation {generation} has {shards} shards")]
    Shards {
        /// The generation.
        generation: u64,
        /// How many shards it lists.
        shards: usize,
    },
    /// Generations and their times ascend.
    #[error("generation {generation} does not come after the one before it")]
    Order {
        /// The generation out of order.
        generation: u64,
    },
}

/// Where a sample lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Placement {
    /// Index of the generation in the list.
    pub index: usize,
    /// The generation.
    pub generation: u64,
    /// Place of the shard in the generation.
    pub slot: u32,
    /// The shard.
    pub shard: ShardId,
}

/// Generations by time; never empty, `generation` and `from_ms` ascend, every generation has a shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GenerationList {
    generations: Vec<Generation>,
}

impl GenerationList {
    /// Checks and takes a list.
    ///
    /// # Errors
    /// See [`GenerationError`].
    pub fn new(generations: Vec<Generation>) -> Result<Self, GenerationError> {
        if generations.is_empty() {
            return Err(GenerationError::Empty);
        }
        for (i, g) in generations.iter().enumerate() {
            if g.shards.is_empty() || u32::try_from(g.shards.len()).is_err() {
                return Err(GenerationError::Shards { generation: g.generation, shards: g.shards.len() });
            }
            if i > 0 && (g.generation <= generations[i - 1].generation || g.from_ms <= generations[i - 1].from_ms) {
                return Err(GenerationError::Order { generation: g.generation });
            }
        }
        Ok(Self { generations })
    }

    /// The generations, oldest first.
    #[must_use]
    pub fn as_slice(&self) -> &[Generation] {
        &self.generations
    }

    /// The first timestamp that the list covers.
    #[must_use]
    pub fn from_ms(&self) -> Timestamp {
        self.generations[0].from_ms
    }

    /// Index of the generation that covers `t`; `None` before the first. O(number of generations), newest first.
    #[must_use]
    pub fn index_at(&self, t: Timestamp) -> Option<usize> {
        self.generations.iter().rposition(|g| g.from_ms <= t)
    }

    /// The generation and the shard of the sample at `t` of a series with hash `placement`; `None` before the first generation.
    #[must_use]
    pub fn shard_of(&self, t: Timestamp, placement: u64) -> Option<Placement> {
        let index = self.index_at(t)?;
        let generation = &self.generations[index];
        let slot = jump_hash(placement, generation.shards.len() as u32);
        Some(Placement { index, generation: generation.generation, slot, shard: generation.shards[slot as usize] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn generation(generation: u64, from_ms: i64, shards: &[u64]) -> Generation {
        Generation { generation, rev: generation, from_ms, shards: shards.iter().copied().map(ShardId).collect() }
    }

    #[test]
    fn c8_a_sample_belongs_to_the_generation_that_covers_its_time() {
        let list = GenerationList::new(vec![generation(1, i64::MIN, &[7]), generation(2, 1000, &[7, 8, 9])]).unwrap();
        for placement in 0..64u64 {
            assert_eq!(list.shard_of(i64::MIN, placement).map(|p| (p.generation, p.shard)), Some((1, ShardId(7))));
            assert_eq!(list.shard_of(999, placement).map(|p| p.index), Some(0));
            let slot = jump_hash(placement, 3);
            let expected = Placement { index: 1, generation: 2, slot, shard: ShardId(7 + u64::from(slot)) };
            assert_eq!(list.shard_of(1000, placement), Some(expected));
            assert_eq!(list.shard_of(i64::MAX, placement), Some(expected));
        }
    }

    #[test]
    fn c8_time_before_a_list_cut_by_retention_has_no_shard() {
        let list = GenerationList::new(vec![generation(2, 1000, &[7])]).unwrap();
        assert_eq!((list.shard_of(999, 1), list.index_at(1000), list.from_ms()), (None, Some(0), 1000));
    }

    #[test]
    fn lists_out_of_order_or_without_shards_are_refused() {
        assert_eq!(GenerationList::new(vec![]), Err(GenerationError::Empty));
        assert_eq!(GenerationList::new(vec![generation(1, 0, &[])]), Err(GenerationError::Shards { generation: 1, shards: 0 }));
        for (second, from_ms) in [(1, 5), (2, 0)] {
            let list = vec![generation(1, 0, &[1]), generation(second, from_ms, &[1])];
            assert_eq!(GenerationList::new(list), Err(GenerationError::Order { generation: second }));
        }
    }
}
