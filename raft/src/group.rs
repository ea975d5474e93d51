//! The handle of one group on this node.

mod checkpoint;
mod membership;
mod probes;
mod propose;
mod sleep;
mod status;
mod watch;

pub(crate) use checkpoint::Transfers;
pub(crate) use probes::Probes;
pub use propose::Proposal;
pub(crate) use sleep::Sleep;
pub(crate) use status::current as current_status;
pub use status::{GroupStatus, Role};
pub(crate) use watch::{Watcher, stand_after_start};

use crate::config::RaftConfig;
use crate::error::{BarrierError, Leader, WaitError};
use crate::log_store::LogStore;
use crate::state_machine::StateMachine;
use crate::types::{Raft, TypeConfig};
use model::planted::{self, Bug};
use model::{LogPoint, ReplicaId, ShardId, StoreId};
use openraft::ReadPolicy;
use openraft::errors::{ForwardToLeader, LinearizableReadError, RaftError};
use parking_lot::Mutex;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use tokio::sync::Semaphore;
use tokio::time::Instant;

/// One replica of one group; cheap to clone.
#[derive(Clone)]
pub struct Group {
    pub(crate) inner: Arc<Inner>,
}

/// What the handles of one replica share.
pub(crate) struct Inner {
    pub(crate) shard: ShardId,
    pub(crate) replica: ReplicaId,
    pub(crate) raft: Raft,
    pub(crate) store: LogStore,
    pub(crate) state_machine: Arc<dyn StateMachine>,
    pub(crate) config: RaftConfig,
    pub(crate) transfers: Arc<Transfers>,
    pub(crate) probes: Arc<Probes>,
    /// Bytes of proposals that may still be taken in, here and on this node.
    pub(crate) room: Arc<Semaphore>,
    pub(crate) node_room: Arc<Semaphore>,
    /// Bytes of entries of earlier terms that were taken in since the disk has been full.
    pub(crate) inherited_bytes: AtomicUsize,
    pub(crate) applied: tokio::sync::watch::Receiver<Option<u64>>,
    pub(crate) status: tokio::sync::watch::Receiver<GroupStatus>,
    /// Set once an append of a leader arrived since the start.
    pub(crate) heard_leader: AtomicBool,
    pub(crate) sleep: Sleep,
    pub(crate) tasks: Mutex<Vec<tokio::task::JoinHandle<()>>>,
    /// Only for [`Bug::StaleLease`].
    pub(crate) lease: Mutex<Option<(Instant, u64)>>,
}

impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Group").field("shard", &self.inner.shard).field("replica", &self.inner.replica).finish_non_exhaustive()
    }
}

impl Group {
    /// The shard whose log this is.
    #[must_use]
    pub fn shard(&self) -> ShardId {
        self.inner.shard
    }

    /// This node's replica of it.
    #[must_use]
    pub fn replica(&self) -> ReplicaId {
        self.inner.replica
    }

    /// What this replica knows now.
    #[must_use]
    pub fn status(&self) -> GroupStatus {
        status::current(self.inner.shard, &self.inner.raft)
    }

    /// The part this replica plays now.
    #[must_use]
    pub fn role(&self) -> Role {
        self.status().role
    }

    /// Follows [`Group::status`]; a busy group's changes are gathered for a few milliseconds.
    #[must_use]
    pub fn watch(&self) -> tokio::sync::watch::Receiver<GroupStatus> {
        self.inner.status.clone()
    }

    /// Index of the last applied entry; follows apply without delay.
    #[must_use]
    pub fn applied_index(&self) -> Option<u64> {
        *self.inner.applied.borrow()
    }

