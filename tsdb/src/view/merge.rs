//! One series from all its chunks: one point a timestamp, the lowest log index wins.

use super::{Gathered, ReadError, SelectedSeries, TimeRange};
use crate::chunk::{self, Samples};
use crate::record::{Record, Value};
use model::{Labels, Sample, Timestamp};
use std::ops::Range;

/// Chunks of a batch of series, copied from parts.
#[derive(Debug, Default)]
pub(super) struct StoredChunks {
    bytes: Vec<u8>,
    chunks: Vec<StoredChunk>,
}

#[derive(Debug)]
struct StoredChunk {
    sid: u32,
    log_index: u64,
    bytes: Range<usize>,
}

impl StoredChunks {
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.chunks.clear();
    }

    pub(super) fn push(&mut self, sid: u32, log_index: u64, chunk: &[u8]) {
        let from = self.bytes.len();
        self.bytes.extend_from_slice(chunk);
        self.chunks.push(StoredChunk { sid, log_index, bytes: from..self.bytes.len() });
    }

    /// Brings the chunks of one series together, in the order they were read.
    pub(super) fn sort(&mut self) {
        self.chunks.sort_by_key(|chunk| chunk.sid);
    }

    fn of(&self, sid: u32) -> impl Iterator<Item = (u64, &[u8])> {
        let from = self.chunks.partition_point(|chunk| chunk.sid < sid);
        let mine = self.chunks[from..].iter().take_while(move |chunk| chunk.sid == sid);
        mine.map(|chunk| (chunk.log_index, &self.bytes[chunk.bytes.clone()]))
    }
}

/// Joins the chunks of one series after another, reusing its buffers.
#[derive(Debug, Default)]
pub(super) struct Merger {
    samples: Samples,
    starts: Vec<Timestamp>,
    /// (first float, first record, log index) of each run of samples.
    runs: Vec<(usize, usize, u64)>,
    /// (timestamp, log index, bits), for series of floats whose runs overlap.
    points: Vec<(Timestamp, u64, u64)>,
}

impl Merger {
    /// The series joined last.
    pub(super) fn selected<'a>(&'a self, sid: u32, labels: &'a Labels) -> SelectedSeries<'a> {
        SelectedSeries {
            sid,
            labels,
            timestamps: &self.samples.ts,
            values: &self.samples.values,
            start_timestamps: &self.starts,
            histograms: &self.samples.records,
        }
    }

    pub(super) fn series(&mut self, sid: u32, stored: &StoredChunks, head: &Gathered, range: TimeRange) -> Result<(), ReadError> {
        self.samples.clear();
        self.starts.clear();
        self.runs.clear();
        let corrupt = |source| ReadError::Chunk { sid, source };
        for (log_index, bytes) in stored.of(sid) {
            self.begin_run(log_index);
            chunk::decode_samples(bytes, &mut self.samples).map_err(corrupt)?;
        }
        let sealed = head.sealed.iter().map(|s| (&s.chunk, s.min_index));
        for (chunk, log_index) in sealed.chain(head.open.iter().map(|(chunk, log_index)| (chunk, *log_index))) {
            self.begin_run(log_index);
            chunk.decode(&mut self.samples).map_err(corrupt)?;
        }
        if let Some(pending) = &head.out_of_order {
            self.begin_run(pending.min_index);
            for (t, bits) in &pending.samples {
                self.samples.ts.push(*t);
                self.samples.values.push(f64::from_bits(*bits));
            }
            self.samples.records.extend(pending.records.iter().cloned());
        }
        if !self.samples.records.is_empty() {
            self.untangle_records();
        } else if !self.samples.ts.is_sorted_by(|a, b| a < b) {
            self.untangle();
        }
        self.cut(range);
        Ok(())
    }

    fn begin_run(&mut self, log_index: u64) {
        self.runs.push((self.samples.ts.len(), self.samples.records.len(), log_index));
    }

    /// (first float, first record, log index) of each run with the ends of both.
    fn bounded_runs(&self) -> impl Iterator<Item = (Range<usize>, Range<usize>, u64)> + '_ {
        let all = (self.samples.ts.len(), self.samples.records.len(), 0);
        let ends = self.runs.iter().skip(1).copied().chain([all]);
        self.runs.iter().zip(ends).map(|(from, to)| (from.0..to.0, from.1..to.1, from.2))
    }

    /// Sorts by time and keeps the first written of equal times.
    fn untangle(&mut self) {
        let mut points = std::mem::take(&mut self.points);
        points.clear();
        for (floats, _, log_index) in self.bounded_runs() {
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

    /// As [`Merger::untangle`], of a series that has more than plain floats: afterwards all floats stand in the columns, with their
    /// starts, and the records are the histograms.
    fn untangle_records(&mut self) {
        let mut all: Vec<(u64, Record)> = Vec::with_capacity(self.samples.ts.len() + self.samples.records.len());
        for (floats, records, log_index) in self.bounded_runs() {
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

    fn cut(&mut self, range: TimeRange) {
        let Samples { ts, values, records } = &mut self.samples;
        let from = ts.partition_point(|t| *t <= range.after_ms);
        let to = ts.partition_point(|t| *t <= range.to_ms).max(from);
        values.truncate(to);
        values.drain(..from);
        self.starts.truncate(to);
        self.starts.drain(..from.min(self.starts.len()));
        ts.truncate(to);
        ts.drain(..from);
        records.retain(|record| record.timestamp_ms > range.after_ms && record.timestamp_ms <= range.to_ms);
    }
}
