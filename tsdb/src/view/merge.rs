//! One series from all its chunks: one point a timestamp, the lowest log index wins.

use super::{Gathered, ReadError, TimeRange};
use crate::chunk;
use model::Timestamp;
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
    timestamps: Vec<Timestamp>,
    values: Vec<f64>,
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
        &self.values
    }

    pub(super) fn series(&mut self, sid: u32, stored: &StoredChunks, head: &Gathered, range: TimeRange) -> Result<(), ReadError> {
        self.timestamps.clear();
        self.values.clear();
        self.runs.clear();
        let corrupt = |source| ReadError::Chunk { sid, source };
        for (log_index, bytes) in stored.of(sid) {
            self.runs.push((self.timestamps.len(), log_index));
            chunk::decode(bytes, &mut self.timestamps, &mut self.values).map_err(corrupt)?;
        }
        let sealed = head.sealed.iter().map(|s| (&s.chunk, s.min_index));
        for (chunk, log_index) in sealed.chain(head.open.iter().map(|(chunk, log_index)| (chunk, *log_index))) {
            self.runs.push((self.timestamps.len(), log_index));
            chunk.decode(&mut self.timestamps, &mut self.values).map_err(corrupt)?;
        }
        if let Some(pending) = &head.out_of_order {
            self.runs.push((self.timestamps.len(), pending.min_index));
            for (t, bits) in &pending.samples {
                self.timestamps.push(*t);
                self.values.push(f64::from_bits(*bits));
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
        let ends = self.runs.iter().skip(1).map(|(from, _)| *from).chain([self.timestamps.len()]);
        for ((from, log_index), to) in self.runs.iter().zip(ends) {
            let samples = self.timestamps[*from..to].iter().zip(&self.values[*from..to]);
            self.points.extend(samples.map(|(t, v)| (*t, *log_index, v.to_bits())));
        }
        self.points.sort_unstable_by_key(|(t, log_index, _)| (*t, *log_index));
        self.points.dedup_by_key(|(t, ..)| *t);
        self.timestamps.clear();
        self.values.clear();
        self.timestamps.extend(self.points.iter().map(|(t, ..)| *t));
        self.values.extend(self.points.iter().map(|(.., bits)| f64::from_bits(*bits)));
    }

    fn cut(&mut self, range: TimeRange) {
        let from = self.timestamps.partition_point(|t| *t <= range.after_ms);
        let to = self.timestamps.partition_point(|t| *t <= range.to_ms).max(from);
        self.timestamps.truncate(to);
        self.values.truncate(to);
        self.timestamps.drain(..from);
        self.values.drain(..from);
    }
}
