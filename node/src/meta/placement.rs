//! Where the replicas of new shards go: a pure function of the state.

use super::state::{MetaState, ReplicaRecord, ReplicaRole, StoreRecord};
use model::limits::GROUPS_PER_NODE_MAX;
use std::collections::BTreeMap;

/// Replicas per shard for a cluster of so many stores: never 2, because two replicas survive nothing that one does not.
#[must_use]
pub fn replication_target(stores: usize) -> usize {
    if stores >= 3 { 3 } else { 1 }
}

/// Replicas that the stores can still take, the meta group's own replica on each set aside.
#[must_use]
pub fn room(state: &MetaState) -> usize {
    let held = state.shards.values().map(|s| s.replicas.len()).sum::<usize>();
    (state.stores.len() * (GROUPS_PER_NODE_MAX - 1)).saturating_sub(held)
}

/// Chooses stores for one new shard: zones not yet used first, then the least loaded store, then the lowest id.
/// The first store chosen is the preferred leader and is the one that leads least. O(stores log stores).
#[must_use]
pub fn choose_stores(state: &MetaState, replicas: usize) -> Vec<u64> {
    let mut held: BTreeMap<u64, usize> = BTreeMap::new();
    let mut led: BTreeMap<u64, usize> = BTreeMap::new();
    for shard in state.shards.values() {
        for (i, replica) in shard.replicas.iter().enumerate() {
            *held.entry(replica.store).or_default() += 1;
            *led.entry(replica.store).or_default() += usize::from(i == 0);
        }
    }
    let count = |map: &BTreeMap<u64, usize>, store: u64| map.get(&store).copied().unwrap_or(0);
    let mut left: Vec<&StoreRecord> = state.stores.values().collect();
    let mut zones: BTreeMap<&str, usize> = BTreeMap::new();
    let mut chosen: Vec<u64> = Vec::new();
    while chosen.len() < replicas {
        let best = left
            .iter()
            .enumerate()
            .min_by_key(|(_, s)| (zones.get(s.zone.as_str()).copied().unwrap_or(0), count(&held, s.store_id), s.store_id));
        let Some((i, _)) = best else { break };
        let store = left.remove(i);
        *zones.entry(&store.zone).or_default() += 1;
        chosen.push(store.store_id);
    }
    if let Some(leader) = (0..chosen.len()).min_by_key(|i| (count(&led, chosen[*i]), chosen[*i])) {
        chosen.swap(0, leader);
    }
    chosen
}

/// Gives ids to the replicas of a new shard.
pub fn allocate_replicas(state: &mut MetaState, stores: &[u64]) -> Vec<ReplicaRecord> {
    stores
        .iter()
        .map(|store| {
            let replica = state.next_replica;
            state.next_replica += 1;
            ReplicaRecord { replica, store: *store, role: ReplicaRole::Voter }
        })
        .collect()
}
