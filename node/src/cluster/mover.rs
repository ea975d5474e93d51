//! Carries out changes of replicas: the leader of each group brings its membership to what the meta group decided.
//!
//! Every step looks at what is and does the next thing; nothing is remembered, so that any other leader can go on from any point.
//! What joins takes the log, or a copy of the shard, before it counts; all who come and go do so in one joint change, so that there is
//! never a moment with fewer replicas than before.

use super::operator::{MetaError, propose};
use crate::meta::state::{MetaState, ReplicaChange, ReplicaRole, ShardRecord};
use crate::meta::{MetaCommand, MetaResponse};
use crate::metrics;
use crate::node::Node;
use model::{ReplicaId, ShardId, StoreId};
use raft::{Group, GroupStatus, MembershipError};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::MissedTickBehavior;

const ROUND: Duration = Duration::from_millis(250);
/// A step that takes longer has no quorum now; the next round looks anew.
const STEP_TIME_MAX: Duration = Duration::from_secs(10);
/// Entries that a replica may lag when it becomes a voter.
const LAG_MAX: u64 = 1000;
/// Entries that whoever is to lead may lag.
const LEADER_LAG_MAX: u64 = 128;

/// Why a step was not done; it is tried again.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// The group.
    #[error(transparent)]
    Membership(#[from] MembershipError),
    /// The meta group.
    #[error(transparent)]
    Meta(#[from] MetaError),
}

/// What a group's leader does next for a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Have a replica take the log.
    AddLearner(ReplicaId, StoreId),
    /// Wait for replicas that take the log.
    CatchUp(BTreeSet<ReplicaId>),
    /// Give leadership to a replica that stays.
    HandOver(ReplicaId),
    /// Make these the voters.
    ChangeVoters(BTreeSet<ReplicaId>),
    /// Have replicas that never voted go again.
    RemoveLearners(BTreeSet<ReplicaId>),
    /// Tell the meta group that it is done.
    Finish(BTreeSet<ReplicaId>),
}

impl Step {
    fn name(&self) -> &'static str {
        match self {
            Self::AddLearner(..) => "add_learner",
            Self::CatchUp(_) => "catch_up",
            Self::HandOver(_) => "hand_over",
            Self::ChangeVoters(_) => "change_voters",
            Self::RemoveLearners(_) => "remove_learners",
            Self::Finish(_) => "finish",
        }
    }
}

/// The next step of `change` as `status` of the group's leader shows it.
#[must_use]
pub fn next_step(record: &ShardRecord, change: &ReplicaChange, status: &GroupStatus) -> Step {
    let added: BTreeMap<ReplicaId, StoreId> =
        record.replicas.iter().filter(|r| change.add.contains(&r.replica)).map(|r| (ReplicaId(r.replica), StoreId(r.store))).collect();
    let before = record.replicas.iter().filter(|r| r.role == ReplicaRole::Voter).map(|r| ReplicaId(r.replica));
    let mut wanted: BTreeSet<ReplicaId> = before.clone().filter(|r| !change.remove.contains(&r.0)).collect();
    wanted.extend(added.keys());
    let voters: BTreeSet<ReplicaId> = status.voters.keys().copied().collect();
    if voters == wanted && !status.is_joint {
        return Step::Finish(voters);
    }
    // Once a joint membership is written the change goes through: undoing it would be another change.
    let has_begun = status.is_joint || added.keys().any(|replica| voters.contains(replica));
    if change.is_cancelled && !has_begun {
        let strays: BTreeSet<ReplicaId> = added.into_keys().filter(|replica| status.learners.contains_key(replica)).collect();
        return if strays.is_empty() { Step::Finish(before.collect()) } else { Step::RemoveLearners(strays) };
    }
    let missing = added.iter().find(|(replica, _)| !status.learners.contains_key(replica) && !voters.contains(replica));
    if let Some((replica, store)) = missing.filter(|_| !status.is_joint) {
        return Step::AddLearner(*replica, *store);
    }
    let last = status.last_log_index.unwrap_or(0);
    let lag = |replica: &ReplicaId| last.saturating_sub(status.matched.get(replica).copied().flatten().unwrap_or(0));
    let behind: BTreeSet<ReplicaId> = added.keys().filter(|replica| lag(replica) > LAG_MAX).copied().collect();
    if !behind.is_empty() && !status.is_joint {
        return Step::CatchUp(behind);
    }
    if change.remove.contains(&status.replica.0) && !status.is_joint {
        let successor = wanted.iter().filter(|replica| voters.contains(replica)).find(|replica| lag(replica) <= LEADER_LAG_MAX);
        if let Some(successor) = successor {
            return Step::HandOver(*successor);
        }
    }
    Step::ChangeVoters(wanted)
}

/// Carries out what concerns the groups that this node leads, until dropped.
pub async fn run(node: Arc<Node>) {
    let mut rounds = tokio::time::interval(ROUND);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        rounds.tick().await;
        let meta = node.meta.get();
        let steps = meta.changes.values().map(|change| carry_on(&node, &meta, change));
        futures::future::join_all(steps).await;
    }
}

async fn carry_on(node: &Arc<Node>, meta: &MetaState, change: &ReplicaChange) {
    let shard = ShardId(change.shard);
    let (Some(group), Some(record)) = (node.groups.group(shard), meta.record(shard)) else { return };
    let status = group.status();
    if !status.is_leader {
        return;
    }
    let step = next_step(record, change, &status);
    let waits = matches!(step, Step::CatchUp(_));
    let taken = tokio::time::timeout(STEP_TIME_MAX, take(node, &group, shard, step.clone())).await;
    let outcome = match &taken {
        Ok(Ok(())) => "taken",
        Ok(Err(_)) => "put_off",
        Err(_) => "unknown",
    };
    match taken {
        Ok(Ok(())) if waits => return tracing::debug!(%shard, ?step, "change of replicas waits"),
        Ok(Ok(())) => tracing::info!(%shard, ?step, reason = ?change.reason, "change of replicas"),
        Ok(Err(error)) => tracing::warn!(%shard, ?step, %error, "change of replicas put off"),
        Err(_) => tracing::warn!(%shard, ?step, "change of replicas without an outcome in time"),
    }
    metrics::count_change_step(step.name(), outcome);
}

async fn take(node: &Arc<Node>, group: &Group, shard: ShardId, step: Step) -> Result<(), StepError> {
    match step {
        Step::AddLearner(replica, store) => group.add_learner(replica, store).await?,
        Step::CatchUp(_) => {}
        Step::HandOver(replica) => group.transfer_leader(replica).await?,
        Step::ChangeVoters(voters) => group.change_membership(voters).await?,
        Step::RemoveLearners(replicas) => group.remove_learners(replicas).await?,
        Step::Finish(voters) => {
            let voters = voters.into_iter().map(|replica| replica.0).collect();
            let finished = propose(node, MetaCommand::FinishChange { shard: shard.0, voters }).await?;
            if let MetaResponse::Conflict { reason, .. } = finished {
                tracing::error!(%shard, reason, "the meta group does not take the end of a change");
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
