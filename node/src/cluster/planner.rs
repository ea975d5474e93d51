//! Which changes of replicas the cluster needs next: a pure function of the meta state and of which stores are silent.
//!
//! Asked by the leader of the meta group; what it answers is decided by [`crate::meta::apply`] and carried out by [`super::mover`].

use crate::meta::placement::{choose_more, kept_stores, meta_replication_target, replication_target};
use crate::meta::state::{ChangeReason, MetaState, ReplicaRecord, ReplicaRole, ShardRecord};
use model::{ShardId, StoreId};
use std::collections::{BTreeMap, BTreeSet};

/// Changes under way in the whole cluster at most: each copies a shard.
pub const CHANGES_MAX: usize = 4;
/// Replicas under way to one store at most.
const ARRIVALS_MAX: usize = 2;

/// A change that should begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Which shard; 0 is the meta group.
    pub shard: u64,
    /// The version of its replicas on which this was decided.
    pub conf_ver: u64,
    /// Stores that get a replica.
    pub add: Vec<u64>,
    /// Replicas that go.
    pub remove: Vec<u64>,
    /// Why.
    pub reason: ChangeReason,
}

/// What can take replicas now, and how much is on its way.
struct Room<'a> {
    state: &'a MetaState,
    /// Stores that answer and are not being drained.
    ready: BTreeSet<u64>,
    arriving: BTreeMap<u64, usize>,
    changes: usize,
}

/// The changes to begin now: first what restores safety, then what was asked for, then what balances. `silent` are the stores that have
/// not answered for so long that they are to be replaced. O(shards × stores).
#[must_use]
pub fn plan(state: &MetaState, silent: &BTreeSet<u64>) -> Vec<Wanted> {
    let ready = state.stores.values().filter(|s| !s.is_draining && !silent.contains(&s.store_id)).map(|s| s.store_id).collect();
    let mut room = Room { state, ready, arriving: BTreeMap::new(), changes: state.changes.len() };
    for change in state.changes.values() {
        let replicas = state.record(ShardId(change.shard)).map_or(&[][..], |record| &record.replicas);
        for replica in replicas.iter().filter(|r| change.add.contains(&r.replica)) {
            *room.arriving.entry(replica.store).or_default() += 1;
        }
    }
    let mut wanted: Vec<Wanted> =
        state.records().filter(|r| is_free(state, r)).filter_map(|record| repair(&room, silent, record)).collect();
    wanted.sort_by_key(|w| (urgency(w.reason), w.shard));
    wanted.retain(|w| room.take(&w.add));
    if wanted.is_empty() && state.changes.is_empty() {
        wanted.extend(balance(&room));
    }
    wanted
}

fn is_free(state: &MetaState, record: &ShardRecord) -> bool {
    !state.changes.contains_key(&record.shard)
}

fn urgency(reason: ChangeReason) -> u8 {
    match reason {
        ChangeReason::Lost => 0,
        ChangeReason::Dead => 1,
        ChangeReason::Replication => 2,
        ChangeReason::Asked | ChangeReason::Drain => 3,
        ChangeReason::Zone | ChangeReason::Balance => 4,
    }
}

impl Room<'_> {
    /// Counts a change that brings replicas to `stores`, if there is room for it.
    fn take(&mut self, stores: &[u64]) -> bool {
        let is_full = |store: &u64| self.arriving.get(store).is_some_and(|n| *n >= ARRIVALS_MAX);
        if self.changes >= CHANGES_MAX || stores.iter().any(is_full) {
            return false;
        }
        self.changes += 1;
        stores.iter().for_each(|store| *self.arriving.entry(*store).or_default() += 1);
        true
    }

    fn zone(&self, store: u64) -> &str {
        self.state.stores.get(&store).map_or("", |s| s.report.zone.as_str())
    }
}

/// What a shard lacks: replicas where they are safe, in the number that the cluster is for.
fn repair(room: &Room<'_>, silent: &BTreeSet<u64>, record: &ShardRecord) -> Option<Wanted> {
    let voters: Vec<&ReplicaRecord> = record.replicas.iter().filter(|r| r.role == ReplicaRole::Voter).collect();
    let (keep, leave): (Vec<&ReplicaRecord>, Vec<&ReplicaRecord>) =
        voters.iter().partition(|r| !r.is_lost && !silent.contains(&r.store) && !room.state.is_draining(StoreId(r.store)));
    let answering = voters.iter().filter(|r| !r.is_lost && !silent.contains(&r.store)).count();
    if answering * 2 <= voters.len() {
        // Nobody can change a group that has no majority: it waits for its replicas.
        return None;
    }
    let beside: Vec<u64> = keep.iter().map(|r| r.store).collect();
    let mut target = target_of(room.state, record);
    let mut more = choose_more(room.state, &room.ready, &beside, target.saturating_sub(keep.len()));
    let found = keep.len() + more.len();
    if found < target && found >= 3 && leave.iter().any(|r| room.state.is_draining(StoreId(r.store))) {
        // A store that is silent keeps nobody from draining another: three are safe enough until it is back.
        target = 3;
        more.truncate(target.saturating_sub(keep.len()));
    }
    let reason = reason(silent, &leave, voters.len(), target);
    let wanted = |add: Vec<u64>, remove: Vec<u64>, reason| {
        let changes = !add.is_empty() || !remove.is_empty();
        changes.then(|| Wanted::of(record, add, remove, reason))
    };
    if keep.len() > target {
        // The preferred leader comes first in the record and stays.
        let stay = spread(room, &keep);
        let stays = |r: &ReplicaRecord| stay.iter().take(target).any(|s| s.replica == r.replica);
        let remove = voters.iter().filter(|r| !stays(r)).map(|r| r.replica).collect();
        return wanted(Vec::new(), remove, ChangeReason::Replication);
    }
    if keep.len() + more.len() == target {
        return match leave.is_empty() && more.is_empty() {
            true => spread_zones(room, record, &keep),
            false => wanted(more, leave.iter().map(|r| r.replica).collect(), reason),
        };
    }
    // Too few stores answer for the whole target: replace what can be replaced, one for one.
    let replaced: Vec<u64> = leave.iter().take(more.len()).map(|r| r.replica).collect();
    let more: Vec<u64> = more.into_iter().take(replaced.len()).collect();
    wanted(more, replaced, reason)
}

