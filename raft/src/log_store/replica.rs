//! The log of one replica: what openraft writes through.

use super::codec::Codec;
use super::engine::{LogEngine, LogOp};
use super::keys::StateTag;
use super::read::LogReader;
use super::tail::{Tail, TailBudget};
use super::write::LogWriter;
use crate::types::{Entry, LogId, Payload, TypeConfig, Vote};
use model::limits;
use model::planted::{self, Bug};
use openraft::storage::{IOFlushed, RaftLogStorage};
use openraft::{LogState, OptionalSend};
use parking_lot::Mutex;
use std::sync::Arc;
use std::{fmt, io};

/// Answers up to which index the state machine's synced checkpoint reaches; a purge beyond it is refused.
pub(crate) type PurgeGuard = Arc<dyn Fn() -> Option<u64> + Send + Sync>;

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) vote: Option<Vote>,
    pub(super) committed: Option<LogId>,
    committed_unsaved: bool,
    pub(super) purged: Option<LogId>,
    pub(super) last: Option<LogId>,
    /// Index of the first entry; a log normally begins at 0 or behind its purged point, but nothing forbids another start.
    pub(super) first: u64,
    pub(super) tail: Tail,
    /// Entries before this index are in the engine.
    written: u64,
    /// Changes with every truncation: a completion of an older append says nothing about the entries that came since.
    epoch: u64,
    /// Totals since the log was opened, for the average size of an entry.
    appended_bytes: u64,
    appended_count: u64,
}

/// The log of one replica, shared by its writer and its readers.
pub(crate) struct ReplicaLog {
    pub(super) codec: Codec,
    pub(super) engine: Arc<dyn LogEngine>,
    writer: Arc<LogWriter>,
    budget: Arc<TailBudget>,
    pub(super) state: Mutex<State>,
}

impl fmt::Debug for ReplicaLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplicaLog").field("shard", &self.codec.shard).field("replica", &self.codec.replica).finish_non_exhaustive()
    }
}

impl ReplicaLog {
    /// Opens the log of a replica; an unknown replica's is empty.
    pub(super) fn open(codec: Codec, engine: Arc<dyn LogEngine>, writer: Arc<LogWriter>, budget: Arc<TailBudget>) -> io::Result<Arc<Self>> {
        let replica = codec.replica;
        let read = |tag| engine.state(replica, tag);
        let mut vote = read(StateTag::Vote)?.map(|value| codec.decode_vote(&value)).transpose()?.flatten();
        if planted::is(Bug::VoteForgotten) {
            vote = None;
        }
        let log_id = |tag| io::Result::Ok(read(tag)?.map(|value| codec.decode_log_id(tag, &value)).transpose()?.flatten());
        let (purged, committed) = (log_id(StateTag::Purged)?, log_id(StateTag::Committed)?);
        let mut last = purged;
        if let Some(index) = engine.last_index(replica)?
            && let Some((_, value)) = engine.entries(replica, index, index + 1, 0)?.first()
        {
            last = last.max(Some(codec.decode_entry(index, value)?.log_id));
        }
        let written = last.map_or(0, |last| last.index + 1);
        let first = purged.map_or(0, |purged| purged.index + 1);
        let state = State { vote, committed, purged, last, first, written, ..State::default() };
        let log = Arc::new(Self { codec, engine, writer, budget: Arc::clone(&budget), state: Mutex::new(state) });
        budget.join(&log);
        Ok(log)
    }

    /// Seals what is not an entry under this boot's key, so that the key of an older boot goes with its last entry.
    fn renew_state(&self) -> io::Result<()> {
        if !self.codec.seal.encrypts() {
            return Ok(());
        }
        let state = self.state.lock();
        let mut ops = Vec::new();
        if let Some(vote) = &state.vote {
            ops.push(self.put_state(StateTag::Vote, self.codec.encode_vote(vote)?));
        }
        for (tag, id) in [(StateTag::Purged, state.purged), (StateTag::Committed, state.committed)] {
            if id.is_some() {
                ops.push(self.put_state(tag, self.codec.encode_log_id(tag, id)?));
            }
        }
        if ops.is_empty() { Ok(()) } else { self.writer.enqueue(self.codec.replica, ops) }
    }

    pub(super) fn shrink(&self) {
        let mut state = self.state.lock();
        let written = state.written;
        state.tail.shrink(self.budget.share(), written);
    }

    /// Takes note that the append of `epoch` that ended before `next` is in the engine.
    fn appended(&self, epoch: u64, next: u64) {
        let mut state = self.state.lock();
        if state.epoch == epoch {
            state.written = state.written.max(next);
        }
        let written = state.written;
        state.tail.shrink(self.budget.share(), written);
    }

    fn put_state(&self, tag: StateTag, value: bytes::Bytes) -> LogOp {
        LogOp::PutState { replica: self.codec.replica, tag, value }
    }

    /// Average bytes of the entries appended since the log was opened.
    pub(crate) fn entry_bytes_mean(&self) -> u64 {
        let state = self.state.lock();
        state.appended_bytes.checked_div(state.appended_count).unwrap_or(0).max(1)
    }

    /// Bytes of the entries that are not purged, roughly.
    pub(crate) fn kept_bytes(&self) -> u64 {
        let mean = self.entry_bytes_mean();
        let state = self.state.lock();
        let index = |id: &Option<LogId>| id.as_ref().map_or(0, |id| id.index);
        index(&state.last).saturating_sub(index(&state.purged)).saturating_mul(mean)
    }

    /// The last purged entry.
    pub(crate) fn purged(&self) -> Option<LogId> {
        self.state.lock().purged
    }

    /// True when nothing was ever written for this replica.
    pub(crate) fn is_pristine(&self) -> bool {
        let state = self.state.lock();
        state.vote.is_none() && state.last.is_none()
    }
}

