//! Whether a replica's timers run: those of a group that nobody uses stand still on all of its stores, and it costs nothing.

use super::{Group, GroupStatus, Role};
use openraft::ReadPolicy;
use parking_lot::Mutex;
use proto::raft::IdleGroup;
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::time::Instant;

use model::StoreId;

/// When a replica was used, and whether its timers run.
#[derive(Debug)]
pub(crate) struct Sleep {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    used: Instant,
    /// When the timers were stopped or started last.
    turned: Instant,
    is_asleep: bool,
}

impl Default for Sleep {
    fn default() -> Self {
        let now = Instant::now();
        Self { state: Mutex::new(State { used: now, turned: now, is_asleep: false }) }
    }
}

impl Group {
    /// Whether this replica's timers stand still.
    #[must_use]
    pub fn is_asleep(&self) -> bool {
        self.inner.sleep.state.lock().is_asleep
    }

    /// Takes note that somebody needs the group, through whichever replica. A follower of a leader that is gone stands for election then.
    pub fn stir(&self) {
        self.wake(true);
    }

    /// Starts the timers; tells whether they stood still.
    pub(crate) fn wake(&self, is_use: bool) -> bool {
        let mut state = self.inner.sleep.state.lock();
        let now = Instant::now();
        if is_use {
            state.used = now;
        }
        if !std::mem::replace(&mut state.is_asleep, false) {
            return false;
        }
        state.turned = now;
        self.inner.raft.runtime_config().tick(true);
        true
    }

    /// The same for a call that needs the leader: the lease of one that slept is over, so a quorum confirms it first.
    pub(crate) async fn rouse(&self) {
        if self.wake(true) && self.role() == Role::Leader {
            self.show().await;
        }
    }

    /// A leader's heartbeat at once, and its answers waited for.
    pub(crate) async fn show(&self) {
        let _running = self.inner.probes.begin();
        let confirmed = self.inner.raft.get_read_linearizer(ReadPolicy::ReadIndex);
        // Whoever asked finds out whether it leads.
        let _ = tokio::time::timeout(self.inner.config.heartbeat, confirmed).await;
    }

    /// How long the timers have stood still, if they do.
    pub(crate) fn asleep_for(&self) -> Option<Duration> {
        let state = self.inner.sleep.state.lock();
        state.is_asleep.then(|| state.turned.elapsed())
    }

    /// Leader only: stops the timers if nobody has used the group for `after`, all replicas have all of the log and none is on a silent
    /// store. Returns whom to ask to do the same.
    pub(crate) fn doze(&self, after: Duration, silent: &BTreeSet<StoreId>) -> Option<Vec<(StoreId, IdleGroup)>> {
        let heartbeats = self.inner.config.heartbeat * 2;
        let status = self.rest(
            |state| state.used.elapsed() >= after && state.turned.elapsed() >= heartbeats,
            |status| {
                let has_all = |replica| status.matched.get(replica).copied().flatten() == status.last_log_index;
                status.role == Role::Leader
                    && !status.is_joint
                    && status.learners.is_empty()
                    && status.commit_index == status.last_log_index
                    && status
                        .voters
                        .iter()
                        .all(|(replica, store)| *replica == status.replica || (has_all(replica) && !silent.contains(store)))
            },
        )?;
        let others = status.voters.iter().filter(|(replica, _)| **replica != status.replica);
        let idle = |to_replica| IdleGroup {
            to_replica,
            from_replica: status.replica.0,
            term: status.term,
            last_index: status.last_log_index.unwrap_or(0),
        };
        Some(others.map(|(replica, store)| (*store, idle(replica.0))).collect())
    }

    /// Follower only: stops the timers with those of the leader that asks, if nobody has used this replica and it has the same log.
    pub(crate) fn agree(&self, idle: &IdleGroup, after: Duration, silent: &BTreeSet<StoreId>) -> bool {
        let slept = self.rest(
            |state| state.used.elapsed() >= after / 2,
            |status| {
                status.role == Role::Follower
                    && status.term == idle.term
                    && status.leader.is_some_and(|(replica, store)| replica.0 == idle.from_replica && !silent.contains(&store))
                    && status.last_log_index == Some(idle.last_index)
                    && status.commit_index == status.last_log_index
            },
        );
        slept.is_some()
    }

    fn rest(&self, is_idle: impl FnOnce(&State) -> bool, may: impl FnOnce(&GroupStatus) -> bool) -> Option<GroupStatus> {
        let mut state = self.inner.sleep.state.lock();
        if state.is_asleep || !is_idle(&state) {
            return None;
        }
        let status = self.status();
        if !may(&status) {
            return None;
        }
        self.inner.raft.runtime_config().tick(false);
        *state = State { used: state.used, turned: Instant::now(), is_asleep: true };
        Some(status)
    }
}
