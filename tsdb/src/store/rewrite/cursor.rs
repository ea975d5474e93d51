//! Walking one part, key by key and chunk by chunk, and checking on the way that it is what the manifest lists.

use crate::db::corrupt;
use crate::error::{Corruption, StoreError};
use crate::keys::{ChunkKey, Family};
use crate::store::dataset::Dataset;
use crate::store::file::Tally;
use crate::store::group::Group;
use crate::store::manifest::Part;
use rocksdb::DBRawIterator;
use std::collections::VecDeque;

/// The keys and sealed values of a part, of chunks or of an index. Keys of other parts lie between, so it seeks from metric to
/// metric (or section to section).
pub(crate) struct PartWalk<'a> {
    dataset: &'a Dataset,
    part: Part,
    family: Family,
    iterator: DBRawIterator<'a>,
    tally: Tally,
    is_begun: bool,
}

impl<'a> PartWalk<'a> {
    pub(crate) fn new(dataset: &'a Dataset, part: Part) -> Self {
        let prefix = [&part.day.0.to_be_bytes()[..], &dataset.local.to_be_bytes()].concat();
        let family = part.kind.family();
        Self { dataset, part, family, iterator: dataset.iterate(family, &prefix, false), tally: Tally::default(), is_begun: false }
    }

    fn key(&self, metric: u32) -> ChunkKey {
        ChunkKey { day: self.part.day.0, local: self.dataset.local, metric, part: self.part.id, first_sid: 0 }
    }

    /// Goes to the next key; tells whether there is one.
    pub(crate) fn advance(&mut self) -> Result<bool, StoreError> {
        if std::mem::replace(&mut self.is_begun, true) {
            self.iterator.next();
        } else {
            self.iterator.seek(self.key(0).encode());
        }
        loop {
            let Some((key, sealed)) = self.iterator.item() else {
                self.iterator.status()?;
                return Ok(false);
            };
            let damaged = |source| corrupt(self.family, key)(source);
            let found = ChunkKey::decode(key).map_err(damaged)?;
            if found.part == self.part.id {
                self.tally.add(&self.family.portable(key).map_err(damaged)?, sealed);
                return Ok(true);
            }
            let metric = if found.part < self.part.id { Some(found.metric) } else { found.metric.checked_add(1) };
            let Some(metric) = metric else { return Ok(false) };
            self.iterator.seek(self.key(metric).encode());
        }
    }

    /// Opens the present value and reads it.
    pub(crate) fn read<T>(&self, decode: impl FnOnce(ChunkKey, &[u8]) -> Result<T, Corruption>) -> Result<Option<T>, StoreError> {
        let Some((key, sealed)) = self.iterator.item() else { return Ok(None) };
        let found = ChunkKey::decode(key).map_err(corrupt(self.family, key))?;
        self.dataset.read(self.family, key, sealed, |value| decode(found, value)).map(Some)
    }

    /// Checks, at the end, that everything listed was there.
    pub(crate) fn finish(self) -> Result<(), StoreError> {
        let Part { id, day, keys, hash, .. } = self.part;
        if (keys, hash) == (self.tally.keys, self.tally.hash) {
            return Ok(());
        }
        Err(StoreError::PartDamaged { part: id, day: day.0, keys, hash, found_keys: self.tally.keys, found_hash: self.tally.hash })
    }
}

/// A place in a part with samples.
pub(crate) struct PartCursor<'a> {
    walk: PartWalk<'a>,
    metric: u32,
    /// What is left of the present group: series, log index and chunk.
    group: VecDeque<(u32, u64, Vec<u8>)>,
}

impl<'a> PartCursor<'a> {
    /// Stands on the first chunk.
    pub(crate) fn open(dataset: &'a Dataset, part: Part) -> Result<Self, StoreError> {
        let mut cursor = Self { walk: PartWalk::new(dataset, part), metric: 0, group: VecDeque::new() };
        cursor.fill()?;
        Ok(cursor)
    }

    pub(crate) fn local(&self) -> u32 {
        self.walk.dataset.local
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

    /// See [`PartWalk::finish`].
    pub(crate) fn finish(self) -> Result<(), StoreError> {
        self.walk.finish()
    }

    fn fill(&mut self) -> Result<(), StoreError> {
        let day = self.walk.part.day;
        while self.group.is_empty() && self.walk.advance()? {
            let read = self.walk.read(|key, value| {
                let entries = Group::read(value, day, key.first_sid)?;
                let chunks = entries.map(|entry| entry.map(|e| (e.sid, e.log_index, e.chunk.to_vec())));
                Ok((key.metric, chunks.collect::<Result<_, Corruption>>()?))
            })?;
            if let Some((metric, group)) = read {
                (self.metric, self.group) = (metric, group);
            }
        }
        Ok(())
    }
}
