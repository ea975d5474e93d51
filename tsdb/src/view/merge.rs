//! One series from all its pages and chunks, of the head and of parts.

use super::{Gathered, ReadError, SelectedSeries, TimeRange};
use crate::chunk::{PageCoder, Samples};
use crate::error::Corruption;
use crate::runs::Runs;
use crate::state::Deleted;
use crate::store::StoredPage;
use hashbrown::HashTable;
use model::{Labels, Timestamp};
use std::ops::Range;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Decoded times that are kept for the series to come; what is beyond is decoded for each series again.
const SHARED_TIMES_MAX: usize = 1 << 20;

/// Pages of a batch of series, copied from parts; times that series share are there once.
#[derive(Debug, Default)]
pub(super) struct StoredPages {
    bytes: Vec<u8>,
    pages: Vec<Page>,
    columns: Vec<Column>,
    /// Numbers of the columns by what they hold: groups of one target's metrics have the same ones.
    by_content: HashTable<u32>,
    /// Columns of the group that is being read, by their numbers there.
    of_group: Vec<Option<u32>>,
    /// Number of that group.
    group: Option<u32>,
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
    hash: u64,
    bytes: Range<usize>,
    /// Where it is in `times`, once it was decoded.
    decoded: Option<Range<usize>>,
}

impl StoredPages {
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.pages.clear();
        self.columns.clear();
        self.by_content.clear();
        self.of_group.clear();
        self.times.clear();
        self.group = None;
    }

    pub(super) fn push(&mut self, page: &StoredPage<'_>) {
        if self.group != Some(page.group) {
            self.group = Some(page.group);
            self.of_group.clear();
        }
        if self.of_group.len() <= page.column {
            self.of_group.resize(page.column + 1, None);
        }
        let column = match self.of_group[page.column] {
            Some(known) => known,
            None => {
                let number = self.column(page);
                self.of_group[page.column] = Some(number);
                number
            }
        };
        let values = self.copy(page.values);
        self.pages.push(Page { sid: page.sid.0, log_index: page.log_index, column, values });
    }

    /// The number of a column of times, which another group may have brought already.
    fn column(&mut self, page: &StoredPage<'_>) -> u32 {
        let hash = xxh3_64_with_seed(page.times, page.count as u64);
        let (columns, all) = (&self.columns, &self.bytes);
        let is_same = |number: &u32| {
            let column = &columns[*number as usize];
            column.count == page.count && all[column.bytes.clone()] == *page.times
        };
        if let Some(number) = self.by_content.find(hash, is_same) {
            return *number;
        }
        let number = self.columns.len() as u32;
        let bytes = self.copy(page.times);
        self.columns.push(Column { count: page.count, hash, bytes, decoded: None });
        let columns = &self.columns;
        self.by_content.insert_unique(hash, number, |number| columns[*number as usize].hash);
        number
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

    /// Appends the values of a page; does nothing and says no if they are no plain floats.
    fn decode_values(&mut self, page: usize, out: &mut Vec<f64>) -> Result<bool, Corruption> {
        let Page { column, values: ref coded, .. } = self.pages[page];
        self.coder.decode_plain(&self.bytes[coded.clone()], self.columns[column as usize].count, out)
    }
}

/// Joins the pages and chunks of one series after another, reusing its buffers, and times that a series has in common with the one
/// before it.
#[derive(Debug, Default)]
pub(super) struct Merger {
    runs: Runs,
    /// Columns of times whose samples `runs` begins with, as they were added; empty if it was brought into another order since.
    columns: Vec<u32>,
    /// What of the floats is in the range.
    window: Range<usize>,
}

impl Merger {
    /// The series joined last.
    pub(super) fn selected<'a>(&'a self, sid: u32, labels: &'a Labels) -> SelectedSeries<'a> {
        let Runs { samples, starts, .. } = &self.runs;
        SelectedSeries {
            sid,
            labels,
            timestamps: &samples.ts[self.window.clone()],
            values: &samples.values[self.window.clone()],
            start_timestamps: if starts.is_empty() { starts } else { &starts[self.window.clone()] },
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
        let (sid, pages) = (head.sid, stored.of(head.sid));
        if let Some(newest) = head.newest {
            self.clear();
            self.runs.samples.ts.push(newest.timestamp_ms);
            self.runs.samples.values.push(newest.value);
            self.window = 0..1;
            return Ok(());
        }
        let corrupt = |source| ReadError::Chunk { sid, source };
        if !deleted.is_empty() || !self.add_values(stored, pages.clone()).map_err(corrupt)? {
            self.clear();
            self.add_pages(stored, pages, deleted).map_err(corrupt)?;
        }
        let runs = &mut self.runs;
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
        if !runs.is_as_added() {
            self.columns.clear();
        }
        runs.finish();
        let Samples { ts, records, .. } = &mut runs.samples;
        let from = ts.partition_point(|t| *t <= range.after_ms);
        self.window = from..ts.partition_point(|t| *t <= range.to_ms).max(from);
        records.retain(|record| record.timestamp_ms > range.after_ms && record.timestamp_ms <= range.to_ms);
        Ok(())
    }

    /// Begins with other pages, whose columns are counted anew.
    pub(super) fn begin_batch(&mut self) {
        self.clear();
    }

    fn clear(&mut self) {
        self.runs.clear();
        self.columns.clear();
    }

    /// Adds the pages of a series whose times are those of the series before it, which stay; says no if they are others, or if values are
    /// no plain floats: then anything may have been added.
    fn add_values(&mut self, stored: &mut StoredPages, pages: Range<usize>) -> Result<bool, Corruption> {
        let same = pages.clone().zip(&self.columns).all(|(page, column)| stored.pages[page].column == *column);
        if pages.is_empty() || pages.len() != self.columns.len() || !same {
            return Ok(false);
        }
        let count = pages.clone().map(|page| stored.columns[stored.pages[page].column as usize].count).sum();
        self.runs.clear_values(count);
        for page in pages {
            let log_index = stored.pages[page].log_index;
            if !self.runs.add_values(log_index, |values| stored.decode_values(page, values))? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn add_pages(&mut self, stored: &mut StoredPages, pages: Range<usize>, deleted: &Deleted) -> Result<(), Corruption> {
        for page in pages {
            let Page { log_index, column, .. } = stored.pages[page];
            if deleted.is_empty() {
                self.runs.add_page(log_index, |samples| stored.decode(page, samples))?;
                self.columns.push(column);
            } else {
                self.runs.add(log_index, deleted, |samples| stored.decode(page, samples))?;
            }
        }
        Ok(())
    }
}
