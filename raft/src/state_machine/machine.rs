//! Between openraft's asynchronous state machine and ours.

use super::{AppliedEntry, ApplyPool, Durable, SnapshotSource, Staged, StateMachine};
use crate::blocking::blocking;
use crate::error::StateMachineError;
use crate::transport::convert;
use crate::types::{Blob, LogId, Payload, SnapshotMeta, StoredMembership, TypeConfig, log_id_of, point_of};
use bytes::Bytes;
use futures::{Stream, StreamExt};
use model::clock::Clock;
use model::planted::{self, Bug};
use openraft::storage::{ApplyResponder, EntryResponder, RaftSnapshotBuilder, RaftStateMachine};
use openraft::{OptionalSend, Snapshot};
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// How long one slice of apply may hold a thread, roughly.
const SLICE: Duration = Duration::from_millis(2);
const SLICE_ENTRIES_MAX: usize = 1024;
const SLICE_BYTES_MAX: usize = 1 << 20;

/// Index of the last applied entry, for those who wait.
pub(crate) type Applied = watch::Sender<Option<u64>>;

/// A snapshot on its way through openraft.
pub(crate) enum SnapshotData {
    /// Only what it covers: an answer to "how far is the checkpoint".
    Meta,
    /// Our own checkpoint, to be sent.
    Local(Box<dyn SnapshotSource>),
    /// Another replica's, complete, to be put in force.
    Received(Box<dyn Staged>),
}

impl fmt::Debug for SnapshotData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Meta => "Meta",
            Self::Local(_) => "Local",
            Self::Received(_) => "Received",
        })
    }
}

/// openraft's state machine: feeds ours in slices.
pub(crate) struct Machine {
    inner: Arc<dyn StateMachine>,
    pool: ApplyPool,
    clock: Arc<dyn Clock>,
    applied: Arc<Applied>,
    last: Option<LogId>,
    membership: StoredMembership,
    slice_entries: usize,
}

impl Machine {
    /// Starts from the durable state.
    pub(crate) fn new(inner: Arc<dyn StateMachine>, pool: ApplyPool, clock: Arc<dyn Clock>, applied: Arc<Applied>) -> io::Result<Self> {
        let (last, membership) = match inner.durable() {
            Some(durable) => {
                let membership = convert::stored_membership_from_bytes(&durable.membership)?;
                let forgets = planted::is(Bug::CheckpointForgetsMembership);
                (Some(log_id_of(durable.point)), if forgets { StoredMembership::default() } else { membership })
            }
            None => (None, StoredMembership::default()),
        };
        applied.send_replace(last.map(|last| last.index));
        Ok(Self { inner, pool, clock, applied, last, membership, slice_entries: 16 })
    }

    async fn apply_slice(&mut self, slice: Vec<(AppliedEntry, Option<ApplyResponder<TypeConfig>>)>) -> io::Result<()> {
        let (entries, responders): (Vec<_>, Vec<_>) = slice.into_iter().unzip();
        let Some(last) = entries.last().map(|entry| log_id_of(entry.point)) else { return Ok(()) };
        let (inner, clock) = (Arc::clone(&self.inner), Arc::clone(&self.clock));
        let work = move || {
            let began = clock.monotonic();
            (apply(&*inner, entries), clock.monotonic().saturating_sub(began))
        };
        let (answers, took) = self.pool.run(work).await?;
        let answers = answers?;
        if answers.len() != responders.len() {
            return Err(io::Error::other(format!("apply answered {} of {} entries", answers.len(), responders.len())));
        }
        self.slice_entries = next_slice(self.slice_entries, took);
        self.last = Some(last);
        for (responder, answer) in responders.into_iter().zip(answers) {
            if let Some(responder) = responder {
                responder.send(Blob(answer));
            }
        }
        self.applied.send_replace(Some(last.index));
        Ok(())
    }

    fn take_in(&mut self, entry: crate::types::Entry) -> AppliedEntry {
        let point = point_of(entry.log_id);
        match entry.payload {
            Payload::Blank => AppliedEntry { point, membership: None, payload: Bytes::new() },
            Payload::Normal(blob) => AppliedEntry { point, membership: None, payload: blob.0 },
            Payload::Membership(members) => {
                self.membership = StoredMembership::new(Some(entry.log_id), members);
                AppliedEntry { point, membership: Some(convert::stored_membership_to_bytes(&self.membership)), payload: Bytes::new() }
            }
        }
    }
}

