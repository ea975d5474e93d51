//! Reading: what the head holds, joined with what listed parts hold, as of one moment of the manifest.

mod exemplars;
mod merge;
mod names;
#[cfg(test)]
mod tests;

use crate::chunk::Samples;
use crate::error::{Corruption, StoreError};
use crate::head::{Head, HeadChunk, OutOfOrder, SealedChunk};
use crate::record::{Record, Value};
use crate::select::select;
use crate::shard::Shard;
use crate::state::Tombstones;
use crate::store::StoreView;
use merge::{Merger, StoredPages};
use model::{Labels, Matcher, Sample, SeriesId, Timestamp};
use parking_lot::RwLockReadGuard;
use roaring::RoaringBitmap;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Series that are gathered in one short section of the head's lock and one scan of the parts.
const BATCH_SERIES: usize = 256;

/// Why a read did not end.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The store could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A chunk cannot be decoded.
    #[error("series {sid}: {source}")]
    Chunk {
        /// The series.
        sid: u32,
        /// What is wrong with the chunk.
        source: Corruption,
    },
    /// A stored series has no record.
    #[error("series {sid} has no record")]
    NoRecord {
        /// The series.
        sid: u32,
    },
    /// A snapshot replaced the shard's data while the view was open; read again.
    #[error("the shard's data was replaced while it was read")]
    Replaced,
}

impl ReadError {
    /// Whether stored bytes are not what they were: another replica can still answer.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        match self {
            Self::Store(error) => error.is_damage(),
            Self::Chunk { .. } | Self::NoRecord { .. } => true,
            Self::Replaced => false,
        }
    }

    /// Whether the same read may succeed at once on a new view.
    #[must_use]
    pub fn is_retriable(&self) -> bool {
        matches!(self, Self::Replaced)
    }
}

/// A half-open span of time, as PromQL's windows are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeRange {
    /// Samples at this time are not in the range.
    pub after_ms: Timestamp,
    /// Samples at this time are in the range.
    pub to_ms: Timestamp,
}

impl TimeRange {
    /// Everything.
    pub const ALL: Self = Self { after_ms: i64::MIN, to_ms: i64::MAX };

    /// The first millisecond inside.
    #[must_use]
    pub fn first_ms(self) -> Timestamp {
        self.after_ms.saturating_add(1)
    }
}

/// One selected series: floats in two columns, histograms apart. Times grow strictly, and each stands once in both together.
#[derive(Clone, Copy, Debug)]
pub struct SelectedSeries<'a> {
    /// Its number in this shard.
    pub sid: u32,
    /// Its labels.
    pub labels: &'a Labels,
    /// Milliseconds.
    pub timestamps: &'a [Timestamp],
    /// Any bits; `values[i]` belongs to `timestamps[i]`.
    pub values: &'a [f64],
    /// When the counter of `values[i]` started, in milliseconds, 0 if that is not known. Empty if it is not known of any.
    pub start_timestamps: &'a [Timestamp],
    /// Records whose value is a histogram.
    pub histograms: &'a [Record],
}

impl SelectedSeries<'_> {
    /// Floats and histograms.
    #[must_use]
    pub fn sample_count(&self) -> usize {
        self.timestamps.len() + self.histograms.len()
    }

    /// A copy of the samples in the form in which storage holds them.
    #[must_use]
    pub fn samples(&self) -> Samples {
        let mut samples = Samples { ts: Vec::new(), values: Vec::new(), records: self.histograms.to_vec() };
        if self.start_timestamps.is_empty() {
            samples.ts.extend_from_slice(self.timestamps);
            samples.values.extend_from_slice(self.values);
            return samples;
        }
        let floats = self.timestamps.iter().zip(self.values).zip(self.start_timestamps);
        samples.records.extend(floats.map(|((t, v), start_ms)| Record { timestamp_ms: *t, start_ms: *start_ms, value: Value::Float(*v) }));
        samples.records.sort_by_key(|record| record.timestamp_ms);
        samples
    }
}

/// A reader's hold on a shard: parts as the manifest listed them when it was opened, and the head as it goes on.
///
/// Everything applied before it was opened is seen. Chunks that parts took over since stay in the head until it is dropped.
#[derive(Debug)]
pub struct ReadView {
    shard: Arc<Shard>,
    store: StoreView,
    /// Deletes applied before the view was opened.
    tombstones: Tombstones,
    /// Retention dropped everything before.
    dropped_before_ms: Timestamp,
    flips: u64,
    incarnation: u64,
}

