//! One series from all its chunks, of the head and of parts.

use super::{Gathered, ReadError, SelectedSeries, TimeRange};
use crate::chunk::{self, Samples};
use crate::runs::Runs;
use crate::state::Deleted;
use model::Labels;
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

    /// Joins the chunks of one series, without what is deleted of it.
    pub(super) fn series(&mut self, stored: &StoredChunks, head: &Gathered, deleted: &Deleted, range: TimeRange) -> Result<(), ReadError> {
        let (sid, runs) = (head.sid, &mut self.runs);
        runs.clear();
        let corrupt = |source| ReadError::Chunk { sid, source };
        for (log_index, bytes) in stored.of(sid) {
            runs.add(log_index, deleted, |samples| chunk::decode_samples(bytes, samples)).map_err(corrupt)?;
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
