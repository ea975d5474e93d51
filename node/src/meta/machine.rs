//! The meta group's state machine: commands in, state out, checkpoints into the same store that shards use.

use super::command::{MetaCommand, MetaResponse, decode, encode};
use super::state::MetaState;
use super::view::MetaView;
use crate::shard::machine::{export, stage};
use bytes::Bytes;
use model::LogPoint;
use parking_lot::Mutex;
use raft::{AppliedEntry, Durable, SnapshotSink, SnapshotSource, StateMachine, StateMachineError};
use std::sync::Arc;
use tsdb::error::StoreError;
use tsdb::store::ShardStore;

const PAGE_BYTES: usize = 256 << 10;

/// The meta group's replica on this node.
#[derive(Debug)]
pub struct MetaMachine(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    store: Mutex<ShardStore>,
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
        let inner = Inner { store: Mutex::new(store.clone()), applied: Mutex::default(), view };
        inner.take_over(store)?;
        Ok(Arc::new(Self(Arc::new(inner))))
    }

    /// Whether a checkpoint is worth its sync.
    #[must_use]
    pub fn wants_checkpoint(&self, entries: u64) -> bool {
        self.0.applied.lock().pending >= entries
    }

    /// Writes the applied state; durable when this returns. Blocks.
    ///
    /// # Errors
    /// The store refused.
    pub fn checkpoint(&self) -> Result<Option<LogPoint>, StateMachineError> {
        let (bytes, point, membership) = {
            let mut applied = self.0.applied.lock();
            let Some(point) = applied.point else { return Ok(None) };
            applied.pending = 0;
            (encode(&applied.state), point, applied.membership.clone())
        };
        let store = self.0.store.lock().clone();
        let mut writer = store.begin_checkpoint().map_err(StateMachineError::new)?;
        for page in bytes.chunks(PAGE_BYTES) {
            writer.page(page).map_err(StateMachineError::new)?;
        }
        writer.commit(point, &membership).map_err(StateMachineError::new)?;
        Ok(Some(point))
    }
}

impl Inner {
    /// Reads what `store` holds and shows it.
    fn take_over(&self, store: ShardStore) -> Result<(), StateMachineError> {
        let mut applied = Applied::default();
        let stored = store.view();
        if let Some(point) = stored.point() {
            let mut bytes = Vec::new();
            stored
                .pages(|page| {
                    bytes.extend_from_slice(page);
                    Ok::<(), StoreError>(())
                })
                .map_err(StateMachineError::new)?;
            applied.state = decode(&bytes).map_err(StateMachineError::new)?;
            applied.point = Some(point);
            applied.membership = Bytes::copy_from_slice(stored.extra());
        }
        self.view.publish(Arc::new(applied.state.clone()));
        *self.applied.lock() = applied;
        *self.store.lock() = store;
        Ok(())
    }
}

impl StateMachine for MetaMachine {
    fn durable(&self) -> Option<Durable> {
        let stored = self.0.store.lock().view();
        stored.point().map(|point| Durable { point, membership: Bytes::copy_from_slice(stored.extra()) })
    }

    fn apply(&self, batch: Vec<AppliedEntry>) -> Result<Vec<Bytes>, StateMachineError> {
        let mut applied = self.0.applied.lock();
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
            self.0.view.publish(Arc::new(applied.state.clone()));
        }
        Ok(responses)
    }

    fn snapshot(&self) -> Result<Option<Box<dyn SnapshotSource>>, StateMachineError> {
        Ok(export(&self.0.store.lock()))
    }

    fn stage(&self, meta: Durable) -> Result<Box<dyn SnapshotSink>, StateMachineError> {
        let inner = Arc::clone(&self.0);
        let store = inner.store.lock().clone();
        Ok(stage(store, meta, move |store| inner.take_over(store)))
    }
}