/// openraft's writing end.
#[derive(Clone)]
pub(crate) struct LogStore {
    pub(crate) log: Arc<ReplicaLog>,
    guard: Option<PurgeGuard>,
}

impl fmt::Debug for LogStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.log.fmt(f)
    }
}

impl LogStore {
    pub(crate) fn open(
        (shard, replica): (model::ShardId, model::ReplicaId),
        engine: Arc<dyn LogEngine>,
        writer: Arc<LogWriter>,
        budget: Arc<TailBudget>,
        (guard, seal): (Option<PurgeGuard>, model::seal::Seal),
    ) -> io::Result<Self> {
        let log = ReplicaLog::open(Codec { seal, shard, replica }, engine, writer, budget)?;
        log.renew_state()?;
        Ok(Self { log, guard })
    }

    /// Puts new entries into memory, where they can be read at once, and returns their stored form.
    fn stage(&self, entries: impl Iterator<Item = Entry>) -> io::Result<(Vec<LogOp>, u64, u64)> {
        let codec = &self.log.codec;
        let mut ops = Vec::new();
        let mut staged = Vec::new();
        let mut bytes = 0;
        for entry in entries {
            if let Payload::Normal(blob) = &entry.payload
                && blob.0.len() > limits::ENTRY_BYTES_MAX
            {
                return Err(io::Error::other(format!("entry {} of {} bytes is too large", entry.log_id, blob.0.len())));
            }
            let value = codec.encode_entry(&entry)?;
            bytes += value.len() as u64;
            ops.push(LogOp::PutEntry { replica: codec.replica, index: entry.log_id.index, value });
            staged.push(entry);
        }
        let mut state = self.log.state.lock();
        state.appended_bytes += bytes;
        state.appended_count += staged.len() as u64;
        if state.last == state.purged
            && let Some(first) = staged.first()
        {
            state.first = first.log_id.index;
        }
        for entry in staged {
            state.last = Some(entry.log_id);
            state.tail.push(entry);
        }
        if std::mem::take(&mut state.committed_unsaved) {
            ops.push(self.log.put_state(StateTag::Committed, codec.encode_log_id(StateTag::Committed, state.committed)?));
        }
        Ok((ops, state.epoch, state.last.map_or(0, |last| last.index + 1)))
    }
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = LogReader;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>, io::Error> {
        let state = self.log.state.lock();
        Ok(LogState { last_purged_log_id: state.purged, last_log_id: state.last })
    }

    async fn get_log_reader(&mut self) -> LogReader {
        LogReader::new(Arc::clone(&self.log))
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        let op = self.log.put_state(StateTag::Vote, self.log.codec.encode_vote(vote)?);
        if planted::is(Bug::VoteNotSynced) {
            self.log.writer.enqueue(self.log.codec.replica, vec![op])?;
        } else if !planted::is(Bug::VoteNotStored) {
            self.log.writer.write_durably(self.log.codec.replica, vec![op]).await?;
        }
        self.log.state.lock().vote = Some(*vote);
        Ok(())
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), io::Error> {
        let mut state = self.log.state.lock();
        state.committed = committed;
        state.committed_unsaved = true;
        Ok(())
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, io::Error> {
        let state = self.log.state.lock();
        // The two ride on different batches: a committed point past the end says nothing about entries that are not here.
        if planted::is(Bug::CommittedTooFar) {
            return Ok(state.last);
        }
        Ok(state.committed.min(state.last))
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<TypeConfig>) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let (ops, epoch, next) = self.stage(entries.into_iter())?;
        let log = Arc::clone(&self.log);
        let done = Box::new(move |result: io::Result<()>| {
            if result.is_ok() {
                log.appended(epoch, next);
            }
            callback.io_completed(result);
        });
        self.log.writer.append(self.log.codec.replica, ops, done).await
    }

    async fn truncate_after(&mut self, last_log_id: Option<LogId>) -> Result<(), io::Error> {
        let index = last_log_id.map(|id| id.index);
        let next = index.map_or(0, |index| index + 1);
        {
            let mut state = self.log.state.lock();
            if state.last.is_none_or(|last| last.index < next) {
                return Ok(());
            }
            if !planted::is(Bug::TailNotTruncated) {
                state.tail.truncate_after(index);
            }
            state.last = last_log_id.max(state.purged);
            state.written = state.written.min(next);
            state.epoch += 1;
        }
        let replica = self.log.codec.replica;
        if planted::is(Bug::TruncateNotWritten) {
            return Ok(());
        }
        let next = next + u64::from(planted::is(Bug::TruncateOffByOne));
        self.log.writer.enqueue(replica, vec![LogOp::Truncate { replica, index: next }])
    }

    async fn purge(&mut self, log_id: LogId) -> Result<(), io::Error> {
        if let Some(guard) = &self.guard {
            let durable = guard();
            if durable.is_none_or(|durable| durable < log_id.index) {
                return Err(io::Error::other(format!("purge to {log_id} refused: the synced checkpoint is at {durable:?}")));
            }
        }
        {
            let mut state = self.log.state.lock();
            state.purged = state.purged.max(Some(log_id));
            state.last = state.last.max(Some(log_id));
            state.first = state.first.max(log_id.index + 1);
            state.tail.purge(log_id.index);
            state.written = state.written.max(log_id.index + 1);
        }
        let codec = &self.log.codec;
        let index = log_id.index + u64::from(planted::is(Bug::PurgeTooFar));
        let purged = self.log.put_state(StateTag::Purged, codec.encode_log_id(StateTag::Purged, Some(log_id))?);
        self.log.writer.enqueue(codec.replica, vec![LogOp::Purge { replica: codec.replica, index }, purged])
    }
}
