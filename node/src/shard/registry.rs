//! The replicas that are open on this node.

use super::runner::WriteQueue;
use model::{ReplicaId, ShardId, WorkspaceId};
use parking_lot::RwLock;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio_util::sync::CancellationToken;
use tsdb::shard::Shard;

/// One open replica.
#[derive(Debug)]
pub struct LocalShard {
    /// The shard.
    pub id: ShardId,
    /// This replica of it.
    pub replica: ReplicaId,
    /// Whose it is.
    pub workspace: WorkspaceId,
    /// Its storage.
    pub shard: Arc<Shard>,
    /// Its Raft group.
    pub group: raft::Group,
    /// Where parts wait to be proposed.
    pub queue: WriteQueue,
    /// Ends the replica's tasks.
    pub closed: CancellationToken,
    recovered: AtomicBool,
}

impl LocalShard {
    /// Puts together a replica whose storage and group are open.
    #[must_use]
    pub fn new(id: ShardId, replica: ReplicaId, workspace: WorkspaceId, shard: Arc<Shard>, group: raft::Group, queue: WriteQueue) -> Self {
        Self { id, replica, workspace, shard, group, queue, closed: CancellationToken::new(), recovered: AtomicBool::new(false) }
    }

    /// Whether it votes and has applied what was committed when the node started.
    #[must_use]
    pub fn is_recovered(&self) -> bool {
        self.recovered.load(Ordering::Acquire)
    }

    /// Notes that it has.
    pub fn set_recovered(&self) {
        self.recovered.store(true, Ordering::Release);
    }
}

/// All open replicas; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct ShardRegistry {
    shards: Arc<RwLock<BTreeMap<ShardId, Arc<LocalShard>>>>,
}

impl ShardRegistry {
    /// The replica of `shard` on this node.
    #[must_use]
    pub fn get(&self, shard: ShardId) -> Option<Arc<LocalShard>> {
        self.shards.read().get(&shard).cloned()
    }

    /// The replica of `shard` on this node, if it has caught up and counts.
    #[must_use]
    pub fn serving(&self, shard: ShardId) -> Option<Arc<LocalShard>> {
        self.get(shard).filter(|local| local.is_recovered())
    }

    /// All replicas, by shard.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<LocalShard>> {
        self.shards.read().values().cloned().collect()
    }

    /// Adds a replica that is now open.
    pub fn insert(&self, local: Arc<LocalShard>) {
        self.shards.write().insert(local.id, local);
    }

    /// Takes out a replica that is about to close.
    pub fn remove(&self, shard: ShardId) -> Option<Arc<LocalShard>> {
        self.shards.write().remove(&shard)
    }
}
