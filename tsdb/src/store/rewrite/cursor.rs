//! Walking one part, key by key and page by page, and checking on the way that it is what the manifest lists.

use crate::chunk::{PageCoder, Samples};
use crate::db::corrupt;
use crate::error::{Corruption, StoreError};
use crate::keys::{ChunkKey, Family};
use crate::store::dataset::Dataset;
use crate::store::file::Tally;
use crate::store::group::Group;
use crate::store::manifest::Part;
use rocksdb::DBRawIterator;
use std::collections::VecDeque;
use std::ops::Range;

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

/// A page of the present group.
struct Page {
    sid: u32,
    log_index: u64,
    count: usize,
    times: Range<usize>,
    values: Range<usize>,
}

/// A place in a part with samples.
pub(crate) struct PartCursor<'a> {
    walk: PartWalk<'a>,
    metric: u32,
    /// Columns of the present group.
    bytes: Vec<u8>,
    /// What is left of the present group.
    group: VecDeque<Page>,
    times: Vec<i64>,
}

impl<'a> PartCursor<'a> {
    /// Stands on the first page.
    pub(crate) fn open(dataset: &'a Dataset, part: Part) -> Result<Self, StoreError> {
        let walk = PartWalk::new(dataset, part);
        let mut cursor = Self { walk, metric: 0, bytes: Vec::new(), group: VecDeque::new(), times: Vec::new() };
        cursor.fill()?;
        Ok(cursor)
    }

    pub(crate) fn local(&self) -> u32 {
        self.walk.dataset.local
    }

    /// Metric and series of the present page; none at the end.
    pub(crate) fn series(&self) -> Option<(u32, u32)> {
        self.group.front().map(|page| (self.metric, page.sid))
    }

    /// Log index of the present page; 0 at the end.
    pub(crate) fn log_index(&self) -> u64 {
        self.group.front().map_or(0, |page| page.log_index)
    }

    /// Appends the samples of the present page; none at the end.
    pub(crate) fn decode(&mut self, coder: &mut PageCoder, out: &mut Samples) -> Result<(), Corruption> {
        let Some(page) = self.group.front() else { return Ok(()) };
        self.times.clear();
        coder.decode_times(self.bytes.get(page.times.clone()).unwrap_or_default(), page.count, &mut self.times)?;
        coder.decode_samples(&self.times, self.bytes.get(page.values.clone()).unwrap_or_default(), out)
    }

    /// Goes to the next page.
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
            let (bytes, pages) = (&mut self.bytes, &mut self.group);
            let metric = self.walk.read(|key, value| {
                copy_group(Group::read(value, day, key.first_sid)?, bytes, pages)?;
                Ok(key.metric)
            })?;
            self.metric = metric.unwrap_or(self.metric);
        }
        Ok(())
    }
}

/// Takes a group's columns over, each once.
fn copy_group(mut group: Group<'_>, bytes: &mut Vec<u8>, pages: &mut VecDeque<Page>) -> Result<(), Corruption> {
    bytes.clear();
    let mut copy = |column: &[u8]| {
        let from = bytes.len();
        bytes.extend_from_slice(column);
        from..bytes.len()
    };
    let columns: Vec<(usize, Range<usize>)> = group.times().iter().map(|column| (column.count, copy(column.bytes))).collect();
    while let Some(entry) = group.next_entry()? {
        let (count, times) = columns.get(entry.times).cloned().ok_or(Corruption::new("time column of a page"))?;
        pages.push_back(Page { sid: entry.sid, log_index: entry.log_index, count, times, values: copy(entry.values) });
    }
    Ok(())
}
