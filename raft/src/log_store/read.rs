//! Reading a replica's log: the tail from memory, the rest from the engine on a thread that may block.

use super::replica::ReplicaLog;
use crate::blocking::blocking;
use crate::types::{Entry, TypeConfig, Vote};
use futures::{Stream, StreamExt, stream};
use model::planted::{self, Bug};
use openraft::{OptionalSend, RaftLogReader};
use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

/// Bytes of one read, unless one entry alone is larger.
const READ_BYTES_MAX: usize = 1 << 20;
/// Entries of one step of [`RaftLogReader::try_get_log_entries`], which must return everything asked for.
const STEP_ENTRIES_MAX: u64 = 256;

/// openraft's reading end.
#[derive(Clone, Debug)]
pub(crate) struct LogReader {
    log: Arc<ReplicaLog>,
}

impl LogReader {
    pub(super) fn new(log: Arc<ReplicaLog>) -> Self {
        Self { log }
    }

    /// Entries from `from` on, before `to`, at least one if there is one, at most [`READ_BYTES_MAX`] if there are more.
    async fn read(&self, from: u64, to: u64) -> io::Result<Vec<Entry>> {
        let end = {
            let state = self.log.state.lock();
            let end = to.min(state.last.map_or(0, |last| last.index + 1));
            if state.purged.is_some_and(|purged| from <= purged.index) || from >= end {
                return Ok(Vec::new());
            }
            if state.tail.get(from).is_some() {
                let mut bytes = 0;
                let entries = (from..end).map_while(|index| state.tail.get(index));
                let fits = entries.take_while(|entry| {
                    let first = bytes == 0;
                    bytes += payload_bytes(entry).max(1);
                    first || bytes <= READ_BYTES_MAX
                });
                return Ok(fits.cloned().collect());
            }
            state.tail.first().map_or(end, |first| end.min(first))
        };
        let log = Arc::clone(&self.log);
        let read = move || {
            let rows = log.engine.entries(log.codec.replica, from, end, READ_BYTES_MAX)?;
            let rows = rows.iter().skip(usize::from(planted::is(Bug::ReadOffByOne)));
            rows.map(|(index, value)| Ok(log.codec.decode_entry(*index, value)?)).collect()
        };
        blocking(read).await?
    }

    /// The first index of `range` that the log may hold, and its end.
    fn bounds(&self, range: &impl RangeBounds<u64>) -> (u64, u64) {
        let (start, end) = (start_of(range), end_of(range));
        (start.max(self.log.state.lock().first), end)
    }
}

fn start_of(range: &impl RangeBounds<u64>) -> u64 {
    match range.start_bound() {
        Bound::Included(start) => *start,
        Bound::Excluded(start) => start.saturating_add(1),
        Bound::Unbounded => 0,
    }
}

/// The first index behind the range.
fn end_of(range: &impl RangeBounds<u64>) -> u64 {
    match range.end_bound() {
        Bound::Included(end) => end.saturating_add(1),
        Bound::Excluded(end) => *end,
        Bound::Unbounded => u64::MAX,
    }
}

fn payload_bytes(entry: &Entry) -> usize {
    match &entry.payload {
        crate::types::Payload::Normal(blob) => blob.0.len(),
        crate::types::Payload::Blank | crate::types::Payload::Membership(_) => 0,
    }
}

impl RaftLogReader<TypeConfig> for LogReader {
    async fn try_get_log_entries<R: RangeBounds<u64> + Clone + Debug + OptionalSend>(&mut self, range: R) -> Result<Vec<Entry>, io::Error> {
        let (mut from, end) = self.bounds(&range);
        let mut entries = Vec::new();
        loop {
            let step = self.read(from, end.min(from.saturating_add(STEP_ENTRIES_MAX))).await?;
            let Some(last) = step.last() else { return Ok(entries) };
            from = last.log_id.index + 1;
            entries.extend(step);
        }
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, io::Error> {
        Ok(self.log.state.lock().vote)
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> Result<Vec<Entry>, io::Error> {
        self.read(start, end).await
    }

    async fn entries_stream<R>(&mut self, range: R) -> impl Stream<Item = Result<Entry, io::Error>> + OptionalSend
    where
        R: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let from = start_of(&range);
        let end = end_of(&range);
        let reader = self.clone();
        // This feeds apply: an entry missing from the middle must stop the group, not pass unseen.
        let chunks = stream::try_unfold(from, move |from| {
            let reader = reader.clone();
            async move {
                let last = reader.log.state.lock().last.map(|last| last.index);
                if from >= end || last.is_none_or(|last| from > last) {
                    return Ok(None);
                }
                let entries = reader.read(from, end).await?;
                let next = entries.last().map(|last| last.log_id.index + 1);
                let next = next.ok_or_else(|| io::Error::other(format!("entry {from} is not in the log")))?;
                Ok::<_, io::Error>(Some((entries, next)))
            }
        });
        chunks
            .map(|chunk| match chunk {
                Ok(entries) => stream::iter(entries.into_iter().map(Ok).collect::<Vec<_>>()),
                Err(error) => stream::iter(vec![Err(error)]),
            })
            .flatten()
    }
}
