//! The stopwatch: how long until the cluster is itself again after a heal that no other fault disturbs.

use super::{Fault, Nemesis};
use crate::admin::{by_group, has_caught_up, highest};
use crate::check::Breach;
use crate::history::RECOVERED;
use crate::load;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::Instant;

const RECOVERY_MAX: Duration = Duration::from_secs(60);
const RECOVERY_POLL: Duration = Duration::from_millis(50);
const CAUGHT_UP_POLL: Duration = Duration::from_millis(250);

/// A cluster that is left alone for so long after a heal must have leaders and take writes.
const LEFT_ALONE: Duration = Duration::from_secs(15);
/// What a heal may take (I14), milliseconds: until leaders are known, writes are taken, replicas are equal.
pub const GOALS_MS: [u64; 3] = [3000, 5000, 60_000];

/// How long one heal took to show, milliseconds.
#[derive(Debug, Clone, Copy)]
pub struct Recovery {
    /// What was healed last.
    pub fault: Fault,
    /// Until every node that no procedure held knew a leader of each of its groups.
    pub leader_ms: u64,
    /// Until every node that was hit said ready.
    pub ready_ms: u64,
    /// Until every node that was hit had acknowledged a write begun after the heal.
    pub write_ms: u64,
    /// Until every replica had applied what was committed anywhere at the heal; none if another fault came first.
    pub equal_ms: Option<u64>,
    /// For how long no other fault came.
    pub watched_ms: u64,
}

impl Recovery {
    /// In words, if it took longer than it may.
    #[must_use]
    pub fn exceeds(&self) -> Option<String> {
        let took = [self.leader_ms, self.write_ms, self.equal_ms.unwrap_or(self.watched_ms)];
        let Self { fault, leader_ms, ready_ms, write_ms, equal_ms, .. } = self;
        took.iter().zip(GOALS_MS).any(|(took, goal)| *took > goal).then(|| {
            format!("{fault:?}: leaders after {leader_ms} ms, ready after {ready_ms} ms, writes after {write_ms} ms, replicas equal after {equal_ms:?} ms")
        })
    }
}

impl Nemesis {
    /// Waits until leaders are known, the nodes are ready and take writes, and replicas are equal; another fault in between makes a figure
    /// worthless, so it is dropped.
    pub(super) async fn measure(self: &Arc<Self>, fault: Fault, hit: &[usize]) {
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
        let (Some(leader), Some(ready), Some(write)) = (leader, ready, write) else {
            // A destructive procedure may hold the node down, beside which no other fault counts.
            if began.elapsed() >= LEFT_ALONE && self.fragile.available_permits() > 0 {
                self.shared.findings.note(Breach::NotRecovered, fault as u64, 3, || {
                    format!("{:?} after {fault:?} was healed: leaders {leader:?}, ready {ready:?}, writes {write:?}", began.elapsed())
                });
            }
            return;
        };
        let equal = self.first_equal(&committed, began, &disturbed).await;
        let ms = |d: Duration| d.as_millis() as u64;
        let recovery = Recovery {
            fault,
            leader_ms: ms(leader),
            ready_ms: ms(ready),
            write_ms: ms(write),
            equal_ms: equal.map(ms),
            watched_ms: ms(began.elapsed()),
        };
        self.record(self.shared.history.now_us(), RECOVERED, json!({ "how": format!("{recovery:?}") }));
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
            while self.is_at_hand(node) && !self.shared.client.status(node).await.is_ok_and(|status| status.leaderless == 0) {
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
            if self.applied_by_holders().await.is_some_and(|applied| has_caught_up(committed, &applied)) {
                return Some(began.elapsed());
            }
            tokio::time::sleep(CAUGHT_UP_POLL).await;
        }
        None
    }

    /// What each node applied of the groups that it holds a replica of: the gauges of one that has left it stand still.
    async fn applied_by_holders(&self) -> Option<Vec<BTreeMap<u64, u64>>> {
        let mut all = self.gauges("flotilla_raft_applied_index").await?;
        let Some(shards) = self.shared.client.shards().await else { return Some(all) };
        for (node, applied) in all.iter_mut().enumerate() {
            if !self.is_at_hand(node) {
                continue;
            }
            let store = self.store_of(node).await?;
            applied.retain(|group, _| shards.iter().any(|shard| shard.id == *group && shard.voters.contains(&store)));
        }
        Some(all)
    }

    /// Whether no procedure holds a node, which may be down then for as long as that takes.
    fn is_at_hand(&self, node: usize) -> bool {
        self.busy[node].available_permits() > 0
    }

    /// A gauge of all groups from all nodes that are at hand; none if one does not answer.
    async fn gauges(&self, name: &str) -> Option<Vec<BTreeMap<u64, u64>>> {
        let mut all = Vec::new();
        for node in 0..self.cluster.specs().len() {
            let told = self.shared.client.metrics(node).await;
            all.push(if self.is_at_hand(node) { by_group(&told.ok()?, name) } else { BTreeMap::new() });
        }
        Some(all)
    }
}
