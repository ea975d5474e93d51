//! One series from many chunks: one point a timestamp, the lowest log index wins.

use crate::chunk::Samples;
use crate::record::{Record, Value};
use crate::state::Deleted;
use model::{Sample, Timestamp};
use std::ops::Range;

/// Samples of one series, chunk after chunk; its buffers are reused from series to series.
#[derive(Clone, Debug, Default)]
pub(crate) struct Runs {
    /// After [`Runs::finish`] the columns hold all floats, and the records are the histograms.
    pub(crate) samples: Samples,
    /// `starts[i]` belongs to `samples.ts[i]`; empty if no start is known.
    pub(crate) starts: Vec<Timestamp>,
    /// (first float, first record, log index) of each run of samples.
    runs: Vec<(usize, usize, u64)>,
    /// (timestamp, log index, bits), for series of floats whose runs overlap.
    points: Vec<(Timestamp, u64, u64)>,
    /// Whether a float that was added may not follow the one before it.
    is_tangled: bool,
}

impl Runs {
    /// Begins another series.
    pub(crate) fn clear(&mut self) {
        self.samples.clear();
        self.starts.clear();
        self.runs.clear();
        self.is_tangled = false;
    }

    /// Begins another series whose first floats have the first `count` times that are there, which grow; their values are to be added
    /// by [`Runs::add_values`].
    pub(crate) fn clear_values(&mut self, count: usize) {
        self.samples.ts.truncate(count);
        self.samples.values.clear();
        self.samples.records.clear();
        self.starts.clear();
        self.runs.clear();
        self.is_tangled = false;
    }

    /// As [`Runs::add`], of floats of which nothing is deleted and whose times are known to grow.
    pub(crate) fn add_page<E>(&mut self, log_index: u64, decode: impl FnOnce(&mut Samples) -> Result<(), E>) -> Result<(), E> {
        let (floats, records) = (self.samples.ts.len(), self.samples.records.len());
        self.runs.push((floats, records, log_index));
        decode(&mut self.samples)?;
        let before = floats.checked_sub(1).and_then(|last| self.samples.ts.get(last));
        self.is_tangled |= before.zip(self.samples.ts.get(floats)).is_some_and(|(before, first)| before >= first);
        Ok(())
    }

    /// Appends the values that `decode` adds to the times that are there.
    pub(crate) fn add_values<T, E>(&mut self, log_index: u64, decode: impl FnOnce(&mut Vec<f64>) -> Result<T, E>) -> Result<T, E> {
        self.runs.push((self.samples.values.len(), self.samples.records.len(), log_index));
        decode(&mut self.samples.values)
    }

    /// Floats and histograms.
    pub(crate) fn len(&self) -> usize {
        self.samples.ts.len() + self.samples.records.len()
    }

    /// Appends the samples that `decode` adds, without what is deleted of them; gives the latest deleted one.
    pub(crate) fn add<E>(
        &mut self,
        log_index: u64,
        deleted: &Deleted,
        decode: impl FnOnce(&mut Samples) -> Result<(), E>,
    ) -> Result<Option<Timestamp>, E> {
        let (floats, records) = (self.samples.ts.len(), self.samples.records.len());
        self.runs.push((floats, records, log_index));
        decode(&mut self.samples)?;
        let added = &self.samples.ts[floats.saturating_sub(1)..];
        // Nearly all are in order: looking at all of them takes no branches.
        self.is_tangled |= !added.iter().zip(added.iter().skip(1)).fold(true, |grow, (a, b)| grow & (a < b));
        if deleted.is_empty() {
            return Ok(None);
        }
        let Samples { ts, values, records: all } = &mut self.samples;
        let latest = deleted.cut(log_index, floats, ts, values);
        Ok(latest.max(deleted.cut_records(log_index, records, all)))
    }

    /// Brings all samples into order, one a timestamp.
    pub(crate) fn finish(&mut self) {
        if !self.samples.records.is_empty() {
            self.untangle_records();
            return;
        }
        if self.is_tangled {
            self.untangle();
        }
    }

    /// Whether the floats still are as they were added.
    pub(crate) fn is_as_added(&self) -> bool {
        !self.is_tangled && self.is_plain()
    }

    /// (floats, records, log index) of each run.
    fn bounded(&self) -> impl Iterator<Item = (Range<usize>, Range<usize>, u64)> + '_ {
        let all = (self.samples.ts.len(), self.samples.records.len(), 0);
        let ends = self.runs.iter().skip(1).copied().chain([all]);
        self.runs.iter().zip(ends).map(|(from, to)| (from.0..to.0, from.1..to.1, from.2))
    }

    /// Sorts by time and keeps the first written of equal times.
    fn untangle(&mut self) {
        let mut points = std::mem::take(&mut self.points);
        points.clear();
        for (floats, _, log_index) in self.bounded() {
            let samples = self.samples.ts[floats.clone()].iter().zip(&self.samples.values[floats]);
            points.extend(samples.map(|(t, v)| (*t, log_index, v.to_bits())));
        }
        points.sort_unstable_by_key(|(t, log_index, _)| (*t, *log_index));
        points.dedup_by_key(|(t, ..)| *t);
        self.samples.clear();
        self.samples.ts.extend(points.iter().map(|(t, ..)| *t));
        self.samples.values.extend(points.iter().map(|(.., bits)| f64::from_bits(*bits)));
        self.points = points;
    }

    /// As [`Runs::untangle`], of a series that has more than plain floats.
    fn untangle_records(&mut self) {
        let mut all: Vec<(u64, Record)> = Vec::with_capacity(self.len());
        for (floats, records, log_index) in self.bounded() {
            let samples = self.samples.ts[floats.clone()].iter().zip(&self.samples.values[floats]);
            all.extend(samples.map(|(t, v)| (log_index, Record::float(Sample { timestamp_ms: *t, value: *v }))));
            all.extend(self.samples.records[records].iter().map(|record| (log_index, record.clone())));
        }
        all.sort_by_key(|(log_index, record)| (record.timestamp_ms, *log_index));
        all.dedup_by_key(|(_, record)| record.timestamp_ms);
        self.samples.clear();
        let has_starts = all.iter().any(|(_, record)| record.start_ms != 0 && matches!(record.value, Value::Float(_)));
        for (_, record) in all {
            match record.value {
                Value::Float(value) => {
                    self.samples.ts.push(record.timestamp_ms);
                    self.samples.values.push(value);
                    self.starts.extend(has_starts.then_some(record.start_ms));
                }
                Value::Histogram(_) => self.samples.records.push(record),
            }
        }
    }

    /// Whether there are floats without a start alone.
    pub(crate) fn is_plain(&self) -> bool {
        self.starts.is_empty() && self.samples.records.is_empty()
    }

    /// All samples as records, in order.
    pub(crate) fn records(&self) -> Vec<Record> {
        let mut records = self.samples.records.clone();
        let floats = self.samples.ts.iter().zip(&self.samples.values).enumerate();
        records.extend(floats.map(|(i, (t, v))| {
            let start_ms = self.starts.get(i).copied().unwrap_or(0);
            Record { timestamp_ms: *t, start_ms, value: Value::Float(*v) }
        }));
        records.sort_by_key(|record| record.timestamp_ms);
        records
    }
}