impl Drop for ReadView {
    fn drop(&mut self) {
        self.shard.views.lock().release(self.flips);
    }
}

impl Shard {
    /// Opens a view.
    #[must_use]
    pub fn read_view(self: &Arc<Self>) -> ReadView {
        let mut views = self.views.lock();
        let incarnation = self.incarnation.load(Ordering::SeqCst);
        // The number of flips is read before the manifest: a view may be taken for older than it is, never for newer.
        let flips = views.hold();
        // Deletes are read before the manifest too: one that a rewrite has carried out since hides nothing any more.
        let (tombstones, dropped_before_ms) = self.hidden();
        ReadView { shard: Arc::clone(self), store: self.store().view(), tombstones, dropped_before_ms, flips, incarnation }
    }
}

/// What the head holds of one series, copied out of the lock.
#[derive(Debug, Default)]
struct Gathered {
    sid: u32,
    metric: u32,
    labels: Labels,
    sealed: Vec<Arc<SealedChunk>>,
    open: Option<(HeadChunk, u64)>,
    out_of_order: Option<Box<OutOfOrder>>,
    /// The newest sample, where that is all that is wanted.
    newest: Option<Sample>,
}

/// What is wanted of each series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Wanted {
    range: TimeRange,
    /// Whether the newest sample of the range is enough.
    newest_only: bool,
}

