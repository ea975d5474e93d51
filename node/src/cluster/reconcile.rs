//! Carries out placement on this node: opens the replicas that the meta group puts here, closes and destroys those it no longer does.

use crate::app::LOG_PER_GROUP_MAX;
use crate::cluster::operator;
use crate::meta::machine::MetaMachine;
use crate::meta::state::{ReplicaRole, ShardRecord};
use crate::meta::{MetaCommand, MetaResponse, MetaState};
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
    /// The meta group's state.
    #[error(transparent)]
    Meta(#[from] raft::StateMachineError),
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
    let mut confirmed = None;
    loop {
        let meta = changes.newest();
        let done = reconcile(&node, &meta, &mut confirmed).await;
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
async fn reconcile(node: &Arc<Node>, meta: &MetaState, confirmed: &mut Option<u64>) -> bool {
    if meta.cluster_id.is_none() {
        return true;
    }
    let mut done = remove_strays(node, meta, confirmed).await;
    for record in meta.records() {
        let Some(replica) = meta.replica_on(ShardId(record.shard), node.store_id()) else { continue };
        // A lost replica waits to be replaced: trying again changes nothing.
        if replica.is_lost || node.groups.lost().iter().any(|lost| lost.replica.0 == replica.replica) {
            continue;
        }
        if record.shard == ShardId::META.0 {
            if node.groups.group(ShardId::META).is_none()
                && let Err(e) = open_meta(node, ReplicaId(replica.replica)).await
            {
                tracing::error!(error = %e, "replica of the meta group not opened");
                done = false;
            }
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
    done
}

/// Destroys what `meta` does not put here; answers whether nothing of it is left. It waits for a state that is no older than one that was
/// confirmed since the start: a replica that is behind may show a state from before its own replicas were made.
async fn remove_strays(node: &Node, meta: &MetaState, confirmed: &mut Option<u64>) -> bool {
    let strays = strays(node, meta);
    if strays.is_empty() {
        return true;
    }
    if confirmed.is_none() {
        *confirmed = confirm(node).await;
    }
    if confirmed.is_none_or(|revision| meta.revision < revision) {
        return false;
    }
    let mut done = true;
    for identity in strays {
        if let Err(e) = destroy(node, &identity).await {
            tracing::error!(shard = %identity.shard, replica = %identity.replica, error = %e, "replica not destroyed");
            done = false;
        }
    }
    done
}

/// Replicas on this disk that `meta` does not put here.
fn strays(node: &Node, meta: &MetaState) -> Vec<ShardIdentity> {
    let is_listed = |identity: &ShardIdentity| {
        let replicas = meta.record(identity.shard).map_or(&[][..], |record| &record.replicas);
        replicas.iter().any(|r| r.replica == identity.replica.0 && r.store == node.store_id().0)
    };
    node.db.shards().into_iter().filter(|identity| !is_listed(identity)).collect()
}

/// The revision that everything decided before the call has led to, if the meta group answers.
async fn confirm(node: &Node) -> Option<u64> {
    match operator::propose(node, MetaCommand::Confirm).await {
        Ok(MetaResponse::Revision { revision }) => Some(revision),
        Ok(_) => None,
        Err(error) => {
            tracing::debug!(%error, "state of the meta group not confirmed");
            None
        }
    }
}

/// Opens this node's replica of the meta group.
///
/// # Errors
/// See [`ReconcileError`].
pub async fn open_meta(node: &Arc<Node>, replica: ReplicaId) -> Result<raft::Group, ReconcileError> {
    let known = node.db.shards().iter().any(|s| s.shard == ShardId::META && s.replica == replica);
    let workspace = WorkspaceId::new("");
    let store = if known {
        node.db.open_shard(ShardId::META, replica)?
    } else {
        node.db.create_shard(ShardIdentity { shard: ShardId::META, replica, workspace: workspace.clone() })?
    };
    let machine = MetaMachine::open(store, node.meta.clone())?;
    let spec = GroupSpec { shard: ShardId::META, replica, workspace, is_new: !known };
    let group = node.groups.create(spec, Arc::clone(&machine) as Arc<dyn raft::StateMachine>).await?;
    *node.meta_machine.lock() = Some(machine);
    tracing::info!(%replica, "replica of the meta group open");
    Ok(group)
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

/// A replica that joins counts once it votes.
async fn recover(local: Arc<LocalShard>) {
    while let Err(error) = local.group.wait_recovered(Instant::now() + RECOVERY).await {
        // A group that has stopped fails at once, and for ever.
        if error == raft::WaitError::Stopped || local.closed.is_cancelled() {
            return;
        }
    }
    let mut status = local.group.watch();
    tokio::select! {
        voting = status.wait_for(|status| status.voters.contains_key(&local.replica)) => {
            if voting.is_ok() {
                local.set_recovered();
            }
        }
        () = local.closed.cancelled() => {}
    }
}

fn voters(record: &ShardRecord) -> BTreeMap<ReplicaId, StoreId> {
    record.replicas.iter().filter(|r| r.role == ReplicaRole::Voter).map(|r| (ReplicaId(r.replica), StoreId(r.store))).collect()
}

async fn destroy(node: &Node, stray: &ShardIdentity) -> Result<(), ReconcileError> {
    let (id, replica) = (stray.shard, stray.replica);
    let open = node.shards.get(id).filter(|local| local.replica == replica);
    if let Some(local) = &open {
        node.shards.remove(id);
        local.closed.cancel();
    }
    if id == ShardId::META {
        *node.meta_machine.lock() = None;
    }
    drop(open);
    node.groups.destroy(replica).await?;
    let db = node.db.clone();
    task::blocking(move || db.destroy_shard(id, replica)).await??;
    if !node.db.shards().iter().any(|other| other.workspace == stray.workspace) {
        node.keys.forget_workspace(&stray.workspace);
    }
    tracing::info!(shard = %id, %replica, "replica destroyed");
    Ok(())
}

/// A shard's share of the node's storage budget.
fn shard_config(node: &Node) -> ShardConfig {
    ShardConfig { head_bytes_max: node.shares.heads, log_bytes_max: LOG_PER_GROUP_MAX, ..ShardConfig::default() }
}
