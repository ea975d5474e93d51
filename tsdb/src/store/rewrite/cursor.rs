//! Walking one part, chunk by chunk, and checking on the way that it is what the manifest lists.

use crate::db::corrupt;
use crate::error::{Corruption, StoreError};
use crate::keys::{ChunkKey, Family};
use crate::store::dataset::Dataset;
use crate::store::file::Tally;
use crate::store::group::Group;
use crate::store::manifest::Part;
use rocksdb::DBRawIterator;
use std::collections::VecDeque;

/// A place in a part. The keys of other parts lie between its own, so it seeks from metric to metric.
pub(crate) struct PartCursor<'a> {
    dataset: &'a Dataset,
    part: Part,
    iterator: DBRawIterator<'a>,
    tally: Tally,
    metric: u32,
    /// What is left of the present group: series, log index and chunk.
    group: VecDeque<(u32, u64, Vec<u8>)>,
}

impl<'a> PartCursor<'a> {
    /// Stands on the first chunk.
    pub(crate) fn open(dataset: &'a Dataset, part: Part) -> Result<Self, StoreError> {
        let prefix = [&part.day.0.to_be_bytes()[..], &dataset.local.to_be_bytes()].concat();
        let mut iterator = dataset.iterate(Family::Chunk, &prefix, false);
        iterator.seek(ChunkKey { day: part.day.0, local: dataset.local, metric: 0, part: part.id, first_sid: 0 }.encode());
        let mut cursor = Self { dataset, part, iterator, tally: Tally::default(), metric: 0, group: VecDeque::new() };
        cursor.fill()?;
        Ok(cursor)
    }

    pub(crate) fn local(&self) -> u32 {
        self.dataset.local
    }

    /// Metric and series of the present chunk; none at the end.
    pub(crate) fn series(&self) -> Option<(u32, u32)> {
        self.group.front().map(|(sid, ..)| (self.metric, *sid))
    }

    /// Log index and bytes of the present chunk; none at the end.
    pub(crate) fn chunk(&self) -> (u64, &[u8]) {
        self.group.front().map_or((0, &[]), |(_, log_index, chunk)| (*log_index, chunk))
    }

    /// Goes to the next chunk.
    pub(crate) fn advance(&mut self) -> Result<(), StoreError> {
        self.group.pop_front();
        self.fill()
    }

    /// Checks, at the end, that everything listed was there.
    pub(crate) fn finish(self) -> Result<(), StoreError> {
        let Part { id, day, keys, hash, .. } = self.part;
        if (keys, hash) == (self.tally.keys, self.tally.hash) {
            return Ok(());
        }
        Err(StoreError::PartDamaged { part: id, day: day.0, keys, hash, found_keys: self.tally.keys, found_hash: self.tally.hash })
    }

    fn fill(&mut self) -> Result<(), StoreError> {
        let Part { id, day, .. } = self.part;
        while self.group.is_empty() {
            let Some((key, sealed)) = self.iterator.item() else { return Ok(self.iterator.status()?) };
            let found = ChunkKey::decode(key).map_err(corrupt(Family::Chunk, key))?;
            if found.part == id {
                self.tally.add(&Family::Chunk.portable(key).map_err(corrupt(Family::Chunk, key))?, sealed);
                self.metric = found.metric;
                self.group = self.dataset.read(Family::Chunk, key, sealed, |value| {
                    let entries = Group::read(value, day, found.first_sid)?;
                    entries.map(|entry| entry.map(|e| (e.sid, e.log_index, e.chunk.to_vec()))).collect::<Result<_, Corruption>>()
                })?;
                self.iterator.next();
                continue;
            }
            let metric = if found.part < id { Some(found.metric) } else { found.metric.checked_add(1) };
            let Some(metric) = metric else { return Ok(()) };
            self.iterator.seek(ChunkKey { metric, part: id, first_sid: 0, ..found }.encode());
        }
        Ok(())
    }
}
