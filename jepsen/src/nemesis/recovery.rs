//! The stopwatch: how long until the cluster is itself again after a heal that no other fault disturbs.

use super::Nemesis;
use crate::admin::{by_group, has_caught_up, highest};
use crate::load;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::Instant;

const RECOVERY_MAX: Duration = Duration::from_secs(60);
const RECOVERY_POLL: Duration = Duration::from_millis(50);
const CAUGHT_UP_POLL: Duration = Duration::from_millis(250);

/// How long one heal took to show, milliseconds.
#[derive(Debug, Clone, Copy)]
pub struct Recovery {
    /// Until every node knew a leader of each of its groups.
    pub leader_ms: u64,
    /// Until every node that was hit said ready.
    pub ready_ms: u64,
    /// Until every node that was hit had acknowledged a write begun after the heal.
    pub write_ms: u64,
    /// Until every replica had applied what was committed anywhere at the heal; none if another fault came first.
    pub equal_ms: Option<u64>,
}

impl Nemesis {
    /// Waits until leaders are known, the nodes are ready and take writes, and replicas are equal; another fault in between makes a figure
    /// worthless, so it is dropped.
    pub(super) async fn measure(self: &Arc<Self>, hit: &[usize]) {
        let (epoch, began) = (self.injected.load(Ordering::SeqCst), Instant::now());
        let disturbed = || began.elapsed() >= RECOVERY_MAX || self.injected.load(Ordering::SeqCst) != epoch;
        let committed = highest(&self.gauges("flotilla_raft_commit_index").await.unwrap_or_default());
        let ready = async {
            let mut slowest = Duration::ZERO;
            for node in hit {
                slowest = slowest.max(self.first_ready(*node, began, &disturbed).await?);
            }
            Some(slowest)
        };
        let write = async {
            let mut slowest = Duration::ZERO;
            for node in hit {
                slowest = load::canary(&self.shared, *node, &disturbed).await.then(|| began.elapsed())?.max(slowest);
            }
            Some(slowest)
        };
        let (leader, ready, write) = tokio::join!(self.first_led(began, &disturbed), ready, write);
        let (Some(leader), Some(ready), Some(write)) = (leader, ready, write) else { return };
        let equal = self.first_equal(&committed, began, &disturbed).await;
        let ms = |d: Duration| d.as_millis() as u64;
        let recovery = Recovery { leader_ms: ms(leader), ready_ms: ms(ready), write_ms: ms(write), equal_ms: equal.map(ms) };
        self.log.lock().recoveries_ms.push(recovery);
    }

    async fn first_ready(&self, node: usize, began: Instant, give_up: &impl Fn() -> bool) -> Option<Duration> {
        while !give_up() {
            if self.shared.client.ready(node).await.is_ok() {
                return Some(began.elapsed());
            }
            tokio::time::sleep(RECOVERY_POLL).await;
        }
        None
    }

    async fn first_led(&self, began: Instant, give_up: &impl Fn() -> bool) -> Option<Duration> {
        for node in 0..self.cluster.specs().len() {
            while !self.shared.client.status(node).await.is_ok_and(|status| status.leaderless == 0) {
                if give_up() {
                    return None;
                }
                tokio::time::sleep(RECOVERY_POLL).await;
            }
        }
        Some(began.elapsed())
    }

    async fn first_equal(&self, committed: &BTreeMap<u64, u64>, began: Instant, give_up: &impl Fn() -> bool) -> Option<Duration> {
        while !give_up() {
            if self.gauges("flotilla_raft_applied_index").await.is_some_and(|applied| has_caught_up(committed, &applied)) {
                return Some(began.elapsed());
            }
            tokio::time::sleep(CAUGHT_UP_POLL).await;
        }
        None
    }

    /// A gauge of all groups from all nodes; none if one does not answer.
    async fn gauges(&self, name: &str) -> Option<Vec<BTreeMap<u64, u64>>> {
        let mut all = Vec::new();
        for node in 0..self.cluster.specs().len() {
            all.push(by_group(&self.shared.client.metrics(node).await.ok()?, name));
        }
        Some(all)
    }
}
