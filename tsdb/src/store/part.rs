//! Writing a part: pages of one day, sorted by metric and series.

use super::checkpoint::CheckpointWriter;
use super::file::{FileWriter, Tally};
use super::group::GroupBuilder;
use super::manifest::{Day, Part, PartKind};
use super::series::NewRecord;
use crate::chunk::PageInput;
use crate::error::StoreError;
use crate::keys::{ChunkKey, Family};
use model::SeriesId;

/// Identifies a series of a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartSeries {
    /// Metric number, given by the shard.
    pub metric: u32,
    /// Series number.
    pub sid: SeriesId,
    /// Identity hash of the labels.
    pub fp128: u128,
    /// Placement hash of the labels.
    pub placement: u64,
}

/// A part being written: [`PartWriter::series`], then its pages, and so on; [`PartWriter::finish`] at the end.
///
/// Dropping it unfinished makes the checkpoint's commit fail.
#[derive(Debug)]
pub struct PartWriter<'w, 'a> {
    checkpoint: &'w mut CheckpointWriter<'a>,
    day: Day,
    id: u64,
    file: Option<FileWriter<'a>>,
    group: GroupBuilder,
    series: Option<PartSeries>,
    page_first_ms: Option<i64>,
    log_index: Option<(u64, u64)>,
    range_ms: (i64, i64),
    labels: Vec<u8>,
}

impl<'w, 'a> PartWriter<'w, 'a> {
    pub(super) fn new(checkpoint: &'w mut CheckpointWriter<'a>, day: Day) -> Self {
        let id = checkpoint.take_part_number();
        checkpoint.unfinished += 1;
        Self {
            checkpoint,
            day,
            id,
            file: None,
            group: GroupBuilder::default(),
            series: None,
            page_first_ms: None,
            log_index: None,
            range_ms: (i64::MAX, i64::MIN),
            labels: Vec::new(),
        }
    }

    /// Begins a series, above all before by (metric, series number).
    ///
    /// `labels` appends the encoded labels ([`crate::rows::push_label`]); it is called only if the store does not hold them yet.
    ///
    /// # Errors
    /// [`StoreError::OutOfOrder`], damaged labels, or a write failed.
    pub fn series(&mut self, series: PartSeries, labels: impl FnOnce(&mut Vec<u8>)) -> Result<(), StoreError> {
        let before = self.series.map(|s| (s.metric, s.sid));
        if before.is_some_and(|before| before >= (series.metric, series.sid)) {
            return Err(StoreError::OutOfOrder { metric: series.metric, sid: series.sid.0 });
        }
        if self.group.is_full() || before.is_some_and(|(metric, _)| metric != series.metric) {
            self.write_group()?;
        }
        (self.series, self.page_first_ms) = (Some(series), None);
        if self.checkpoint.needs_labels(self.day, series.sid.0) {
            self.labels.clear();
            labels(&mut self.labels);
            let PartSeries { metric, sid, fp128, placement } = series;
            self.checkpoint.record(self.day, NewRecord { sid, metric, fp128, placement, labels: &self.labels })?;
        }
        Ok(())
    }

    /// Adds a page of the present series, beginning not before the one before; `log_index` is the lowest of the entries that wrote its
    /// samples.
    ///
    /// # Errors
    /// [`StoreError::OutOfOrder`], [`StoreError::ChunkOutsideDay`].
    ///
    /// # Panics
    /// The page has no sample, or not as many values as times.
    pub fn page(&mut self, log_index: u64, page: PageInput<'_>) -> Result<(), StoreError> {
        let Some(PartSeries { metric, sid, .. }) = self.series else {
            return Err(StoreError::OutOfOrder { metric: 0, sid: 0 });
        };
        assert_eq!(page.times.len(), page.values.len(), "as many values as times");
        let (Some(&first_ms), Some(&last_ms)) = (page.times.first(), page.times.last()) else { panic!("a page without samples") };
        if Day::of(first_ms) != Some(self.day) || Day::of(last_ms) != Some(self.day) {
            return Err(StoreError::ChunkOutsideDay { day: self.day.0, first_ms, last_ms });
        }
        if self.page_first_ms.is_some_and(|before| before > first_ms) {
            return Err(StoreError::OutOfOrder { metric, sid: sid.0 });
        }
        self.page_first_ms = Some(first_ms);
        self.group.add(sid.0, log_index, page);
        let (low, high) = self.log_index.unwrap_or((log_index, log_index));
        self.log_index = Some((low.min(log_index), high.max(log_index)));
        self.range_ms = (self.range_ms.0.min(first_ms), self.range_ms.1.max(last_ms));
        Ok(())
    }

    fn write_group(&mut self) -> Result<(), StoreError> {
        if self.group.is_empty() {
            return Ok(());
        }
        let dataset = self.checkpoint.dataset();
        let metric = self.series.map_or(0, |series| series.metric);
        let first_sid = self.group.first_sid;
        let key = ChunkKey { day: self.day.0, local: dataset.local, metric, part: self.id, first_sid }.encode();
        let file = match &mut self.file {
            Some(file) => file,
            None => self.file.insert(FileWriter::create(dataset.engine(), Family::Chunk, &mut self.checkpoint.files)?),
        };
        dataset.put_file(file, Family::Chunk, &key, &self.group.take(self.day))
    }

    /// Ends the part; it counts from the checkpoint's commit on. A part without pages is not listed.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn finish(mut self) -> Result<(), StoreError> {
        self.write_group()?;
        let written = self.file.take().map(FileWriter::finish).transpose()?;
        self.checkpoint.unfinished -= 1;
        let Some(Tally { keys, bytes, hash }) = written else { return Ok(()) };
        let (min_log_index, max_log_index) = self.log_index.unwrap_or_default();
        let (first_ms, last_ms) = self.range_ms;
        self.checkpoint.parts.push(Part {
            id: self.id,
            kind: PartKind::Flush,
            day: self.day,
            min_log_index,
            max_log_index,
            first_ms,
            last_ms,
            keys,
            bytes,
            hash,
        });
        Ok(())
    }
}
