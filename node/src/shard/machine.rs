//! A shard's storage as the state machine of its Raft group, and how checkpoints of any store travel between replicas.

use bytes::Bytes;
use raft::{AppliedEntry, Durable, SNAPSHOT_BLOCK_BYTES_MAX, SnapshotSink, SnapshotSource, Staged, StateMachine, StateMachineError};
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
    let point = export.view().point()?;
    let durable = Durable { point, membership: Bytes::copy_from_slice(export.view().extra()) };
    Some(Box::new(Source { export, durable, meta_sent: false, rest: None }))
}

/// Begins to take in a checkpoint beside what `store` holds; `reload` is told the new store once it is in force.
pub fn stage(
    store: ShardStore,
    meta: Durable,
    reload: impl FnOnce(ShardStore) -> Result<(), StateMachineError> + Send + 'static,
) -> Box<dyn SnapshotSink> {
    Box::new(Sink { store, meta, staging: None, pieces: Vec::new(), reload: Box::new(reload) })
}

type Reload = Box<dyn FnOnce(ShardStore) -> Result<(), StateMachineError> + Send>;

/// What is wrong with a checkpoint that another replica sends.
#[derive(Debug, thiserror::Error)]
enum SnapshotError {
    #[error("the checkpoint is at {found:?} but was announced at {announced}")]
    OtherPoint { announced: model::LogPoint, found: Option<model::LogPoint> },
    #[error("the checkpoint ended within a block")]
    Incomplete,
    #[error("a piece of a block begins with no known mark")]
    Piece,
}

/// Begins a piece after which more of the same block follows.
const MORE: u8 = 0;
/// Begins the last piece of a block.
const LAST: u8 = 1;

/// Sends what the export lists first, then its blocks. A store's block may be larger than one of a transfer: it goes in pieces.
struct Source {
    export: ShardExport,
    durable: Durable,
    meta_sent: bool,
    /// What is left of the block that is being sent.
    rest: Option<Bytes>,
}

impl Source {
    fn next_whole(&mut self) -> Result<Option<Bytes>, StateMachineError> {
        if !self.meta_sent {
            self.meta_sent = true;
            return Ok(Some(self.export.meta().encode().into()));
        }
        Ok(self.export.next_block().map_err(StateMachineError::new)?.map(Bytes::from))
    }
}

impl SnapshotSource for Source {
    fn meta(&self) -> Durable {
        self.durable.clone()
    }

    fn next_block(&mut self) -> Result<Option<Bytes>, StateMachineError> {
        let block = match self.rest.take() {
            Some(rest) => Some(rest),
            None => self.next_whole()?,
        };
        let Some(mut block) = block else { return Ok(None) };
        let head = block.split_to(block.len().min(SNAPSHOT_BLOCK_BYTES_MAX - 1));
        let mut piece = Vec::with_capacity(head.len() + 1);
        piece.push(if block.is_empty() { LAST } else { MORE });
        piece.extend_from_slice(&head);
        self.rest = Some(block).filter(|rest| !rest.is_empty());
        Ok(Some(piece.into()))
    }
}

struct Sink {
    store: ShardStore,
    meta: Durable,
    staging: Option<Staging>,
    /// Pieces of a block that is not whole yet.
    pieces: Vec<u8>,
    reload: Reload,
}

impl Sink {
    fn write_whole(&mut self, block: &[u8]) -> Result<(), StateMachineError> {
        if let Some(staging) = &mut self.staging {
            return staging.write(block).map_err(StateMachineError::new);
        }
        let meta = ExportMeta::decode(block).map_err(StateMachineError::new)?;
        if meta.point() != Some(self.meta.point) {
            return Err(StateMachineError::new(SnapshotError::OtherPoint { announced: self.meta.point, found: meta.point() }));
        }
        self.staging = Some(self.store.stage(meta).map_err(StateMachineError::new)?);
        Ok(())
    }
}

