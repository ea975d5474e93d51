//! One series from all its chunks: one point a timestamp, the lowest log index wins.

use super::{Gathered, ReadError, TimeRange};
use crate::chunk;
use crate::store::StoredChunk;
use model::Timestamp;

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

    pub(super) fn series(&mut self, sid: u32, stored: &[StoredChunk], head: &Gathered, range: TimeRange) -> Result<(), ReadError> {
        self.timestamps.clear();
        self.values.clear();
        self.runs.clear();
        let corrupt = |source| ReadError::Chunk { sid, source };
        for piece in stored {
            self.runs.push((self.timestamps.len(), piece.log_index));
            chunk::decode(&piece.bytes, &mut self.timestamps, &mut self.values).map_err(corrupt)?;
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
