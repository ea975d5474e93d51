//! Writing a checkpoint: pages and parts first, then the flip that makes all of them count.

use super::file::{FileWriter, TempFiles};
use super::manifest::{Day, Manifest, Part, PartKind, Pending};
use super::pack::pack;
use super::part::{PartSeries, PartWriter};
use super::segment::{IndexBuilder, Segment};
use super::series::NewRecord;
use super::{Dataset, Step, StoreInner};
use crate::db::corrupt;
use crate::error::StoreError;
use crate::keys::{Family, HeadKey, MetaKey, MetaTag, SeriesKey};
use crate::select::Source;
use model::LogPoint;
use roaring::RoaringBitmap;
use rocksdb::WriteBatch;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Largest page of a checkpoint.
pub const PAGE_BYTES_MAX: usize = 256 << 10;
/// Series records are written in batches of about this size.
pub(super) const RECORD_BATCH_BYTES: usize = 1 << 20;

/// A checkpoint, or a rewrite of parts, being written; dropping it leaves nothing visible.
pub struct CheckpointWriter<'a> {
    pub(super) store: &'a StoreInner,
    pub(super) base: Arc<Manifest>,
    /// What its parts are: [`PartKind::Flush`] for a checkpoint. A rewrite keeps the pages and the log point of the checkpoint before.
    pub(super) kind: PartKind,
    generation: u32,
    pages: u32,
    pages_file: Option<FileWriter<'a>>,
    pub(super) files: TempFiles,
    pub(super) parts: Vec<Part>,
    pub(super) next_part: u64,
    pub(super) unfinished: u32,
    removed: BTreeSet<u64>,
    pub(super) quarantined: BTreeSet<u64>,
    days: BTreeMap<Day, DayIndex>,
    series: RoaringBitmap,
    records: WriteBatch,
    _slot: Slot<'a>,
}

impl std::fmt::Debug for CheckpointWriter<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { generation, pages, parts, removed, .. } = self;
        f.debug_struct("CheckpointWriter")
            .field("generation", generation)
            .field("pages", pages)
            .field("parts", parts)
            .field("removed", removed)
            .finish_non_exhaustive()
    }
}

/// What a day's segments hold already, and what this checkpoint adds.
#[derive(Debug, Default)]
struct DayIndex {
    known: RoaringBitmap,
    added: IndexBuilder,
}

/// Keeps a second checkpoint out.
#[derive(Debug)]
struct Slot<'a>(&'a StoreInner);

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        self.0.state.lock().is_checkpointing = false;
    }
}

impl<'a> CheckpointWriter<'a> {
    pub(super) fn begin(store: &'a StoreInner, kind: PartKind) -> Result<Self, StoreError> {
        store.ensure_live()?;
        store.reclaim()?;
        let mut state = store.state.lock();
        if state.is_checkpointing {
            return Err(StoreError::CheckpointRunning);
        }
        state.is_checkpointing = true;
        let mut generation = state.current.generation;
        if kind == PartKind::Flush {
            generation = state.next_generation;
            state.next_generation += 1;
        }
        Ok(Self {
            store,
            base: Arc::clone(&state.current),
            kind,
            generation,
            pages: 0,
            pages_file: None,
            files: TempFiles::default(),
            parts: Vec::new(),
            next_part: state.next_part,
            unfinished: 0,
            removed: BTreeSet::new(),
            quarantined: state.current.quarantined.clone(),
            days: BTreeMap::new(),
            series: RoaringBitmap::new(),
            records: WriteBatch::default(),
            _slot: Slot(store),
        })
    }