    /// Leader only: the log index that a read must wait for ([`Group::wait_applied`]) to see everything acknowledged before this call.
    /// A quorum confirms the leadership after the call began; calls that overlap share a round.
    ///
    /// # Errors
    /// This replica does not lead, or no quorum answered within an election timeout.
    pub async fn read_barrier(&self) -> Result<u64, BarrierError> {
        self.rouse().await;
        if planted::is(Bug::SkipReadIndex) && self.role() == Role::Leader {
            return Ok(self.status().commit_index.unwrap_or(0));
        }
        if planted::is(Bug::StaleLease)
            && let Some((at, index)) = *self.inner.lease.lock()
            && at.elapsed() < std::time::Duration::from_secs(3)
        {
            return Ok(index);
        }
        let _running = self.inner.probes.begin();
        let probe = self.inner.raft.get_read_linearizer(ReadPolicy::ReadIndex);
        match tokio::time::timeout(self.inner.config.election_max, probe).await {
            Err(_) => Err(BarrierError::NoQuorum),
            Ok(Ok(linearizer)) => {
                let index = linearizer.read_log_id().index();
                if planted::is(Bug::StaleLease) {
                    *self.inner.lease.lock() = Some((Instant::now(), index));
                }
                Ok(index)
            }
            Ok(Err(RaftError::Fatal(_))) => Err(BarrierError::Stopped),
            Ok(Err(RaftError::APIError(LinearizableReadError::ForwardToLeader(forward)))) => {
                Err(BarrierError::NotLeader { leader: leader_of(&forward) })
            }
            Ok(Err(RaftError::APIError(LinearizableReadError::QuorumNotEnough(_)))) => Err(BarrierError::NoQuorum),
        }
    }

    /// Returns once the entry at `index` is applied here.
    ///
    /// # Errors
    /// The deadline passed or the group was closed.
    pub async fn wait_applied(&self, index: u64, deadline: Instant) -> Result<(), WaitError> {
        if planted::is(Bug::FollowerReads) {
            return Ok(());
        }
        let mut applied = self.inner.applied.clone();
        let reached = applied.wait_for(|applied| applied.is_some_and(|applied| applied >= index));
        match tokio::time::timeout_at(deadline, reached).await {
            Err(_) => Err(WaitError::Timeout),
            Ok(Err(_)) => Err(WaitError::Stopped),
            Ok(Ok(_)) => Ok(()),
        }
    }

    /// Returns once this replica has applied everything it may have applied before a restart. Call it before serving local reads.
    ///
    /// # Errors
    /// The deadline passed (without a leader a replica does not recover) or the group was closed.
    pub async fn wait_recovered(&self, deadline: Instant) -> Result<(), WaitError> {
        let left = deadline.saturating_duration_since(Instant::now());
        match self.inner.raft.wait_for_recovery(Some(left)).await {
            Ok(_) => Ok(()),
            Err(openraft::metrics::WaitError::Timeout(..)) => Err(WaitError::Timeout),
            Err(openraft::metrics::WaitError::ShuttingDown) => Err(WaitError::Stopped),
        }
    }

    /// Returns once a leader is known, and which.
    ///
    /// # Errors
    /// The deadline passed or the group was closed.
    pub async fn wait_leader(&self, deadline: Instant) -> Result<Leader, WaitError> {
        let mut status = self.inner.status.clone();
        let known = status.wait_for(|status| status.leader.is_some());
        match tokio::time::timeout_at(deadline, known).await {
            Err(_) => Err(WaitError::Timeout),
            Ok(Err(_)) => Err(WaitError::Stopped),
            Ok(Ok(status)) => status.leader.ok_or(WaitError::Stopped),
        }
    }

    /// Takes note that [`StateMachine::durable`] has reached `point`, and purges the log behind it as far as lagging followers and
    /// transfers in flight allow. Call it after the checkpoint's sync returned.
    ///
    /// # Errors
    /// The group was closed, or openraft did not take note within ten seconds.
    pub async fn checkpointed(&self, point: LogPoint) -> Result<(), WaitError> {
        checkpoint::checkpointed(&self.inner, point).await
    }

    /// Stops the replica's tasks. Its log stays. Proposals in flight end as [`crate::ProposeError::Unknown`].
    pub async fn shutdown(&self) {
        self.inner.room.close();
        if let Err(error) = self.inner.raft.shutdown().await {
            tracing::warn!(shard = %self.inner.shard, %error, "raft task ended badly");
        }
        let tasks = std::mem::take(&mut *self.inner.tasks.lock());
        for task in tasks {
            task.abort();
        }
    }

    pub(crate) fn note_leader(&self) {
        self.inner.heard_leader.store(true, Ordering::Relaxed);
    }
}

/// Whom a refusal points at.
pub(crate) fn leader_of(forward: &ForwardToLeader<TypeConfig>) -> Option<Leader> {
    Some((ReplicaId(forward.leader_id?), StoreId(forward.leader_node?.store_id)))
}
