//! A shard's storage as the state machine of its Raft group, and how checkpoints of any store travel between replicas.

use bytes::Bytes;
use raft::{AppliedEntry, Durable, SnapshotSink, SnapshotSource, Staged, StateMachine, StateMachineError};
use std::sync::Arc;
use tsdb::shard::Shard;
use tsdb::store::ShardStore;
use tsdb::store::snapshot::{ExportMeta, ShardExport, Staged as StagedStore, Staging};

/// Feeds committed entries into a [`Shard`].
#[derive(Debug)]
pub struct ShardMachine {
    shard: Arc<Shard>,
}

impl ShardMachine {
    /// Binds a shard that has been opened.
    #[must_use]
    pub fn new(shard: Arc<Shard>) -> Self {
        Self { shard }
    }
}

impl StateMachine for ShardMachine {
    fn durable(&self) -> Option<Durable> {
        self.shard.durable().map(|(point, membership)| Durable { point, membership })
    }

    fn apply(&self, batch: Vec<AppliedEntry>) -> Result<Vec<Bytes>, StateMachineError> {
        let mut responses = Vec::with_capacity(batch.len());
        for entry in batch {
            let response = match entry.membership {
                Some(membership) => self.shard.set_extra(entry.point, membership).map(|()| Bytes::new()),
                None if entry.payload.is_empty() => self.shard.apply_blank(entry.point).map(|()| Bytes::new()),
                None => self.shard.apply(entry.point, &entry.payload),
            };
            responses.push(response.map_err(StateMachineError::new)?);
        }
        Ok(responses)
    }

    fn snapshot(&self) -> Result<Option<Box<dyn SnapshotSource>>, StateMachineError> {
        Ok(export(&self.shard.store()))
    }

    fn stage(&self, meta: Durable) -> Result<Box<dyn SnapshotSink>, StateMachineError> {
        let shard = Arc::clone(&self.shard);
        Ok(stage(self.shard.store(), meta, move |store| shard.reload(store).map_err(StateMachineError::new)))
    }
}

/// Opens the newest checkpoint of `store` for sending; none before the first.
#[must_use]
pub fn export(store: &ShardStore) -> Option<Box<dyn SnapshotSource>> {
    let export = store.export();
    let point = export.meta().point()?;
    let durable = Durable { point, membership: Bytes::copy_from_slice(export.meta().extra()) };
    Some(Box::new(Source { export, durable, meta_sent: false }))
}

/// Begins to take in a checkpoint beside what `store` holds; `reload` is told the new store once it is in force.
pub fn stage(
    store: ShardStore,
    meta: Durable,
    reload: impl FnOnce(ShardStore) -> Result<(), StateMachineError> + Send + 'static,
) -> Box<dyn SnapshotSink> {
    Box::new(Sink { store, meta, staging: None, reload: Box::new(reload) })
}

type Reload = Box<dyn FnOnce(ShardStore) -> Result<(), StateMachineError> + Send>;

/// What is wrong with a checkpoint that another replica sends.
#[derive(Debug, thiserror::Error)]
enum SnapshotError {
    #[error("the checkpoint is at {found:?} but was announced at {announced}")]
    OtherPoint { announced: model::LogPoint, found: Option<model::LogPoint> },
    #[error("the checkpoint ended before its first block")]
    Empty,
}

/// Sends what the export lists first, then its blocks.
struct Source {
    export: ShardExport,
    durable: Durable,
    meta_sent: bool,
}

impl SnapshotSource for Source {
    fn meta(&self) -> Durable {
        self.durable.clone()
    }

    fn next_block(&mut self) -> Result<Option<Bytes>, StateMachineError> {
        if !self.meta_sent {
            self.meta_sent = true;
            return Ok(Some(self.export.meta().encode().into()));
        }
        Ok(self.export.next_block().map_err(StateMachineError::new)?.map(Bytes::from))
    }
}

struct Sink {
    store: ShardStore,
    meta: Durable,
    staging: Option<Staging>,
    reload: Reload,
}

impl SnapshotSink for Sink {
    fn write(&mut self, block: Bytes) -> Result<(), StateMachineError> {
        if let Some(staging) = &mut self.staging {
            return staging.write(&block).map_err(StateMachineError::new);
        }
        let meta = ExportMeta::decode(&block).map_err(StateMachineError::new)?;
        if meta.point() != Some(self.meta.point) {
            return Err(StateMachineError::new(SnapshotError::OtherPoint { announced: self.meta.point, found: meta.point() }));
        }
        self.staging = Some(self.store.stage(meta).map_err(StateMachineError::new)?);
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Box<dyn Staged>, StateMachineError> {
        let staging = self.staging.ok_or_else(|| StateMachineError::new(SnapshotError::Empty))?;
        let staged = staging.finish().map_err(StateMachineError::new)?;
        Ok(Box::new(Complete { staged, reload: self.reload }))
    }
}

struct Complete {
    staged: StagedStore,
    reload: Reload,
}

impl Staged for Complete {
    fn install(self: Box<Self>) -> Result<(), StateMachineError> {
        let store = self.staged.install().map_err(StateMachineError::new)?;
        (self.reload)(store)
    }
}
