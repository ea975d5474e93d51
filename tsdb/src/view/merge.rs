//! One series from all its chunks, of the head and of parts.

use super::{Gathered, ReadError, TimeRange};
use crate::chunk;
use crate::runs::Runs;
use crate::state::Deleted;
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
    runs: Runs,
}

impl Merger {
    pub(super) fn timestamps(&self) -> &[Timestamp] {
        &self.runs.timestamps
    }

    pub(super) fn values(&self) -> &[f64] {
        &self.runs.values
    }

    /// Joins the chunks of one series, without what is deleted of it.
    pub(super) fn series(&mut self, stored: &StoredChunks, head: &Gathered, deleted: &Deleted, range: TimeRange) -> Result<(), ReadError> {
        let (sid, runs) = (head.sid, &mut self.runs);
        runs.clear();
        let corrupt = |source| ReadError::Chunk { sid, source };
        for (log_index, bytes) in stored.of(sid) {
            runs.add(log_index, deleted, |ts, values| chunk::decode(bytes, ts, values)).map_err(corrupt)?;
        }
        let sealed = head.sealed.iter().map(|s| (&s.chunk, s.min_index));
        for (chunk, log_index) in sealed.chain(head.open.iter().map(|(chunk, log_index)| (chunk, *log_index))) {
            runs.add(log_index, deleted, |ts, values| chunk.decode(ts, values)).map_err(corrupt)?;
        }
        if let Some(pending) = &head.out_of_order {
            runs.add(pending.min_index, deleted, |ts, values| {
                ts.extend(pending.samples.iter().map(|(t, _)| *t));
                values.extend(pending.samples.iter().map(|(_, bits)| f64::from_bits(*bits)));
                Ok::<_, ReadError>(())
            })?;
        }
        runs.finish();
        self.cut(range);
        Ok(())
    }

    fn cut(&mut self, range: TimeRange) {
        let Runs { timestamps, values, .. } = &mut self.runs;
        let from = timestamps.partition_point(|t| *t <= range.after_ms);
        let to = timestamps.partition_point(|t| *t <= range.to_ms).max(from);
        timestamps.truncate(to);
        values.truncate(to);
        timestamps.drain(..from);
        values.drain(..from);
    }
}