impl ReadView {
    /// Visits the series that match and have samples in the range, by series number, each once.
    ///
    /// The visitor stops the read by returning `Break`.
    ///
    /// # Errors
    /// Stored bytes cannot be read.
    pub fn select(
        &self,
        matchers: &[Matcher],
        range: TimeRange,
        mut visit: impl FnMut(SelectedSeries<'_>) -> ControlFlow<()>,
    ) -> Result<(), ReadError> {
        self.select_wanted(matchers, Wanted { range, newest_only: false }, &mut visit)
    }

    /// As [`ReadView::select`], where of each series the newest sample of the range is enough: a series may come with no others. What
    /// the head knows to be the newest need not be decoded.
    ///
    /// # Errors
    /// As [`ReadView::select`].
    pub fn select_newest(
        &self,
        matchers: &[Matcher],
        range: TimeRange,
        mut visit: impl FnMut(SelectedSeries<'_>) -> ControlFlow<()>,
    ) -> Result<(), ReadError> {
        self.select_wanted(matchers, Wanted { range, newest_only: true }, &mut visit)
    }

    fn select_wanted(
        &self,
        matchers: &[Matcher],
        wanted: Wanted,
        visit: &mut dyn FnMut(SelectedSeries<'_>) -> ControlFlow<()>,
    ) -> Result<(), ReadError> {
        let range = self.kept(wanted.range);
        let stored = self.store.select(matchers, range.first_ms(), range.to_ms)?;
        let found = self.matching_in_head(matchers) | &stored;
        self.visit(&found, &stored, Wanted { range, ..wanted }, visit)
    }

    /// The part of `range` that retention has not dropped.
    fn kept(&self, range: TimeRange) -> TimeRange {
        TimeRange { after_ms: range.after_ms.max(self.dropped_before_ms.saturating_sub(1)), ..range }
    }

    /// Visits the series of `found` that have samples in the range; those of `stored` may lie in parts.
    fn visit(
        &self,
        found: &RoaringBitmap,
        stored: &RoaringBitmap,
        wanted: Wanted,
        visit: &mut dyn FnMut(SelectedSeries<'_>) -> ControlFlow<()>,
    ) -> Result<(), ReadError> {
        let range = wanted.range;
        let tombstones = self.tombstones.meeting(range.first_ms(), range.to_ms);
        let (mut merger, mut pages) = (Merger::default(), StoredPages::default());
        let mut sids = found.iter();
        loop {
            let batch: RoaringBitmap = sids.by_ref().take(BATCH_SERIES).collect();
            if batch.is_empty() {
                return Ok(());
            }
            let gathered = self.gather(&batch, stored, wanted)?;
            self.read_parts(&gathered, stored, range, &mut pages)?;
            merger.begin_batch();
            for series in &gathered {
                let sid = series.sid;
                merger.series(&mut pages, series, &tombstones.of(&series.labels), range)?;
                let selected = merger.selected(sid, &series.labels);
                if selected.sample_count() == 0 {
                    continue;
                }
                if visit(selected).is_break() {
                    return Ok(());
                }
            }
        }
    }

    /// Copies the stored pages of a batch, metric by metric.
    fn read_parts(&self, batch: &[Gathered], stored: &RoaringBitmap, range: TimeRange, pages: &mut StoredPages) -> Result<(), StoreError> {
        pages.clear();
        let mut by_metric: BTreeMap<u32, RoaringBitmap> = BTreeMap::new();
        for series in batch.iter().filter(|series| series.newest.is_none() && stored.contains(series.sid)) {
            by_metric.entry(series.metric).or_default().insert(series.sid);
        }
        let wanted = by_metric.iter().map(|(metric, sids)| (*metric, sids));
        self.store.scan_metrics(wanted, range.first_ms(), range.to_ms, |page| pages.push(&page))?;
        pages.sort();
        Ok(())
    }

    fn matching_in_head(&self, matchers: &[Matcher]) -> RoaringBitmap {
        match select(&*self.shard.index.read(), matchers) {
            Ok(found) => found,
            Err(never) => match never {},
        }
    }

    /// Copies what the head holds of a batch; series that are neither in the head's range nor stored are left out.
    fn gather(&self, batch: &RoaringBitmap, stored: &RoaringBitmap, wanted: Wanted) -> Result<Vec<Gathered>, ReadError> {
        let (mut gathered, mut absent) = (Vec::with_capacity(batch.len() as usize), Vec::new());
        {
            let head = self.head()?;
            for sid in batch {
                match head.slot_of_sid(sid) {
                    Some(slot) => gathered.extend(self.gather_slot(&head, slot, stored.contains(sid), wanted)),
                    None if stored.contains(sid) => absent.push(sid),
                    None => {}
                }
            }
        }
        for sid in absent {
            let record = self.store.series(SeriesId(sid))?.ok_or(ReadError::NoRecord { sid })?;
            gathered.push(Gathered { sid, metric: record.metric, labels: record.labels, ..Gathered::default() });
        }
        gathered.sort_unstable_by_key(|series| series.sid);
        Ok(gathered)
    }

    fn gather_slot(&self, head: &Head, slot: u32, is_stored: bool, wanted: Wanted) -> Option<Gathered> {
        let TimeRange { after_ms, to_ms } = wanted.range;
        let (series, line) = (head.series(slot)?, head.line(slot)?);
        if wanted.newest_only
            && let Some(newest) = line.newest_float().filter(|newest| newest.timestamp_ms > after_ms && newest.timestamp_ms <= to_ms)
        {
            let labels = self.shard.labels_in_head(head, slot);
            return Some(Gathered { sid: series.sid, metric: series.metric, labels, newest: Some(newest), ..Gathered::default() });
        }
        if !is_stored && !line.overlaps(after_ms, to_ms) {
            return None;
        }
        let meets = |chunk: &HeadChunk| chunk.last_ms() > after_ms && chunk.first_ms() <= to_ms;
        Some(Gathered {
            sid: series.sid,
            metric: series.metric,
            labels: self.shard.labels_in_head(head, slot),
            sealed: line.sealed.iter().filter(|s| meets(&s.chunk)).map(Arc::clone).collect(),
            open: line.open.as_ref().filter(|c| meets(c)).map(|c| (c.clone(), line.open_index)),
            out_of_order: line.out_of_order.clone(),
            newest: None,
        })
    }

    /// The head, if it still goes with the parts of this view.
    fn head(&self) -> Result<RwLockReadGuard<'_, Head>, ReadError> {
        let head = self.shard.head.read();
        if self.shard.incarnation.load(Ordering::SeqCst) == self.incarnation { Ok(head) } else { Err(ReadError::Replaced) }
    }

    fn labels(&self, sid: u32) -> Result<Labels, ReadError> {
        let head = self.head()?;
        if let Some(slot) = head.slot_of_sid(sid) {
            return Ok(self.shard.labels_in_head(&head, slot));
        }
        drop(head);
        self.store.labels(SeriesId(sid))?.ok_or(ReadError::NoRecord { sid })
    }
}
