//! One series from all its pages and chunks: one point a timestamp, the lowest log index wins.

use super::{Gathered, ReadError, TimeRange};
use crate::chunk::{Decoded, PageCoder};
use crate::error::Corruption;
use crate::store::StoredPage;
use model::Timestamp;
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

    /// Appends the samples of a page; gives its log index.
    fn decode(&mut self, page: usize, times: &mut Vec<Timestamp>, out: &mut Decoded) -> Result<u64, Corruption> {
        let Self { bytes, pages, columns, times: shared, coder, .. } = self;
        let Page { log_index, column, ref values, .. } = pages[page];
        let column = &mut columns[column as usize];
        match &column.decoded {
            Some(range) => times.extend_from_slice(&shared[range.clone()]),
            None if shared.len() + column.count <= SHARED_TIMES_MAX => {
                let from = shared.len();
                coder.decode_times(&bytes[column.bytes.clone()], column.count, shared).inspect_err(|_| shared.truncate(from))?;
                times.extend_from_slice(&shared[from..]);
                column.decoded = Some(from..shared.len());
            }
            None => coder.decode_times(&bytes[column.bytes.clone()], column.count, times)?,
        }
        coder.decode_values(&bytes[values.clone()], column.count, out)?;
        Ok(log_index)
    }
}

/// Joins the pages and chunks of one series after another, reusing its buffers.
#[derive(Debug, Default)]
pub(super) struct Merger {
    timestamps: Vec<Timestamp>,
    decoded: Decoded,
    /// (first position, log index) of each run of samples.
    runs: Vec<(usize, u64)>,
    /// (timestamp, log index, bits), for series whose runs overlap.
    points: Vec<(Timestamp, u64, u64)>,
}

impl Merger {
    pub(super) fn timestamps(&self) -> &[Timestamp] {
        &self.timestamps
    }

    pub(super) fn values(&self) -> &[f64] {
        &self.decoded.values
    }

    pub(super) fn series(&mut self, sid: u32, stored: &mut StoredPages, head: &Gathered, range: TimeRange) -> Result<(), ReadError> {
        self.timestamps.clear();
        self.decoded.clear();
        self.runs.clear();
        let corrupt = |source| ReadError::Chunk { sid, source };
        for page in stored.of(sid) {
            let from = self.timestamps.len();
            let log_index = stored.decode(page, &mut self.timestamps, &mut self.decoded).map_err(corrupt)?;
            self.runs.push((from, log_index));
        }
        let values = &mut self.decoded.values;
        let sealed = head.sealed.iter().map(|s| (&s.chunk, s.min_index));
        for (chunk, log_index) in sealed.chain(head.open.iter().map(|(chunk, log_index)| (chunk, *log_index))) {
            self.runs.push((self.timestamps.len(), log_index));
            chunk.decode(&mut self.timestamps, values).map_err(corrupt)?;
        }
        if let Some(pending) = &head.out_of_order {
            self.runs.push((self.timestamps.len(), pending.min_index));
            for (t, bits) in &pending.samples {
                self.timestamps.push(*t);
                values.push(f64::from_bits(*bits));
            }
        }
        if !self.timestamps.is_sorted_by(|a, b| a < b) {
            self.untangle();
        }
        self.cut(range);
        Ok(())
    }

    /// Sorts by time and keeps the first written of equal times.
    fn untangle(&mut self) {
        self.points.clear();
        let values = &mut self.decoded.values;
        let ends = self.runs.iter().skip(1).map(|(from, _)| *from).chain([self.timestamps.len()]);
        for ((from, log_index), to) in self.runs.iter().zip(ends) {
            let samples = self.timestamps[*from..to].iter().zip(&values[*from..to]);
            self.points.extend(samples.map(|(t, v)| (*t, *log_index, v.to_bits())));
        }
        self.points.sort_unstable_by_key(|(t, log_index, _)| (*t, *log_index));
        self.points.dedup_by_key(|(t, ..)| *t);
        self.timestamps.clear();
        values.clear();
        self.timestamps.extend(self.points.iter().map(|(t, ..)| *t));
        values.extend(self.points.iter().map(|(.., bits)| f64::from_bits(*bits)));
    }

    fn cut(&mut self, range: TimeRange) {
        let from = self.timestamps.partition_point(|t| *t <= range.after_ms);
        let to = self.timestamps.partition_point(|t| *t <= range.to_ms).max(from);
        let values = &mut self.decoded.values;
        self.timestamps.truncate(to);
        values.truncate(to);
        self.timestamps.drain(..from);
        values.drain(..from);
    }
}
