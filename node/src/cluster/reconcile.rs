//! Carries out placement on this node: opens the replicas that the meta group puts here, closes and destroys those it no longer does.

use crate::app::LOG_PER_GROUP_MAX;
use crate::meta::MetaState;
use crate::meta::state::{ReplicaRole, ShardRecord};
use crate::node::Node;
use crate::shard::LocalShard;
use crate::shard::machine::ShardMachine;
use crate::shard::runner::{Runner, WriteQueue};
use crate::task;
use model::{ReplicaId, ShardId, StoreId, WorkspaceId};
use raft::GroupSpec;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tsdb::config::ShardConfig;
use tsdb::db::ShardIdentity;
use tsdb::error::StoreError;
use tsdb::shard::Shard;

const RETRY: Duration = Duration::from_secs(2);
/// How long a replica may take to learn what was committed before it is waited for again.
const RECOVERY: Duration = Duration::from_secs(30);

/// Why a replica could not be opened or closed.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    /// The shard's storage.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Its Raft group.
    #[error(transparent)]
    Group(#[from] raft::GroupError),
    /// The first membership.
    #[error(transparent)]
    Membership(#[from] raft::MembershipError),
    /// The log.
    #[error(transparent)]
    Log(#[from] std::io::Error),
    /// The work was aborted.
    #[error(transparent)]
    Aborted(#[from] tokio::task::JoinError),
}

/// Follows the meta state until dropped.
pub async fn run(node: Arc<Node>) {
    let mut changes = node.meta.watch();
    loop {
        let meta = changes.newest();
        let done = reconcile(&node, &meta).await;
        tokio::select! {
            changed = changes.changed() => {
                if !changed {
                    return;
                }
            }
            () = tokio::time::sleep(RETRY), if !done => {}
        }
    }
}

/// Brings this node to what `meta` says; answers whether everything is so.
async fn reconcile(node: &Arc<Node>, meta: &MetaState) -> bool {
    if meta.cluster_id.is_none() {
        return true;
    }
    let mut done = true;
    for record in meta.shards.values() {
        let Some(replica) = meta.replica_on(ShardId(record.shard), node.store_id()) else { continue };
        // A lost replica waits to be replaced: trying again changes nothing.
        if node.groups.lost().iter().any(|lost| lost.replica.0 == replica.replica) {
            continue;
        }
        // Without the key a replica goes on applying; it is looked for again as long as it is missing.
        let wrapped = meta.workspaces.get(&record.workspace).and_then(|workspace| workspace.wrapped_key.as_deref());
        done &= node.keys.take_workspace(&WorkspaceId::new(&record.workspace), wrapped);
        if node.shards.get(ShardId(record.shard)).is_none()
            && let Err(e) = open(node, record, ReplicaId(replica.replica)).await
        {
            tracing::error!(shard = record.shard, error = %e, "replica not opened");
            done = false;
        }
    }
    for local in node.shards.all() {
        if meta.replica_on(local.id, node.store_id()).is_none_or(|r| r.replica != local.replica.0)
            && let Err(e) = destroy(node, &local).await
        {
            tracing::error!(shard = %local.id, error = %e, "replica not destroyed");
            done = false;
        }
    }
    done
}

async fn open(node: &Arc<Node>, record: &ShardRecord, replica: ReplicaId) -> Result<(), ReconcileError> {
    let id = ShardId(record.shard);
    let workspace = WorkspaceId::new(&record.workspace);
    let identity = ShardIdentity { shard: id, replica, workspace: workspace.clone() };
    let db = node.db.clone();
    let config = shard_config(node);
    let known = db.shards().iter().any(|s| s.shard == id && s.replica == replica);
    let shard = task::blocking(move || -> Result<Arc<Shard>, StoreError> {
        let store = if known { db.open_shard(id, replica)? } else { db.create_shard(identity)? };
        Shard::open(store, config)
    })
    .await??;
    let machine = Arc::new(ShardMachine::new(Arc::clone(&shard)));
    let spec = GroupSpec { shard: id, replica, workspace: workspace.clone(), is_new: !known };
    let group = node.groups.create(spec, machine).await?;
    if !group.is_initialized() && record.conf_ver == 1 {
        let founded = group.initialize(voters(record)).await;
        // Another founder may have asked for a vote in between: then the group is founded, and its log brings the rest.
        if founded.is_err() && !group.is_initialized() {
            node.groups.close(id).await?;
            founded?;
        }
    }
    let local = Arc::new(LocalShard::new(id, replica, workspace, shard, group, WriteQueue::default()));
    let runner = Runner::new(Arc::clone(&local), Arc::clone(&node.time), node.meta.clone(), Arc::clone(&node.disk_full))
        .without_new_series_while(Arc::clone(&node.heads_full));
    let closed = local.closed.clone();
    node.tasks.spawn("shard runner", async move {
        tokio::select! {
            () = runner.run() => {}
            () = closed.cancelled() => {}
        }
    });
    node.tasks.spawn("shard recovery", recover(Arc::clone(&local)));
    tracing::info!(shard = %id, %replica, workspace = record.workspace, "replica open");
    node.shards.insert(local);
    Ok(())
}

async fn recover(local: Arc<LocalShard>) {
    while local.group.wait_recovered(Instant::now() + RECOVERY).await.is_err() {
        if local.closed.is_cancelled() {
            return;
        }
    }
    local.set_recovered();
}

fn voters(record: &ShardRecord) -> BTreeMap<ReplicaId, StoreId> {
    record.replicas.iter().filter(|r| r.role == ReplicaRole::Voter).map(|r| (ReplicaId(r.replica), StoreId(r.store))).collect()
}

async fn destroy(node: &Node, local: &LocalShard) -> Result<(), ReconcileError> {
    node.shards.remove(local.id);
    local.closed.cancel();
    node.groups.close(local.id).await?;
    node.groups.destroy(local.replica).await?;
    let (db, id, replica) = (node.db.clone(), local.id, local.replica);
    task::blocking(move || db.destroy_shard(id, replica)).await??;
    if !node.shards.all().iter().any(|other| other.workspace == local.workspace) {
        node.keys.forget_workspace(&local.workspace);
    }
    tracing::info!(shard = %local.id, replica = %local.replica, "replica destroyed");
    Ok(())
}

/// A shard's share of the node's storage budget.
fn shard_config(node: &Node) -> ShardConfig {
    ShardConfig { head_bytes_max: node.shares.heads, log_bytes_max: LOG_PER_GROUP_MAX, ..ShardConfig::default() }
}
