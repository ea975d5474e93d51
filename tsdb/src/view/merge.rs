//! One series from all its pages and chunks, of the head and of parts.

use super::{Gathered, ReadError, SelectedSeries, TimeRange};
use crate::chunk::{PageCoder, Samples};
use crate::error::Corruption;
use crate::runs::Runs;
use crate::state::Deleted;
use crate::store::StoredPage;
use model::{Labels, Timestamp};
use std::ops::Range;

/// Decoded times that are kept for the series to come; what is beyond is decoded for each series again.
const SHARED_TIMES_MAX: usize = 1 << 20;

/// Pages of a batch of series, copied from parts; times that series share are there once.
#[derive(Debug, Default)]
pub(super) struct StoredPages {
    bytes: Vec<u8>,
    pages: Vec<Page>,
    columns: Vec<Column>,
    /// Columns of the group that is being read, by their numbers there.
    of_group: Vec<Option<u32>>,
    /// Number of that group, and of the scan it belongs to.
    group: Option<(u32, u32)>,
    scan: u32,
    times: Vec<Timestamp>,
    /// Times of a page that `times` has no room for.
    beyond: Vec<Timestamp>,
    coder: PageCoder,
}

#[derive(Debug)]
struct Page {
    sid: u32,
    log_index: u64,
    column: u32,
    values: Range<usize>,
}

/// A column of times.
#[derive(Debug)]
struct Column {
    count: usize,
    bytes: Range<usize>,
    /// Where it is in `times`, once it was decoded.
    decoded: Option<Range<usize>>,
}

impl StoredPages {
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.pages.clear();
        self.columns.clear();
        self.of_group.clear();
        self.times.clear();
        self.group = None;
    }

    /// Begins another scan, whose groups are counted anew.
    pub(super) fn begin_scan(&mut self) {
        self.scan = self.scan.wrapping_add(1);
    }

    pub(super) fn push(&mut self, page: &StoredPage<'_>) {
        if self.group != Some((self.scan, page.group)) {
            self.group = Some((self.scan, page.group));
            self.of_group.clear();
        }
        if self.of_group.len() <= page.column {
            self.of_group.resize(page.column + 1, None);
        }
        let column = match self.of_group[page.column] {
            Some(known) => known,
            None => {
                let number = self.columns.len() as u32;
                let bytes = self.copy(page.times);
                self.columns.push(Column { count: page.count, bytes, decoded: None });
                self.of_group[page.column] = Some(number);
                number
            }
        };
        let values = self.copy(page.values);
        self.pages.push(Page { sid: page.sid.0, log_index: page.log_index, column, values });
    }

    fn copy(&mut self, bytes: &[u8]) -> Range<usize> {
        let from = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        from..self.bytes.len()
    }

    /// Brings the pages of one series together, in the order they were read.
    pub(super) fn sort(&mut self) {
        self.pages.sort_by_key(|page| page.sid);
    }

    /// Numbers of the pages of a series.
    fn of(&self, sid: u32) -> Range<usize> {
        let from = self.pages.partition_point(|page| page.sid < sid);
        let count = self.pages[from..].iter().take_while(|page| page.sid == sid).count();
        from..from + count
    }

    /// Appends the samples of a page.
    fn decode(&mut self, page: usize, out: &mut Samples) -> Result<(), Corruption> {
        let Self { bytes, pages, columns, times, beyond, coder, .. } = self;
        let Page { column, values: ref coded, .. } = pages[page];
        let column = &mut columns[column as usize];
        let times = match &column.decoded {
            Some(range) => &times[range.clone()],
            None if times.len() + column.count <= SHARED_TIMES_MAX => {
                let from = times.len();
                coder.decode_times(&bytes[column.bytes.clone()], column.count, times).inspect_err(|_| times.truncate(from))?;
                column.decoded = Some(from..times.len());
                &times[from..]
            }
            None => {
                beyond.clear();
                coder.decode_times(&bytes[column.bytes.clone()], column.count, beyond)?;
                beyond
            }
        };
        coder.decode_samples(times, &bytes[coded.clone()], out)
    }
}

/// Joins the pages and chunks of one series after another, reusing its buffers.
#[derive(Debug, Default)]
pub(super) struct Merger {
    runs: Runs,
}

impl Merger {
    /// The series joined last.
    pub(super) fn selected<'a>(&'a self, sid: u32, labels: &'a Labels) -> SelectedSeries<'a> {
        let Runs { samples, starts, .. } = &self.runs;
        SelectedSeries {
            sid,
            labels,
            timestamps: &samples.ts,
            values: &samples.values,
            start_timestamps: starts,
            histograms: &samples.records,
        }
    }

    /// Joins the pages and chunks of one series, without what is deleted of it.
    pub(super) fn series(
        &mut self,
        stored: &mut StoredPages,
        head: &Gathered,
        deleted: &Deleted,
        range: TimeRange,
    ) -> Result<(), ReadError> {
        let (sid, runs) = (head.sid, &mut self.runs);
        runs.clear();
        if let Some(newest) = head.newest {
            runs.samples.ts.push(newest.timestamp_ms);
            runs.samples.values.push(newest.value);
            return Ok(());
        }
        let corrupt = |source| ReadError::Chunk { sid, source };
        for page in stored.of(sid) {
            let log_index = stored.pages[page].log_index;
            runs.add(log_index, deleted, |samples| stored.decode(page, samples)).map_err(corrupt)?;
        }
        let sealed = head.sealed.iter().map(|s| (&s.chunk, s.min_index));
        for (chunk, log_index) in sealed.chain(head.open.iter().map(|(chunk, log_index)| (chunk, *log_index))) {
            runs.add(log_index, deleted, |samples| chunk.decode(samples)).map_err(corrupt)?;
        }
        if let Some(pending) = &head.out_of_order {
            runs.add(pending.min_index, deleted, |samples| {
                samples.ts.extend(pending.samples.iter().map(|(t, _)| *t));
                samples.values.extend(pending.samples.iter().map(|(_, bits)| f64::from_bits(*bits)));
                samples.records.extend(pending.records.iter().cloned());
                Ok::<_, ReadError>(())
            })?;
        }
        runs.finish();
        self.cut(range);
        Ok(())
    }

    fn cut(&mut self, range: TimeRange) {
        let Runs { samples: Samples { ts, values, records }, starts, .. } = &mut self.runs;
        let from = ts.partition_point(|t| *t <= range.after_ms);
        let to = ts.partition_point(|t| *t <= range.to_ms).max(from);
        values.truncate(to);
        values.drain(..from);
        starts.truncate(to);
        starts.drain(..from.min(starts.len()));
        ts.truncate(to);
        ts.drain(..from);
        records.retain(|record| record.timestamp_ms > range.after_ms && record.timestamp_ms <= range.to_ms);
    }
}
