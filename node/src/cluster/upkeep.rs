//! What a node watches about itself: free disk space, its clock, and whether leadership is where the meta group prefers it.

use crate::node::Node;
use crate::task;
use futures::future::join_all;
use model::{ReplicaId, ShardId, StoreId};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior};

const ROUND: Duration = Duration::from_secs(1);
/// Time between two transfers of one shard's leadership.
const COOL_DOWN: Duration = Duration::from_secs(10);
/// A store that has not answered for this long may be gone with the leaders that sleep on it.
const SILENT_AFTER: Duration = Duration::from_secs(2);
/// Time in which a voter takes a leadership over that it was handed.
const TAKE_OVER_MAX: Duration = Duration::from_millis(500);
/// How long a node that stops tries to give its leaderships away.
const GIVE_AWAY_MAX: Duration = Duration::from_secs(2);
/// A target may lag so many entries.
const LAG_MAX: u64 = 128;

/// Brings leadership to where the meta group prefers it, and away from here while this node is not fit to lead. Runs until dropped.
pub async fn leadership(node: Arc<Node>) {
    let mut rounds = tokio::time::interval(ROUND);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut transferred: HashMap<ShardId, Instant> = HashMap::new();
    let mut leads_since: HashMap<ShardId, Instant> = HashMap::new();
    loop {
        rounds.tick().await;
        let is_fit = node.is_fit();
        for group in node.groups.list() {
            let status = group.status();
            if !status.is_leader || status.voters.len() < 2 {
                leads_since.remove(&status.shard);
                continue;
            }
            // Whoever handed it over just now may be the one that should lead, and be stopping.
            let since = *leads_since.entry(status.shard).or_insert_with(Instant::now);
            if is_fit && since.elapsed() < COOL_DOWN {
                continue;
            }
            if transferred.get(&status.shard).is_some_and(|at| at.elapsed() < COOL_DOWN) {
                continue;
            }
            let preferred = preferred_leader(&node, status.shard);
            let unfit = node.unfit.read().clone();
            let target = status
                .voters
                .iter()
                .filter(|(replica, store)| {
                    **replica != status.replica && !unfit.contains(store) && !node.is_silent_for(**store, SILENT_AFTER)
                })
                .find(|(replica, store)| {
                    let lag =
                        status.last_log_index.unwrap_or(0).saturating_sub(status.matched.get(replica).copied().flatten().unwrap_or(0));
                    lag <= LAG_MAX && (!is_fit || preferred == Some(**store))
                });
            if let Some((replica, store)) = target {
                transferred.insert(status.shard, Instant::now());
                hand_over(&group, *replica, *store).await;
            }
        }
    }
}

/// Asks a voter to lead in this replica's place. Until it does, nobody takes writes: if it does not soon, this replica leads again.
async fn hand_over(group: &raft::Group, replica: ReplicaId, store: StoreId) {
    match group.transfer_leader(replica).await {
        Ok(()) => tracing::info!(shard = %group.shard(), %store, "leadership handed over"),
        Err(e) => {
            tracing::debug!(shard = %group.shard(), %store, error = %e, "leadership not handed over");
            return;
        }
    }
    let (mut status, term) = (group.watch(), group.status().term);
    let taken = status.wait_for(|status| !status.is_leader || status.term != term);
    if tokio::time::timeout(TAKE_OVER_MAX, taken).await.is_err() && group.lead_again().await {
        tracing::warn!(shard = %group.shard(), %store, "leadership was not taken over in time");
    }
}

/// The store that should lead, unless it is this one.
fn preferred_leader(node: &Node, shard: ShardId) -> Option<StoreId> {
    let meta = node.meta.get();
    let goes = |replica: u64| meta.changes.get(&shard.0).is_some_and(|change| change.remove.contains(&replica));
    meta.shards.get(&shard.0)?.replicas.first().filter(|r| !goes(r.replica)).map(|r| StoreId(r.store)).filter(|s| *s != node.store_id())
}

/// Gives away every leadership that another replica can take, before this node stops: each to the voter that has most of the log, which
/// openraft waits for. Returns when nothing is led here that others could lead, or after two seconds.
pub async fn give_away(node: &Node) {
    let all = async {
        loop {
            let groups = node.groups.list();
            let transfers: Vec<_> = groups.iter().filter_map(|group| Some((group, closest_voter(node, group)?))).collect();
            if transfers.is_empty() {
                return;
            }
            join_all(transfers.into_iter().map(|(group, (replica, store))| hand_over(group, replica, store))).await;
        }
    };
    let _ = tokio::time::timeout(GIVE_AWAY_MAX, all).await;
}

/// Who is to lead a group that is led here: the voter that lacks least, if it answers and lacks little.
fn closest_voter(node: &Node, group: &raft::Group) -> Option<(ReplicaId, StoreId)> {
    let status = group.status();
    let lag = |replica: &ReplicaId| {
        status.last_log_index.unwrap_or(0).saturating_sub(status.matched.get(replica).copied().flatten().unwrap_or(0))
    };
    let unfit = node.unfit.read();
    let others = status.voters.iter().filter(|(replica, store)| **replica != status.replica && !unfit.contains(store));
    let answering = others.filter(|(_, store)| !node.is_silent_for(**store, SILENT_AFTER));
    let closest = answering.min_by_key(|(replica, _)| lag(replica)).filter(|(replica, _)| lag(replica) <= LAG_MAX);
    closest.filter(|_| status.is_leader).map(|(replica, store)| (*replica, *store))
}

/// Lets groups that nobody uses stop their timers, and wakes those whose leader's node is silent or was started anew. Runs until dropped.
pub async fn hibernation(node: Arc<Node>) {
    let mut rounds = tokio::time::interval(ROUND);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut known: BTreeMap<StoreId, u64> = BTreeMap::new();
    loop {
        rounds.tick().await;
        let starts = node.heard_starts.read().clone();
        let is_new = |store: &StoreId| starts.get(store) != known.get(store);
        let stores = node.others().into_keys();
        let silent = stores.filter(|store| is_new(store) || node.is_silent_for(*store, SILENT_AFTER)).collect();
        node.groups.hibernate(silent).await;
        known = starts;
    }
}

/// Watches the free disk space until dropped.
pub async fn disk(node: Arc<Node>) {
    let mut rounds = tokio::time::interval(ROUND);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        rounds.tick().await;
        let data = node.config.node.data.clone();
        // A file system may take its time to answer, a slow or remote one most of all.
        let stat = task::blocking(move || rustix::fs::statvfs(&data)).await;
        let free = stat.ok().and_then(Result::ok).map_or(u64::MAX, |s| s.f_bavail.saturating_mul(s.f_frsize));
        let reserve = node.config.storage.min_free_bytes;
        node.reserve_spent.store(free < reserve / 2, Ordering::Relaxed);
        let is_full = free < reserve;
        if is_full != node.disk_full.swap(is_full, Ordering::Relaxed) {
            if is_full {
                tracing::error!(free_bytes = free, min_free_bytes = reserve, "too little free disk space: writes are refused");
            } else {
                tracing::info!(free_bytes = free, "disk space is free again: writes are taken");
            }
        }
    }
}