/// Replicas that a shard should have.
#[must_use]
pub fn target_of(state: &MetaState, record: &ShardRecord) -> usize {
    let stores = kept_stores(state);
    if record.shard == ShardId::META.0 { meta_replication_target(stores) } else { replication_target(stores) }
}

fn reason(silent: &BTreeSet<u64>, leave: &[&ReplicaRecord], voters: usize, target: usize) -> ChangeReason {
    if leave.iter().any(|r| r.is_lost) {
        ChangeReason::Lost
    } else if leave.iter().any(|r| silent.contains(&r.store)) {
        ChangeReason::Dead
    } else if voters != target {
        ChangeReason::Replication
    } else {
        ChangeReason::Drain
    }
}

/// The replicas, each of a zone that those before it do not cover as long as there is one.
fn spread<'r>(room: &Room<'_>, replicas: &[&'r ReplicaRecord]) -> Vec<&'r ReplicaRecord> {
    let mut left = replicas.to_vec();
    let mut zones: BTreeMap<&str, usize> = BTreeMap::new();
    let mut ordered = Vec::with_capacity(left.len());
    while !left.is_empty() {
        let best = (0..left.len()).min_by_key(|i| left.get(*i).map(|r| zones.get(room.zone(r.store)).copied().unwrap_or(0))).unwrap_or(0);
        let replica = left.remove(best);
        *zones.entry(room.zone(replica.store)).or_default() += 1;
        ordered.push(replica);
    }
    ordered
}

/// Moves one of two replicas that share a zone to a zone that has none.
fn spread_zones(room: &Room<'_>, record: &ShardRecord, replicas: &[&ReplicaRecord]) -> Option<Wanted> {
    let ordered = spread(room, replicas);
    let last = ordered.last().filter(|_| ordered.len() > 1)?;
    let others: Vec<u64> = ordered.iter().filter(|r| r.replica != last.replica).map(|r| r.store).collect();
    let shares = |store: u64| others.iter().any(|other| room.zone(*other) == room.zone(store));
    if !shares(last.store) {
        return None;
    }
    let free: BTreeSet<u64> = room.ready.iter().copied().filter(|store| !shares(*store)).collect();
    let beside: Vec<u64> = replicas.iter().map(|r| r.store).collect();
    let add = choose_more(room.state, &free, &beside, 1);
    (!add.is_empty()).then(|| Wanted::of(record, add, vec![last.replica], ChangeReason::Zone))
}

impl Wanted {
    fn of(record: &ShardRecord, add: Vec<u64>, remove: Vec<u64>, reason: ChangeReason) -> Self {
        Self { shard: record.shard, conf_ver: record.conf_ver, add, remove, reason }
    }
}

/// One replica from the store that holds most to the one that holds least, if they differ by two or more and no zone suffers.
fn balance(room: &Room<'_>) -> Option<Wanted> {
    let mut held: BTreeMap<u64, usize> = room.ready.iter().map(|store| (*store, 0)).collect();
    for replica in room.state.shards.values().flat_map(|s| &s.replicas) {
        if let Some(count) = held.get_mut(&replica.store) {
            *count += 1;
        }
    }
    let (most, most_held) = held.iter().max_by_key(|(store, count)| (**count, std::cmp::Reverse(**store)))?;
    let (least, least_held) = held.iter().min_by_key(|(store, count)| (**count, **store))?;
    if most_held - least_held < 2 {
        return None;
    }
    let fits = |record: &&ShardRecord| {
        let others = record.replicas.iter().filter(|r| r.store != *most);
        record.replicas.iter().any(|r| r.store == *most)
            && others.clone().all(|r| r.store != *least)
            && (room.zone(*most) == room.zone(*least) || others.clone().all(|r| room.zone(r.store) != room.zone(*least)))
    };
    // One that is led elsewhere moves without a change of leader.
    let leads = |record: &&ShardRecord| record.replicas.first().is_some_and(|r| r.store == *most);
    let record = room.state.shards.values().filter(fits).min_by_key(|record| (leads(record), record.shard))?;
    let replica = record.replicas.iter().find(|r| r.store == *most)?;
    Some(Wanted::of(record, vec![*least], vec![replica.replica], ChangeReason::Balance))
}

#[cfg(test)]
mod tests;
