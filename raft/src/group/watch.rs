//! The one task beside openraft's own: follows the status, stands for election after a restart, reports a failure.

use super::{Group, GroupStatus};
use crate::error::FatalError;
use crate::metrics;
use openraft::async_runtime::WatchReceiver;
use rand::RngExt;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::watch;

/// How long changes are gathered.
const GATHER: Duration = Duration::from_millis(5);

/// Follows one group until it is closed.
pub(crate) struct Watcher {
    pub(crate) group: Group,
    pub(crate) status: watch::Sender<GroupStatus>,
}

impl Watcher {
    /// Publishes every change of the status. A group that stopped by itself lost its storage: the process must stop.
    pub(crate) async fn run(self) {
        let inner = &self.group.inner;
        let mut changes = inner.raft.metrics();
        loop {
            let (status, failure) = {
                let seen = changes.borrow_watched();
                let failure = seen.running_state.as_ref().err().cloned();
                (GroupStatus::from_metrics(inner.shard, &seen), failure)
            };
            metrics::set_group(inner.shard, &status);
            self.status.send_replace(status);
            match failure {
                Some(openraft::errors::Fatal::Stopped) => return,
                Some(failure) => {
                    inner.config.fatal.call(&FatalError::Group { shard: inner.shard, reason: failure.to_string() });
                    return;
                }
                None => {}
            }
            if changes.changed().await.is_err() {
                return;
            }
            // Every entry is a change: a busy group's are told together.
            tokio::time::sleep(GATHER).await;
        }
    }
}

/// After a start: a sole voter elects itself at once; any other voter that hears no leader asks for a pre-vote after a random delay.
pub(crate) async fn stand_after_start(group: Group) {
    let inner = &group.inner;
    let status = super::status::current(inner.shard, &inner.raft);
    let is_voter = status.voters.contains_key(&inner.replica);
    if is_voter && status.voters.len() > 1 {
        let (min, max) = (inner.config.restart_election_min, inner.config.restart_election_max);
        let millis = rand::rng().random_range(as_millis(min)..=as_millis(max).max(as_millis(min)));
        tokio::time::sleep(Duration::from_millis(millis)).await;
    }
    inner.raft.runtime_config().elect(true);
    if !is_voter || inner.heard_leader.load(Ordering::Relaxed) {
        return;
    }
    if inner.raft.trigger().elect(status.voters.len() > 1).await.is_err() {
        tracing::debug!(shard = %inner.shard, "closed before it could stand");
    }
}

fn as_millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