impl SnapshotSink for Sink {
    fn write(&mut self, piece: Bytes) -> Result<(), StateMachineError> {
        let Some((kind @ (&MORE | &LAST), bytes)) = piece.split_first() else {
            return Err(StateMachineError::new(SnapshotError::Piece));
        };
        self.pieces.extend_from_slice(bytes);
        if *kind == MORE {
            return Ok(());
        }
        let block = std::mem::take(&mut self.pieces);
        self.write_whole(&block)
    }

    fn finish(self: Box<Self>) -> Result<Box<dyn Staged>, StateMachineError> {
        let staging = self.staging.filter(|_| self.pieces.is_empty()).ok_or_else(|| StateMachineError::new(SnapshotError::Incomplete))?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use model::seal::Seal;
    use model::{LogPoint, ReplicaId, ShardId, WorkspaceId};
    use std::sync::Mutex;
    use tsdb::db::{Db, DbOptions, ShardIdentity};
    use tsdb::error::StoreError;
    use tsdb::store::faults::FaultPlan;

    fn store(dir: &std::path::Path, replica: u64) -> ShardStore {
        let options =
            DbOptions { path: dir.join(replica.to_string()), memory_bytes: 8 << 20, seal: Seal::identity(), faults: FaultPlan::default() };
        let identity = ShardIdentity { shard: ShardId(3), replica: ReplicaId(replica), workspace: WorkspaceId::new("w") };
        Db::open(options).unwrap().create_shard(identity).unwrap()
    }

    fn pages(store: &ShardStore) -> Vec<u8> {
        let mut all = Vec::new();
        store
            .view()
            .pages(|page| {
                all.extend_from_slice(page);
                Ok::<(), StoreError>(())
            })
            .unwrap();
        all
    }

    #[test]
    fn checkpoint_travels_in_blocks_that_a_transfer_takes() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (store(dir.path(), 1), store(dir.path(), 2));
        let point = LogPoint { term: 2, leader: ReplicaId(1), index: 9 };
        let mut writer = from.begin_checkpoint().unwrap();
        // Bytes that do not compress, so that blocks come out larger than a transfer's.
        let mut word = 1u64;
        let mut noise = || {
            word = word.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (word >> 56) as u8
        };
        for _ in 0..9 {
            writer.page(&(0..250_000).map(|_| noise()).collect::<Vec<u8>>()).unwrap();
        }
        writer.commit(point, b"members").unwrap();

        let mut source = export(&from).unwrap();
        assert_eq!(source.meta(), Durable { point, membership: Bytes::from_static(b"members") });
        let reloaded = Arc::new(Mutex::new(None));
        let told = Arc::clone(&reloaded);
        let mut sink = stage(to, source.meta(), move |store| {
            *told.lock().unwrap() = Some(store);
            Ok(())
        });
        let mut is_split = false;
        while let Some(block) = source.next_block().unwrap() {
            assert!(block.len() <= SNAPSHOT_BLOCK_BYTES_MAX, "{} bytes", block.len());
            is_split |= block[0] == MORE;
            sink.write(block).unwrap();
        }
        assert!(is_split, "no block was larger than a piece");
        sink.finish().unwrap().install().unwrap();
        let installed = reloaded.lock().unwrap().take().unwrap();
        assert_eq!(installed.point(), Some(point));
        assert!(pages(&installed) == pages(&from));
    }

    #[test]
    fn a_checkpoint_cut_within_a_block_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let meta = Durable { point: LogPoint::default(), membership: Bytes::new() };
        let mut sink = stage(store(dir.path(), 1), meta.clone(), |_| Ok(()));
        sink.write(Bytes::from_static(&[MORE, 1, 2])).unwrap();
        assert!(sink.finish().is_err());
        let mut sink = stage(store(dir.path(), 2), meta, |_| Ok(()));
        assert!(sink.write(Bytes::from_static(&[7])).is_err());
    }
}
