//! A shard's storage as the state machine of its Raft group.

use bytes::Bytes;
use raft::{AppliedEntry, Durable, SnapshotSink, SnapshotSource, Staged, StateMachine, StateMachineError};
use std::sync::Arc;
use tsdb::{Shard, ShardExport, ShardStaging, StagedShard};

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
        let export = self.shard.export().map_err(StateMachineError::new)?;
        Ok(export.map(|export| Box::new(Export(export)) as Box<dyn SnapshotSource>))
    }

    fn stage(&self, meta: Durable) -> Result<Box<dyn SnapshotSink>, StateMachineError> {
        let staging = self.shard.stage(meta.point, meta.membership).map_err(StateMachineError::new)?;
        Ok(Box::new(Sink { staging, shard: Arc::clone(&self.shard) }))
    }
}

struct Export(ShardExport);

impl SnapshotSource for Export {
    fn meta(&self) -> Durable {
        let (point, membership) = self.0.point();
        Durable { point, membership }
    }

    fn next_block(&mut self) -> Result<Option<Bytes>, StateMachineError> {
        self.0.next_block().map_err(StateMachineError::new)
    }
}

struct Sink {
    staging: ShardStaging,
    shard: Arc<Shard>,
}

impl SnapshotSink for Sink {
    fn write(&mut self, block: Bytes) -> Result<(), StateMachineError> {
        self.staging.write(&block).map_err(StateMachineError::new)
    }

    fn finish(self: Box<Self>) -> Result<Box<dyn Staged>, StateMachineError> {
        let staged = self.staging.finish().map_err(StateMachineError::new)?;
        Ok(Box::new(Complete { staged, shard: self.shard }))
    }
}

struct Complete {
    staged: StagedShard,
    shard: Arc<Shard>,
}

impl Staged for Complete {
    fn install(self: Box<Self>) -> Result<(), StateMachineError> {
        self.staged.install().map_err(StateMachineError::new)?;
        self.shard.reload().map_err(StateMachineError::new)
    }
}
