//! Where replicas go: pure functions of the state.

use super::state::{MetaState, ReplicaRecord, ReplicaRole, StoreRecord};
use std::collections::{BTreeMap, BTreeSet};

/// Replicas per shard for a cluster of so many stores: never 2, because two replicas survive nothing that one does not.
#[must_use]
pub fn replication_target(stores: usize) -> usize {
    if stores >= 3 { 3 } else { 1 }
}

/// Replicas of the meta group: a large cluster keeps its record through two failures.
#[must_use]
pub fn meta_replication_target(stores: usize) -> usize {
    if stores >= 5 { 5 } else { replication_target(stores) }
}

/// Stores that are not being drained, whether they answer or not: a silent store is replaced, not done without.
#[must_use]
pub fn kept_stores(state: &MetaState) -> usize {
    state.stores.values().filter(|s| !s.is_draining).count()
}

/// Replicas on `store`, of the meta group too.
#[must_use]
pub fn held(state: &MetaState, store: u64) -> usize {
    state.records().flat_map(|s| &s.replicas).filter(|r| r.store == store).count()
}

/// Shards that each store is the preferred leader of.
#[must_use]
pub fn led(state: &MetaState) -> BTreeMap<u64, usize> {
    let mut led = BTreeMap::new();
    for leader in state.shards.values().filter_map(|s| s.replicas.first()) {
        *led.entry(leader.store).or_default() += 1;
    }
    led
}

/// Replicas that the stores can still take, the meta group's own replica on each set aside.
#[must_use]
pub fn room(state: &MetaState) -> usize {
    let held = state.shards.values().map(|s| s.replicas.len()).sum::<usize>();
    let kept = state.stores.values().filter(|store| !store.is_draining);
    kept.map(|store| (store.report.groups_max as usize).saturating_sub(1)).sum::<usize>().saturating_sub(held)
}

/// Chooses stores for one new shard: zones not yet used first, then the least loaded store, then the lowest id.
/// The first store chosen is the preferred leader and is the one that leads least. O(stores log stores).
#[must_use]
pub fn choose_stores(state: &MetaState, replicas: usize) -> Vec<u64> {
    let candidates: BTreeSet<u64> = state.stores.values().filter(|s| !s.is_draining).map(|s| s.store_id).collect();
    let mut chosen = choose_more(state, &candidates, &[], replicas);
    let led = led(state);
    let count = |store: u64| led.get(&store).copied().unwrap_or(0);
    if let Some(leader) = (0..chosen.len()).min_by_key(|i| (count(chosen[*i]), chosen[*i])) {
        chosen.swap(0, leader);
    }
    chosen
}

/// Chooses up to `count` of `candidates` to hold replicas beside those of `beside`, by the same rules; fewer if there are no more.
#[must_use]
pub fn choose_more(state: &MetaState, candidates: &BTreeSet<u64>, beside: &[u64], count: usize) -> Vec<u64> {
    let mut held: BTreeMap<u64, usize> = BTreeMap::new();
    for replica in state.shards.values().flat_map(|s| &s.replicas) {
        *held.entry(replica.store).or_default() += 1;
    }
    let mut zones: BTreeMap<&str, usize> = BTreeMap::new();
    for store in beside.iter().filter_map(|id| state.stores.get(id)) {
        *zones.entry(&store.report.zone).or_default() += 1;
    }
    let mut left: Vec<&StoreRecord> = candidates.iter().filter(|id| !beside.contains(id)).filter_map(|id| state.stores.get(id)).collect();
    let mut chosen: Vec<u64> = Vec::new();
    while chosen.len() < count {
        let load = |s: &StoreRecord| held.get(&s.store_id).copied().unwrap_or(0);
        let best =
            left.iter().enumerate().min_by_key(|(_, s)| (zones.get(s.report.zone.as_str()).copied().unwrap_or(0), load(s), s.store_id));
        let Some((i, _)) = best else { break };
        let store = left.remove(i);
        *zones.entry(&store.report.zone).or_default() += 1;
        chosen.push(store.store_id);
    }
    chosen
}

/// Gives ids to new replicas.
pub fn allocate_replicas(state: &mut MetaState, stores: &[u64]) -> Vec<ReplicaRecord> {
    stores
        .iter()
        .map(|store| {
            let replica = state.next_replica;
            state.next_replica += 1;
            ReplicaRecord { replica, store: *store, role: ReplicaRole::Voter, is_lost: false }
        })
        .collect()
}
