//! The meta group's state machine: commands in, state out, checkpoints into the same store that shards use.

use super::command::{MetaCommand, MetaResponse, decode, encode};
use super::state::MetaState;
use super::view::MetaView;
use bytes::Bytes;
use model::LogPoint;
use parking_lot::Mutex;
use raft::{AppliedEntry, Durable, SnapshotSink, SnapshotSource, Staged, StateMachine, StateMachineError};
use std::sync::Arc;
use tsdb::ShardStore;

const PAGE_BYTES: usize = 256 << 10;

/// The meta group's replica on this node.
#[derive(Debug)]
pub struct MetaMachine {
    store: ShardStore,
    applied: Mutex<Applied>,
    view: MetaView,
}

#[derive(Clone, Debug, Default)]
struct Applied {
    state: MetaState,
    point: Option<LogPoint>,
    membership: Bytes,
    /// Entries since the checkpoint.
    pending: u64,
}

impl MetaMachine {
    /// Opens the replica on what its last checkpoint holds and shows that state.
    ///
    /// # Errors
    /// The checkpoint cannot be read.
    pub fn open(store: ShardStore, view: MetaView) -> Result<Arc<Self>, StateMachineError> {
        let machine = Self { store, applied: Mutex::default(), view };
        machine.reload()?;
        Ok(Arc::new(machine))
    }

    fn reload(&self) -> Result<(), StateMachineError> {
        let mut applied = Applied::default();
        if let Some(info) = self.store.checkpoint_info() {
            let mut bytes = Vec::new();
            for page in self.store.read_checkpoint_pages() {
                bytes.extend_from_slice(&page.map_err(StateMachineError::new)?);
            }
            applied.state = decode(&bytes).map_err(StateMachineError::new)?;
            applied.point = Some(info.point);
            applied.membership = info.extra.clone();
        }
        self.view.publish(Arc::new(applied.state.clone()));
        *self.applied.lock() = applied;
        Ok(())
    }

    /// Whether a checkpoint is worth its sync.
    #[must_use]
    pub fn wants_checkpoint(&self, entries: u64) -> bool {
        self.applied.lock().pending >= entries
    }

    /// Writes the applied state; durable when this returns. Blocks.
    ///
    /// # Errors
    /// The store refused.
    pub fn checkpoint(&self) -> Result<Option<LogPoint>, StateMachineError> {
        let (bytes, point, membership) = {
            let mut applied = self.applied.lock();
            let Some(point) = applied.point else { return Ok(None) };
            applied.pending = 0;
            (encode(&applied.state), point, applied.membership.clone())
        };
        let mut writer = self.store.begin_checkpoint().map_err(StateMachineError::new)?;
        for page in bytes.chunks(PAGE_BYTES) {
            writer.page(page).map_err(StateMachineError::new)?;
        }
        writer.commit(point, &membership).map_err(StateMachineError::new)?;
        Ok(Some(point))
    }
}

impl StateMachine for MetaMachine {
    fn durable(&self) -> Option<Durable> {
        self.store.checkpoint_info().map(|info| Durable { point: info.point, membership: info.extra.clone() })
    }

    fn apply(&self, batch: Vec<AppliedEntry>) -> Result<Vec<Bytes>, StateMachineError> {
        let mut applied = self.applied.lock();
        let before = applied.state.revision;
        let mut responses = Vec::with_capacity(batch.len());
        for entry in batch {
            let response = if let Some(membership) = entry.membership {
                applied.membership = membership;
                MetaResponse::None
            } else if entry.payload.is_empty() {
                MetaResponse::None
            } else {
                let command: MetaCommand = decode(&entry.payload).map_err(StateMachineError::new)?;
                applied.state.apply(command)
            };
            applied.point = Some(entry.point);
            applied.pending += 1;
            responses.push(encode(&response));
        }
        if applied.state.revision != before {
            self.view.publish(Arc::new(applied.state.clone()));
        }
        Ok(responses)
    }

    fn snapshot(&self) -> Result<Option<Box<dyn SnapshotSource>>, StateMachineError> {
        crate::shard::machine::export(&self.store)
    }

    fn stage(&self, meta: Durable) -> Result<Box<dyn SnapshotSink>, StateMachineError> {
        // The store hands itself over to the staged data; the state is read anew once that is in force.
        crate::shard::machine::stage(&self.store, &meta, StagedMeta { store: self.store.clone(), view: self.view.clone() })
    }
}

/// What must be read anew after a snapshot of the meta group is in force.
#[derive(Debug)]
struct StagedMeta {
    store: ShardStore,
    view: MetaView,
}

impl Staged for StagedMeta {
    fn install(self: Box<Self>) -> Result<(), StateMachineError> {
        MetaMachine::open(self.store, self.view).map(|_| ())
    }
}