    pub(super) fn dataset(&self) -> &'a Dataset {
        &self.store.dataset
    }

    /// Adds a page; [`super::StoreView::pages`] gives pages back in this order.
    ///
    /// # Errors
    /// [`StoreError::PageTooLarge`], or the file cannot be written.
    pub fn page(&mut self, page: &[u8]) -> Result<(), StoreError> {
        if page.len() > PAGE_BYTES_MAX {
            return Err(StoreError::PageTooLarge { bytes: page.len(), max: PAGE_BYTES_MAX });
        }
        let dataset = self.dataset();
        let key = HeadKey { local: dataset.local, generation: self.generation, page: self.pages }.encode();
        let file = match &mut self.pages_file {
            Some(file) => file,
            None => self.pages_file.insert(FileWriter::create(dataset.engine(), Family::Head, &mut self.files)?),
        };
        dataset.put_file(file, Family::Head, &key, &pack(page))?;
        self.pages += 1;
        Ok(())
    }

    /// Begins a part of a day; a checkpoint may hold any number of parts, days in any order.
    ///
    /// # Errors
    /// The day's present segments cannot be read.
    pub fn part(&mut self, day: Day) -> Result<PartWriter<'_, 'a>, StoreError> {
        if !self.days.contains_key(&day) {
            let mut known = RoaringBitmap::new();
            // What a damaged segment holds is indexed once more: nothing may keep samples from becoming durable.
            let is_left_out = |part: &Part| self.removed.contains(&part.id) || self.quarantined.contains(&part.id);
            for part in self.base.parts.iter().filter(|p| p.kind == PartKind::Index && p.day == day && !is_left_out(p)) {
                match Segment::open(self.dataset(), *part) {
                    Ok(segment) => known |= segment.all(),
                    Err(error) if error.is_damage() => tracing::error!(part = part.id, day = day.0, %error, "index segment passed over"),
                    Err(error) => return Err(error),
                }
            }
            self.days.insert(day, DayIndex { known, added: IndexBuilder::default() });
        }
        Ok(PartWriter::new(self, day))
    }

    /// Lists a part of samples no more, from this checkpoint's commit on. Others are passed over: segments go with their day.
    pub fn remove_part(&mut self, part: u64) {
        if self.base.parts.iter().any(|listed| listed.id == part && listed.kind.has_samples()) {
            self.removed.insert(part);
        }
    }

    /// Lists nothing of a day any more, samples and index, except what this checkpoint adds from now on.
    pub fn remove_day(&mut self, day: Day) {
        self.removed.extend(self.base.parts.iter().chain(&self.parts).filter(|part| part.day == day).map(|part| part.id));
        self.days.remove(&day);
    }

    /// Lists nothing of the days before `first_ms` any more.
    pub fn remove_days_before(&mut self, first_ms: i64) {
        let base = Arc::clone(&self.base);
        let mut days: Vec<Day> = base.parts.iter().map(|part| part.day).filter(|day| day.last_ms() < first_ms).collect();
        days.dedup();
        days.into_iter().for_each(|day| self.remove_day(day));
    }

    pub(super) fn take_part_number(&mut self) -> u64 {
        let id = self.next_part;
        assert!(id >> 48 == 0, "part numbers are used up");
        self.next_part += 1;
        id
    }

    /// Whether the store lacks the series' record or its place in the day's index.
    pub(super) fn needs_labels(&self, day: Day, sid: u32) -> bool {
        let indexed = self.days.get(&day).is_some_and(|index| index.known.contains(sid) || index.added.contains(sid));
        !indexed || !self.is_recorded(sid)
    }

    fn is_recorded(&self, sid: u32) -> bool {
        self.base.series.contains(sid) || self.series.contains(sid)
    }

    pub(super) fn record(&mut self, day: Day, record: NewRecord<'_>) -> Result<(), StoreError> {
        let (sid, dataset) = (record.sid.0, self.dataset());
        if let Some(index) = self.days.get_mut(&day)
            && !index.known.contains(sid)
        {
            let key = SeriesKey { local: dataset.local, sid }.encode();
            index.added.add(sid, record.labels).map_err(corrupt(Family::Index, &key))?;
        }
        self.list_series(record)
    }

    /// Lists a series of which no part holds a sample, so that its number and its labels stay known. `labels` as in
    /// [`PartWriter::series`].
    ///
    /// # Errors
    /// A write failed.
    pub(crate) fn series(&mut self, series: PartSeries, labels: impl FnOnce(&mut Vec<u8>)) -> Result<(), StoreError> {
        let PartSeries { metric, sid, fp128, placement } = series;
        if self.is_recorded(sid.0) {
            return Ok(());
        }
        let mut encoded = Vec::new();
        labels(&mut encoded);
        self.list_series(NewRecord { sid, metric, fp128, placement, newest_ms: None, labels: &encoded })
    }

    fn list_series(&mut self, record: NewRecord<'_>) -> Result<(), StoreError> {
        let sid = record.sid.0;
        if self.is_recorded(sid) {
            return Ok(());
        }
        record.put(self.dataset(), &mut self.records)?;
        self.series.insert(sid);
        if self.records.size_in_bytes() >= RECORD_BATCH_BYTES {
            self.write_records()?;
        }
        Ok(())
    }

    /// Series records need no sync of their own: the flip's sync covers everything written before it.
    fn write_records(&mut self) -> Result<(), StoreError> {
        self.dataset().engine().write(std::mem::take(&mut self.records))
    }

    /// Makes everything count, with the log point whose state it is and the caller's bytes. Durable when it returns.
    ///
    /// # Errors
    /// [`StoreError::Retired`] once the data was replaced, [`StoreError::PartUnfinished`], or a write failed: then the state before
    /// stays, unless the flip itself failed. It may have reached the disk all the same, so the handle is retired and the database
    /// must be opened again to know.
    pub fn commit(self, point: LogPoint, extra: &[u8]) -> Result<(), StoreError> {
        self.commit_at(Some(point), extra)
    }

    pub(super) fn commit_at(mut self, point: Option<LogPoint>, extra: &[u8]) -> Result<(), StoreError> {
        let result = self.write_all(point, extra);
        if matches!(result, Err(StoreError::Stopped(_))) {
            self.files.abandon();
        }
        result?;
        let store = self.store;
        drop(self);
        if let Err(error) = store.reclaim() {
            tracing::warn!(%error, shard = %store.dataset.identity.shard, "replaced data could not be deleted yet");
        }
        if let Err(error) = store.dataset.engine().flush_if_large() {
            tracing::warn!(%error, "memtables could not be flushed yet");
        }
        store.dataset.engine().faults.reached(Step::Cleanup)
    }

    fn write_all(&mut self, point: Option<LogPoint>, extra: &[u8]) -> Result<(), StoreError> {
        let engine = self.dataset().engine();
        self.store.ensure_live()?;
        if self.unfinished > 0 {
            return Err(StoreError::PartUnfinished { parts: self.unfinished });
        }
        self.write_records()?;
        let pages_hash = self.pages_file.take().map_or(Ok(0), |file| file.finish().map(|tally| tally.hash))?;
        engine.faults.reached(Step::Pages)?;
        self.write_segments()?;
        engine.faults.reached(Step::PartFiles)?;
        self.write_pending()?;
        self.files.ingest(engine)?;
        engine.faults.reached(Step::Ingest)?;
        let manifest = self.next_manifest(point, extra, pages_hash);
        engine.faults.reached(Step::BeforeFlip)?;
        self.flip(manifest)?;
        engine.faults.reached(Step::Flip)
    }

    fn write_segments(&mut self) -> Result<(), StoreError> {
        for (day, index) in std::mem::take(&mut self.days) {
            if index.added.is_empty() {
                continue;
            }
            let of_day = || self.parts.iter().filter(|part| part.day == day);
            let min_log_index = of_day().map(|part| part.min_log_index).min().unwrap_or(0);
            let max_log_index = of_day().map(|part| part.max_log_index).max().unwrap_or(0);
            let id = self.take_part_number();
            let tally = index.added.write(self.dataset(), day, id, &mut self.files)?;
            self.parts.push(Part {
                id,
                kind: PartKind::Index,
                day,
                min_log_index,
                max_log_index,
                first_ms: day.first_ms(),
                last_ms: day.last_ms(),
                keys: tally.keys,
                bytes: tally.bytes,
                hash: tally.hash,
            });
        }
        Ok(())
    }

    /// Notes, durably and before the first of them exists, which parts the next open must delete if no flip lists them.
    fn write_pending(&mut self) -> Result<(), StoreError> {
        let dataset = self.dataset();
        let parts = {
            let mut state = self.store.state.lock();
            state.next_part = self.next_part;
            state.unlisted.extend(&self.parts);
            if self.kind == PartKind::Flush {
                state.stale_generations.push(self.generation);
            }
            state.unlisted.clone()
        };
        if self.parts.is_empty() {
            return Ok(());
        }
        let pending = Pending { next_part: self.next_part, parts };
        let mut batch = WriteBatch::default();
        let key = MetaKey { local: dataset.local, tag: MetaTag::Pending }.encode();
        dataset.put(&mut batch, Family::Meta, &key, &pending.encode())?;
        dataset.engine().write_synced(batch)
    }

    fn next_manifest(&mut self, point: Option<LogPoint>, extra: &[u8], pages_hash: u32) -> Manifest {
        let is_checkpoint = self.kind == PartKind::Flush;
        let (pages, pages_hash) = if is_checkpoint { (self.pages, pages_hash) } else { (self.base.pages, self.base.pages_hash) };
        let is_removed = |part: &&Part| self.removed.contains(&part.id);
        let mut parts: Vec<Part> = self.base.parts.iter().chain(&self.parts).filter(|part| !is_removed(part)).copied().collect();
        parts.sort_unstable_by_key(|part| (part.day, part.id));
        let mut unlisted = self.store.state.lock().unlisted.clone();
        unlisted.extend(self.base.parts.iter().filter(is_removed));
        unlisted.retain(|part| parts.iter().all(|listed| listed.id != part.id));
        let quarantined = self.quarantined.iter().copied().filter(|id| parts.iter().any(|part| part.id == *id)).collect();
        let mut series = &self.base.series | &self.series;
        series.optimize();
        Manifest {
            point,
            extra: extra.to_vec(),
            generation: self.generation,
            pages,
            pages_hash,
            next_part: self.next_part,
            series,
            parts,
            unlisted,
            quarantined,
        }
    }

    fn flip(&mut self, manifest: Manifest) -> Result<(), StoreError> {
        let dataset = self.dataset();
        let mut batch = WriteBatch::default();
        let key = |tag| MetaKey { local: dataset.local, tag }.encode();
        dataset.put(&mut batch, Family::Meta, &key(MetaTag::Manifest), &manifest.encode())?;
        dataset.engine().delete(&mut batch, Family::Meta, &key(MetaTag::Pending));
        if let Err(error) = dataset.engine().write_synced(batch) {
            // Nothing may be deleted any more: the disk may list what this process does not.
            self.store.retire();
            return Err(error);
        }
        let mut state = self.store.state.lock();
        state.unlisted.clone_from(&manifest.unlisted);
        if self.kind == PartKind::Flush {
            state.stale_generations.retain(|generation| *generation != self.generation);
            state.stale_generations.push(self.base.generation);
        }
        let before = std::mem::replace(&mut state.current, Arc::new(manifest));
        state.older.push(Arc::downgrade(&before));
        Ok(())
    }
}