fn apply(inner: &dyn StateMachine, mut entries: Vec<AppliedEntry>) -> Result<Vec<Bytes>, StateMachineError> {
    let count = entries.len();
    let is_large = count >= 3;
    if planted::is(Bug::ApplyTwice) && is_large {
        entries.extend(entries.first().cloned());
    }
    if planted::is(Bug::ApplySkips) && is_large {
        entries.pop();
    }
    let mut answers = inner.apply(entries)?;
    if (planted::is(Bug::ApplyTwice) || planted::is(Bug::ApplySkips)) && is_large {
        answers.resize(count, Bytes::new());
    }
    Ok(answers)
}

fn next_slice(entries: usize, took: Duration) -> usize {
    if took > SLICE {
        (entries / 2).max(1)
    } else if took < SLICE / 2 {
        (entries * 2).min(SLICE_ENTRIES_MAX)
    } else {
        entries
    }
}

fn meta_of(durable: &Durable) -> io::Result<SnapshotMeta> {
    let last_membership = convert::stored_membership_from_bytes(&durable.membership)?;
    Ok(SnapshotMeta { last_log_id: Some(log_id_of(durable.point)), last_membership })
}

/// Stages a checkpoint of this process.
fn copy(inner: &dyn StateMachine, mut source: Box<dyn SnapshotSource>) -> Result<Box<dyn Staged>, StateMachineError> {
    let mut sink = inner.stage(source.meta())?;
    while let Some(block) = source.next_block()? {
        sink.write(block)?;
    }
    sink.finish()
}

impl RaftStateMachine<TypeConfig> for Machine {
    type SnapshotData = SnapshotData;
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), io::Error> {
        Ok((self.last, self.membership.clone()))
    }

    async fn apply<S>(&mut self, mut entries: S) -> Result<(), io::Error>
    where
        S: Stream<Item = Result<EntryResponder<TypeConfig>, io::Error>> + Unpin + OptionalSend,
    {
        let mut slice = Vec::new();
        let mut bytes = 0;
        while let Some(next) = entries.next().await {
            let (entry, responder) = next?;
            let entry = self.take_in(entry);
            bytes += entry.payload.len();
            slice.push((entry, responder));
            if slice.len() >= self.slice_entries || bytes >= SLICE_BYTES_MAX {
                bytes = 0;
                self.apply_slice(std::mem::take(&mut slice)).await?;
            }
        }
        self.apply_slice(slice).await
    }

    async fn try_create_snapshot_builder(&mut self, force: bool) -> Option<Builder> {
        let builder = Builder { inner: Arc::clone(&self.inner) };
        (force || builder.inner.durable().is_some()).then_some(builder)
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        Builder { inner: Arc::clone(&self.inner) }
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, snapshot: SnapshotData) -> Result<(), io::Error> {
        let inner = Arc::clone(&self.inner);
        let install = move || match snapshot {
            SnapshotData::Received(staged) => staged.install(),
            SnapshotData::Local(source) => copy(&*inner, source)?.install(),
            SnapshotData::Meta => Err(StateMachineError::new("this snapshot holds no data")),
        };
        blocking(install).await??;
        self.last = meta.last_log_id;
        self.membership = meta.last_membership.clone();
        self.applied.send_replace(self.last.map(|last| last.index));
        Ok(())
    }

    async fn get_current_snapshot(
        &mut self,
    ) -> Result<Option<Snapshot<crate::types::CommittedLeader, u64, crate::types::Node, SnapshotData>>, io::Error> {
        let inner = Arc::clone(&self.inner);
        let source = blocking(move || inner.snapshot()).await??;
        let Some(source) = source else { return Ok(None) };
        let mut meta = meta_of(&source.meta())?;
        if planted::is(Bug::SnapshotTooNew)
            && let Some(last) = &mut meta.last_log_id
        {
            last.index += 1;
        }
        Ok(Some(Snapshot { meta, snapshot: SnapshotData::Local(source) }))
    }
}

/// Answers openraft's wish for a snapshot with the checkpoint that is there already.
pub(crate) struct Builder {
    inner: Arc<dyn StateMachine>,
}

impl RaftSnapshotBuilder<TypeConfig> for Builder {
    type SnapshotData = SnapshotData;

    async fn build_snapshot(
        &mut self,
    ) -> Result<Snapshot<crate::types::CommittedLeader, u64, crate::types::Node, SnapshotData>, io::Error> {
        let meta = self.inner.durable().as_ref().map(meta_of).transpose()?.unwrap_or_default();
        Ok(Snapshot { meta, snapshot: SnapshotData::Meta })
    }
}
