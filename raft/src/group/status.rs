//! What a replica knows of its group.

use crate::error::Leader;
use crate::types::{Metrics, point_of};
use model::{LogPoint, ReplicaId, ShardId, StoreId};
use openraft::ServerState;
use openraft::async_runtime::WatchReceiver;
use std::collections::BTreeMap;

/// The part a replica plays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// Takes the log, does not count for a quorum.
    #[default]
    Learner,
    /// Takes the log and votes.
    Follower,
    /// Asks for votes.
    Candidate,
    /// Proposes.
    Leader,
    /// Closed, or stopped by a failure.
    Stopped,
}

/// A replica's view of its group at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupStatus {
    /// The group.
    pub shard: ShardId,
    /// This replica.
    pub replica: ReplicaId,
    /// What it does.
    pub role: Role,
    /// True when `role` is [`Role::Leader`].
    pub is_leader: bool,
    /// Its term.
    pub term: u64,
    /// The term's leader, if known.
    pub leader: Option<Leader>,
    /// Last entry in its log.
    pub last_log_index: Option<u64>,
    /// Last entry known as committed.
    pub commit_index: Option<u64>,
    /// Last entry applied.
    pub applied_index: Option<u64>,
    /// Last entry behind a checkpoint that the group took note of.
    pub checkpoint: Option<LogPoint>,
    /// Last entry purged.
    pub purged_index: Option<u64>,
    /// Replicas that count for a quorum, and their stores.
    pub voters: BTreeMap<ReplicaId, StoreId>,
    /// Replicas that only take the log.
    pub learners: BTreeMap<ReplicaId, StoreId>,
    /// True while a membership change is running.
    pub is_joint: bool,
    /// Leader only: how far each replica's log agrees.
    pub matched: BTreeMap<ReplicaId, Option<u64>>,
}

impl GroupStatus {
    pub(super) fn from_metrics(shard: ShardId, metrics: &Metrics) -> Self {
        let membership = metrics.membership_config.membership();
        let voter_ids: Vec<u64> = membership.voter_ids().collect();
        let store_of = |id: &u64| membership.get_node(id).map(|node| StoreId(node.store_id));
        let (mut voters, mut learners) = (BTreeMap::new(), BTreeMap::new());
        for (id, node) in membership.nodes() {
            let side = if voter_ids.contains(id) { &mut voters } else { &mut learners };
            side.insert(ReplicaId(*id), StoreId(node.store_id));
        }
        let matched = metrics.replication.iter().flatten().map(|(id, at)| (ReplicaId(*id), at.map(|at| at.index))).collect();
        let role = match (&metrics.running_state, metrics.state) {
            (Err(_), _) | (_, ServerState::Shutdown) => Role::Stopped,
            (Ok(()), ServerState::Learner) => Role::Learner,
            (Ok(()), ServerState::Follower) => Role::Follower,
            (Ok(()), ServerState::Candidate) => Role::Candidate,
            (Ok(()), ServerState::Leader) => Role::Leader,
        };
        Self {
            shard,
            replica: ReplicaId(metrics.id),
            role,
            is_leader: role == Role::Leader,
            term: metrics.current_term,
            leader: metrics.current_leader.and_then(|id| Some((ReplicaId(id), store_of(&id)?))),
            last_log_index: metrics.last_log_index,
            commit_index: metrics.local_committed.map(|id| id.index),
            applied_index: metrics.last_applied.map(|id| id.index),
            checkpoint: metrics.snapshot.map(point_of),
            purged_index: metrics.purged.map(|id| id.index),
            voters,
            learners,
            is_joint: membership.get_joint_config().len() > 1,
            matched,
        }
    }
}

/// The status right now, past the watching task.
pub(crate) fn current(shard: ShardId, raft: &crate::types::Raft) -> GroupStatus {
    GroupStatus::from_metrics(shard, &raft.metrics().borrow_watched())
}
