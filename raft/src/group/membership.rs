//! Who belongs to the group.

use super::{Group, leader_of};
use crate::error::MembershipError;
use crate::types::{Node, TypeConfig};
use model::{ReplicaId, StoreId};
use openraft::ChangeMembers;
use openraft::errors::{ClientWriteError, RaftError};
use std::collections::{BTreeMap, BTreeSet};

fn refused(error: RaftError<TypeConfig, ClientWriteError<TypeConfig>>) -> MembershipError {
    match error {
        RaftError::Fatal(_) => MembershipError::Stopped,
        RaftError::APIError(ClientWriteError::ForwardToLeader(forward)) => MembershipError::NotLeader { leader: leader_of(&forward) },
        RaftError::APIError(ClientWriteError::LogEntryDiscarded(_)) => MembershipError::Unknown,
        RaftError::APIError(other) => MembershipError::Refused(other.to_string()),
    }
}

impl Group {
    /// Founds the group: the first entry of its log. Every founding member does so with the same list, or one of them alone.
    ///
    /// # Errors
    /// The replica has a log or a vote already, or is not in the list.
    pub async fn initialize(&self, members: BTreeMap<ReplicaId, StoreId>) -> Result<(), MembershipError> {
        let members: BTreeMap<u64, Node> = members.into_iter().map(|(replica, store)| (replica.0, Node { store_id: store.0 })).collect();
        self.inner.raft.initialize(members).await.map_err(|error| match error {
            RaftError::Fatal(_) => MembershipError::Stopped,
            RaftError::APIError(error) => MembershipError::Refused(error.to_string()),
        })
    }

    /// True once the group was founded here or heard of.
    #[must_use]
    pub fn is_initialized(&self) -> bool {
        !self.inner.store.log.is_pristine()
    }

    /// Adds a replica that takes the log and does not vote. Returns when the change is committed; the replica may still be catching up.
    ///
    /// # Errors
    /// See [`MembershipError`].
    pub async fn add_learner(&self, replica: ReplicaId, store: StoreId) -> Result<(), MembershipError> {
        self.rouse().await;
        let added = self.inner.raft.add_learner(replica.0, Node { store_id: store.0 }, false).await;
        added.map(|_| ()).map_err(refused)
    }

    /// Makes exactly these replicas the voters, by joint consensus. All must be learners or voters already; those left out are removed.
    ///
    /// # Errors
    /// See [`MembershipError`].
    pub async fn change_membership(&self, voters: BTreeSet<ReplicaId>) -> Result<(), MembershipError> {
        self.rouse().await;
        let voters: BTreeSet<u64> = voters.into_iter().map(|replica| replica.0).collect();
        self.inner.raft.change_membership(voters, false).await.map(|_| ()).map_err(refused)
    }

    /// Removes learners.
    ///
    /// # Errors
    /// See [`MembershipError`].
    pub async fn remove_learners(&self, learners: BTreeSet<ReplicaId>) -> Result<(), MembershipError> {
        self.rouse().await;
        let learners: BTreeSet<u64> = learners.into_iter().map(|replica| replica.0).collect();
        self.inner.raft.change_membership(ChangeMembers::RemoveNodes(learners), false).await.map(|_| ()).map_err(refused)
    }

    /// Asks a voter to take over. Returns when the request is on its way; follow [`Group::watch`] for the outcome.
    ///
    /// # Errors
    /// This replica does not lead, the other is no voter, or the group is closed.
    pub async fn transfer_leader(&self, to: ReplicaId) -> Result<(), MembershipError> {
        self.rouse().await;
        let status = super::status::current(self.inner.shard, &self.inner.raft);
        if !status.is_leader {
            return Err(MembershipError::NotLeader { leader: status.leader });
        }
        if !status.voters.contains_key(&to) {
            return Err(MembershipError::Refused(format!("replica {to} is no voter")));
        }
        self.inner.raft.trigger().transfer_leader(to.0).await.map_err(|_| MembershipError::Stopped)
    }
}
