//! Changes of replicas and stores: what may begin, and what is left when it ends.

use crate::meta::command::MetaResponse;
use crate::meta::placement;
use crate::meta::state::{ChangeReason, MetaState, ReplicaChange, ReplicaRecord, ReplicaRole};
use model::ShardId;
use std::collections::{BTreeMap, BTreeSet};

/// What is asked of [`MetaState::begin_change`].
pub(super) struct Begin {
    pub(super) shard: u64,
    pub(super) conf_ver: u64,
    pub(super) add: Vec<u64>,
    pub(super) remove: Vec<u64>,
    pub(super) reason: ChangeReason,
    pub(super) now_ms: i64,
}

impl MetaState {
    pub(super) fn begin_change(&mut self, begin: Begin) -> MetaResponse {
        let Begin { shard, conf_ver, add, remove, reason, now_ms } = begin;
        let id = shard.to_string();
        let Some(record) = self.record(ShardId(shard)) else { return MetaResponse::NotFound { id } };
        if record.conf_ver != conf_ver {
            return MetaResponse::Conflict { id, reason: format!("its replicas have changed: version {} now", record.conf_ver) };
        }
        if let Some(change) = self.changes.get(&shard) {
            return MetaResponse::Conflict { id, reason: format!("a change is under way since {} ms", change.began_ms) };
        }
        let goes = |replica: u64| remove.contains(&replica);
        if let Some(stray) = remove.iter().find(|replica| record.replicas.iter().all(|r| r.replica != **replica)) {
            return MetaResponse::Conflict { id, reason: format!("replica {stray} is none of it") };
        }
        let stays = record.replicas.iter().filter(|r| !goes(r.replica)).count();
        if add.is_empty() && remove.is_empty() || (stays + add.len()).is_multiple_of(2) {
            return MetaResponse::Conflict { id, reason: format!("{} replicas would be left: an odd number is needed", stays + add.len()) };
        }
        for (n, store) in add.iter().enumerate() {
            let holds = |r: &ReplicaRecord| r.store == *store && !(r.is_lost && goes(r.replica));
            if record.replicas.iter().any(holds) || add.get(..n).is_some_and(|before| before.contains(store)) {
                return MetaResponse::Conflict { id, reason: format!("store {store} holds a replica already") };
            }
            let groups_max = match self.stores.get(store) {
                None => return MetaResponse::NotFound { id: format!("store {store}") },
                Some(store) if store.is_draining => {
                    return MetaResponse::Conflict { id, reason: format!("store {} is being drained", store.store_id) };
                }
                Some(store) => store.report.groups_max,
            };
            if placement::held(self, *store) >= groups_max as usize {
                let reason = format!("it takes part in at most {groups_max} groups");
                return MetaResponse::Full { id: format!("store {store}"), reason };
            }
        }
        let mut added = placement::allocate_replicas(self, &add);
        added.iter_mut().for_each(|replica| replica.role = ReplicaRole::Learner);
        let change =
            ReplicaChange { shard, add: added.iter().map(|r| r.replica).collect(), remove, reason, began_ms: now_ms, is_cancelled: false };
        if let Some(record) = self.record_mut(shard) {
            record.replicas.extend(added);
            record.conf_ver += 1;
        }
        self.changes.insert(shard, change.clone());
        self.revision += 1;
        MetaResponse::Change { change }
    }

    pub(super) fn cancel_change(&mut self, shard: u64) -> MetaResponse {
        let Some(change) = self.changes.get_mut(&shard) else { return MetaResponse::NotFound { id: shard.to_string() } };
        if !change.is_cancelled {
            change.is_cancelled = true;
            self.revision += 1;
        }
        MetaResponse::Change { change: change.clone() }
    }

    pub(super) fn finish_change(&mut self, shard: u64, voters: &BTreeSet<u64>) -> MetaResponse {
        let Some(change) = self.changes.get(&shard) else { return MetaResponse::NotFound { id: shard.to_string() } };
        let Some(record) = self.record(ShardId(shard)) else { return MetaResponse::NotFound { id: shard.to_string() } };
        let before: BTreeSet<u64> = record.replicas.iter().filter(|r| r.role == ReplicaRole::Voter).map(|r| r.replica).collect();
        let mut after: BTreeSet<u64> = before.iter().filter(|replica| !change.remove.contains(replica)).copied().collect();
        after.extend(&change.add);
        if *voters != after && !(change.is_cancelled && *voters == before) {
            return MetaResponse::Conflict { id: shard.to_string(), reason: "its voters are not what the change asks for".to_owned() };
        }
        let led = placement::led(self);
        self.changes.remove(&shard);
        self.revision += 1;
        if let Some(record) = self.record_mut(shard) {
            let leader = record.replicas.first().map(|r| r.replica);
            record.replicas.retain(|r| voters.contains(&r.replica));
            record.replicas.iter_mut().for_each(|r| r.role = ReplicaRole::Voter);
            record.conf_ver += 1;
            let count = |r: &ReplicaRecord| (led.get(&r.store).copied().unwrap_or(0), r.store);
            let least = (0..record.replicas.len()).min_by_key(|i| record.replicas.get(*i).map(count));
            if let Some(least) = least.filter(|_| record.replicas.first().map(|r| r.replica) != leader) {
                record.replicas.swap(0, least);
            }
        }
        MetaResponse::Done
    }

    pub(super) fn mark_lost(&mut self, shard: u64, replica: u64) -> MetaResponse {
        let found = self.record_mut(shard).and_then(|record| record.replicas.iter_mut().find(|r| r.replica == replica));
        let Some(found) = found else { return MetaResponse::NotFound { id: replica.to_string() } };
        if !found.is_lost {
            found.is_lost = true;
            self.revision += 1;
        }
        MetaResponse::Done
    }

    pub(super) fn prefer_leader(&mut self, shard: u64, store: u64) -> MetaResponse {
        let Some(record) = self.shards.get_mut(&shard) else { return MetaResponse::NotFound { id: shard.to_string() } };
        let place = record.replicas.iter().position(|r| r.store == store && r.role == ReplicaRole::Voter);
        let Some(place) = place else {
            return MetaResponse::Conflict { id: shard.to_string(), reason: format!("store {store} holds no voting replica of it") };
        };
        if place > 0 {
            record.replicas.swap(0, place);
            self.revision += 1;
        }
        MetaResponse::Done
    }

    pub(super) fn set_draining(&mut self, store_id: u64, is_draining: bool) -> MetaResponse {
        let id = store_id.to_string();
        let others: BTreeMap<u64, bool> = self.stores.values().map(|s| (s.store_id, s.is_draining)).collect();
        let Some(store) = self.stores.get_mut(&store_id) else { return MetaResponse::NotFound { id } };
        if is_draining && others.iter().all(|(other, draining)| *other == store_id || *draining) {
            return MetaResponse::Conflict { id, reason: "no other store is left to take what it holds".to_owned() };
        }
        if store.is_draining != is_draining {
            store.is_draining = is_draining;
            self.revision += 1;
        }
        MetaResponse::Store { store: store.clone() }
    }

    pub(super) fn remove_store(&mut self, store_id: u64) -> MetaResponse {
        let id = store_id.to_string();
        let Some(store) = self.stores.get(&store_id) else { return MetaResponse::NotFound { id } };
        let held = placement::held(self, store_id);
        if held > 0 {
            return MetaResponse::Conflict { id, reason: format!("it still holds {held} replicas: drain it first") };
        }
        self.removed_stores.insert(store_id, store.report.incarnation.clone());
        self.stores.remove(&store_id);
        self.revision += 1;
        MetaResponse::Done
    }
}
