//! What a full or broken disk must show (I22): a fault without its effect proves nothing.
//!
//! A node without room gives its leaderships away and answers queries; where no node has room every write gets 503 with `Retry-After`. A node whose disk
//! fails ends by itself, or at least takes nothing in any more.

use super::{Fault, Nemesis};
use crate::check::Breach;
use crate::client::{QueryAnswer, sum_metric};
use crate::load::canary_step;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::Instant;

const SEEN_MAX: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(200);
/// How long a node on a failed disk is watched.
const WATCH: Duration = Duration::from_secs(2);
/// Groups have one replica below so many nodes: then nobody can take a leadership over.
const REPLICATED_FROM: usize = 3;

/// What a node with a full disk shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Shown {
    /// Groups that it leads; none if it does not say, or if nobody else could lead them.
    leads: Option<u64>,
    /// The status of a query through it.
    query: u16,
    /// Status and `Retry-After` of a write through it, where no node has room.
    write: Option<(u16, Option<u64>)>,
}

impl Shown {
    fn is_right(self) -> bool {
        let refuses = self.write.is_none_or(|(code, retry_after)| code == 503 && retry_after.is_some());
        self.leads.is_none_or(|groups| groups == 0) && self.query == 200 && refuses
    }
}

impl Nemesis {
    /// Whether no other fault goes on, and none began since `epoch`.
    fn is_undisturbed(&self, epoch: u64) -> bool {
        self.injected.load(Ordering::SeqCst) == epoch && self.active.load(Ordering::SeqCst) <= 1
    }

    /// Waits until nodes show that their disks are full; a node that ended over it shows it as well.
    pub(super) async fn see_full(&self, fault: Fault, nodes: &[usize]) {
        let (epoch, deadline) = (self.injected.load(Ordering::SeqCst), Instant::now() + SEEN_MAX);
        let mut unseen: Vec<(usize, Option<Shown>)> = nodes.iter().map(|node| (*node, None)).collect();
        while let Some((node, last)) = unseen.last_mut() {
            self.cluster.reap(&self.shared.findings).await;
            if !self.cluster.is_running(*node).await {
                unseen.pop();
                continue;
            }
            let shown = self.look(*node, nodes.len() == self.cluster.specs().len()).await;
            if shown.is_right() {
                unseen.pop();
                continue;
            }
            *last = Some(shown);
            if Instant::now() >= deadline {
                if self.is_undisturbed(epoch) {
                    let place = *node;
                    let text = format!("node-{}: {fault:?}: after {SEEN_MAX:?} it shows {shown:?}", place + 1);
                    self.shared.findings.note(Breach::Disk, place as u64, 0, || text);
                }
                return;
            }
            tokio::time::sleep(POLL).await;
        }
        self.complete(fault);
    }

    async fn look(&self, node: usize, all_full: bool) -> Shown {
        let shared = &self.shared;
        let lane = shared.workload.canary();
        let can_give_away = !all_full && self.cluster.specs().len() >= REPLICATED_FROM;
        let metrics = if can_give_away { shared.client.metrics(node).await.ok() } else { None };
        let steps = 0..1;
        let expr = shared.workload.selector(Some(lane), None, &steps);
        let query = match shared.client.query(node, &expr, &shared.workload.query_time(&steps)).await {
            QueryAnswer::Rows { flagged: false, .. } => 200,
            QueryAnswer::Rows { .. } => 206,
            QueryAnswer::Error { code, .. } => code,
        };
        let mut write = None;
        if all_full {
            let step = canary_step(shared);
            shared.ledger.issue(lane, step..step + 1);
            let answer = shared.client.write_within(node, shared.workload.request(lane, step..step + 1), SEEN_MAX * 2).await;
            if (200..300).contains(&answer.code) {
                shared.ledger.ack(lane, step..step + 1);
            }
            write = Some((answer.code, answer.retry_after));
        }
        Shown { leads: metrics.map(|text| sum_metric(&text, "flotilla_raft_leader") as u64), query, write }
    }

    /// Looks whether a node whose disk failed has ended by itself; if it still runs it must take nothing in.
    pub(super) async fn see_stopped(&self, fault: Fault, node: usize, ends_before: u64) {
        let (epoch, deadline) = (self.injected.load(Ordering::SeqCst), Instant::now() + WATCH);
        let mut first = None;
        loop {
            self.cluster.reap(&self.shared.findings).await;
            if self.cluster.excused_ends(node) > ends_before {
                self.complete(fault);
                return;
            }
            let Ok(text) = self.shared.client.metrics(node).await else { return };
            let applied = sum_metric(&text, "flotilla_raft_applied_index") as u64;
            let before = *first.get_or_insert(applied);
            if Instant::now() < deadline {
                tokio::time::sleep(POLL).await;
                continue;
            }
            if takes_in(before, applied) && self.is_undisturbed(epoch) {
                self.shared.findings.note(Breach::Disk, node as u64, 1, || {
                    format!("node-{}: {fault:?}: it runs on and went from {before} to {applied} applied entries in {WATCH:?}", node + 1)
                });
            }
            return;
        }
    }
}

/// Whether more was applied: an entry is applied once it is in the log, which cannot be written.
fn takes_in(before: u64, after: u64) -> bool {
    after > before
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn i22_a_full_node_that_leads_or_answers_no_query_or_takes_a_write_is_found() {
        let right = Shown { leads: Some(0), query: 200, write: None };
        assert!(right.is_right());
        assert!(!Shown { leads: Some(1), ..right }.is_right() && !Shown { query: 503, ..right }.is_right());
        let full = Shown { leads: None, write: Some((503, Some(1))), ..right };
        assert!(full.is_right());
        for write in [(503, None), (204, None), (500, Some(1)), (400, None), (0, None)] {
            assert!(!Shown { write: Some(write), ..full }.is_right(), "{write:?}");
        }
    }

    #[test]
    fn i22_a_node_that_applies_entries_on_a_failed_disk_is_found() {
        assert!(takes_in(7, 8) && !takes_in(7, 7));
    }
}
