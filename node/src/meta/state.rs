//! What the meta group knows.

use model::generation::{Generation, GenerationError, GenerationList};
use model::{ReplicaId, ShardId, StoreId};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// The replica ids of the meta group are the founders' store ids; all others begin here.
pub const FIRST_ALLOCATED_REPLICA: u64 = 1024;

/// The whole state. Maps are ordered: replicas must agree on every byte.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MetaState {
    /// Counts the commands that changed something.
    pub revision: u64,
    /// Set by the first meta command.
    pub cluster_id: Option<String>,
    /// The feature level of the cluster: what all of its binaries can, and from which on none goes back.
    pub level: u32,
    /// Known stores by id.
    pub stores: BTreeMap<u64, StoreRecord>,
    /// Workspaces by id.
    pub workspaces: BTreeMap<String, WorkspaceRecord>,
    /// Shards of all workspaces by id.
    pub shards: BTreeMap<u64, ShardRecord>,
    /// The replicas of the meta group itself, once the cluster is founded.
    pub group: Option<ShardRecord>,
    /// Changes of replicas under way, by shard: at most one each.
    pub changes: BTreeMap<u64, ReplicaChange>,
    /// Disks of stores that were removed, by store id: they cannot come back.
    pub removed_stores: BTreeMap<u64, String>,
    /// How often the loss of a majority was accepted, and what it cost: kept for ever.
    pub recoveries: Vec<Recovery>,
    /// The next shard id; 0 is the meta group.
    pub next_shard: u64,
    /// The next replica id.
    pub next_replica: u64,
    /// The next store id.
    pub next_store: u64,
    /// Client tokens of `CreateWorkspace` and what they made.
    pub tokens: BTreeMap<String, TokenRecord>,
}

/// A store: one data directory of one node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StoreRecord {
    /// Its id.
    pub store_id: u64,
    /// What its node told of it last.
    #[serde(flatten)]
    pub report: StoreReport,
    /// The clock it reported last, 0 before the first report.
    pub reported_ms: i64,
    /// Whether it is to be emptied: replicas and leaders go elsewhere, and none come.
    pub is_draining: bool,
    /// Batches of its log that were synced, as it reported last: an image of its disk with fewer is an old one. Not written before the
    /// cluster's level is [`LEVEL_SYNCED`](super::LEVEL_SYNCED).
    #[serde(default, skip_serializing_if = "is_zero")]
    pub synced: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
const fn is_zero(value: &u64) -> bool {
    *value == 0
}

/// What a node tells of its store when it makes it known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoreReport {
    /// Names the disk.
    pub incarnation: String,
    /// `--node-name`.
    pub name: String,
    /// `--zone`.
    pub zone: String,
    /// Where other nodes reach it.
    pub rpc_address: String,
    /// Where users reach it.
    pub http_address: String,
    /// The feature level of its binary.
    pub level: u32,
    /// Groups that it takes part in at most.
    pub groups_max: u32,
}

impl StoreReport {
    /// The record of a store that was just made known.
    pub(super) const fn record(self, store_id: u64) -> StoreRecord {
        StoreRecord { store_id, report: self, reported_ms: 0, is_draining: false, synced: 0 }
    }
}

/// A workspace.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkspaceRecord {
    /// `default`, `system` or `ws-<uuid>`.
    pub id: String,
    /// Free text, for people.
    pub alias: Option<String>,
    /// When it was created.
    pub created_ms: i64,
    /// Key of the placement hash and of series identities.
    pub placement_key: u64,
    /// Data key under which all replicas seal its values, wrapped by the key of the key file; none if the cluster does not encrypt.
    pub wrapped_key: Option<String>,
    /// The shard map, ordered by `from_ms`: what is decided of it.
    pub generations: Vec<GenerationRecord>,
    /// The generation that is to come, until it is decided.
    pub pending: Option<PendingGeneration>,
    /// All revisions of the map up to this one are decided: what stands in `generations` holds, everything else was aborted.
    pub decided_rev: u64,
    /// Limits in force.
    pub limits: Limits,
    /// Names and values given by the user.
    pub tags: BTreeMap<String, String>,
}

/// One generation of a shard map.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GenerationRecord {
    /// Its number, from 1.
    pub generation: u64,
    /// Revision of the map in which it came.
    pub rev: u64,
    /// First millisecond it covers.
    pub from_ms: i64,
    /// Its shards, in jump-hash order.
    pub shards: Vec<u64>,
}

/// A generation that waits until every shard has stopped taking what it puts elsewhere (`core.md` C8).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PendingGeneration {
    /// What holds once it is decided.
    pub generation: GenerationRecord,
    /// Cluster time at which it is given up.
    pub decide_by_ms: i64,
    /// The shards that have stopped, of those in the newest generation.
    pub accepted: BTreeSet<u64>,
    /// Why.
    pub reason: ScaleReason,
    /// Cluster time of its beginning.
    pub began_ms: i64,
}

/// Why a workspace gets more or fewer shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScaleReason {
    /// An operator asked for it.
    Asked,
    /// Its shards take more, or much less, than they are for.
    Load,
}

/// A workspace's limits, enforced by its shards.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Grows with each change.
    pub version: u64,
    /// How far behind a series' newest sample a write may be.
    pub out_of_order_window_ms: i64,
    /// How far behind cluster time a series' newest sample may be.
    pub late_window_ms: i64,
    /// Age after which samples are deleted.
    pub retention_ms: i64,
    /// Exemplars that each shard keeps.
    pub exemplars_max: u32,
}

/// A shard and where its replicas are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShardRecord {
    /// Its id.
    pub shard: u64,
    /// Whose it is.
    pub workspace: String,
    /// Its replicas; the first is the preferred leader.
    pub replicas: Vec<ReplicaRecord>,
    /// Counts the changes of `replicas`, from 1.
    pub conf_ver: u64,
}

/// One replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReplicaRecord {
    /// Its id, never reused.
    pub replica: u64,
    /// Where it is.
    pub store: u64,
    /// What it is.
    pub role: ReplicaRole,
    /// Whether what it had stored is lost, as its node tells: it is replaced under another id.
    pub is_lost: bool,
}

/// A change of one shard's replicas, from its decision until the group's membership is what it asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReplicaChange {
    /// Which shard; 0 is the meta group.
    pub shard: u64,
    /// Replicas that become voters; until then the shard's record has them as learners.
    pub add: Vec<u64>,
    /// Replicas that go.
    pub remove: Vec<u64>,
    /// Why.
    pub reason: ChangeReason,
    /// Cluster time of the decision.
    pub began_ms: i64,
    /// Whether it is to be undone: what was added goes again, unless the group has taken it as a voter already.
    pub is_cancelled: bool,
}

/// Why replicas change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeReason {
    /// An operator asked for it.
    Asked,
    /// The store is being drained.
    Drain,
    /// The store has been silent for too long.
    Dead,
    /// What the replica had stored is lost.
    Lost,
    /// The cluster has more or fewer stores than the shard's replicas are for.
    Replication,
    /// Two replicas share a zone although another zone has room.
    Zone,
    /// The store holds more replicas than others.
    Balance,
}

/// The part a replica plays in its group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReplicaRole {
    /// Counts for majorities.
    Voter,
    /// Only follows.
    Learner,
}

/// One acceptance of the loss of a majority.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recovery {
    /// The store that was left.
    pub survivor: u64,
    /// The stores that were given up.
    pub lost_stores: Vec<u64>,
    /// Shards of which nothing was left.
    pub empty_shards: Vec<u64>,
    /// When, by the survivor's clock.
    pub at_ms: i64,
}

/// What a client token made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenRecord {
    /// The workspace it created.
    pub workspace: String,
    /// When.
    pub created_ms: i64,
}

impl MetaState {
    /// The highest time that a majority of the known stores have reported, if any has.
    #[must_use]
    pub fn confirmed_ms(&self) -> Option<i64> {
        let mut reported: Vec<i64> = self.stores.values().map(|s| s.reported_ms).collect();
        reported.sort_unstable_by(|a, b| b.cmp(a));
        reported.get(reported.len() / 2).copied().filter(|ms| *ms > 0)
    }

    /// The record of a shard or, by [`ShardId::META`], of the meta group.
    #[must_use]
    pub fn record(&self, shard: ShardId) -> Option<&ShardRecord> {
        if shard == ShardId::META { self.group.as_ref() } else { self.shards.get(&shard.0) }
    }

    /// The same, to be changed.
    pub(super) fn record_mut(&mut self, shard: u64) -> Option<&mut ShardRecord> {
        if shard == ShardId::META.0 { self.group.as_mut() } else { self.shards.get_mut(&shard) }
    }

    /// The records of the meta group and of all shards.
    pub fn records(&self) -> impl Iterator<Item = &ShardRecord> {
        self.group.iter().chain(self.shards.values())
    }

    /// The replica of `shard` on `store`; of a lost one and its successor, the successor.
    #[must_use]
    pub fn replica_on(&self, shard: ShardId, store: StoreId) -> Option<ReplicaRecord> {
        self.record(shard)?.replicas.iter().filter(|r| r.store == store.0).min_by_key(|r| r.is_lost).copied()
    }

    /// Where `replica` of `shard` is.
    #[must_use]
    pub fn store_of(&self, shard: ShardId, replica: ReplicaId) -> Option<StoreId> {
        self.record(shard)?.replicas.iter().find(|r| r.replica == replica.0).map(|r| StoreId(r.store))
    }

    /// Whether nothing is to be put on `store` any more.
    #[must_use]
    pub fn is_draining(&self, store: StoreId) -> bool {
        self.stores.get(&store.0).is_some_and(|s| s.is_draining)
    }
}

impl ShardRecord {
    /// Stores of the replicas that count for majorities, the preferred leader first.
    pub fn voting_stores(&self) -> impl Iterator<Item = StoreId> {
        self.replicas.iter().filter(|r| r.role == ReplicaRole::Voter).map(|r| StoreId(r.store))
    }
}

impl WorkspaceRecord {
    /// The shard map in the form that routing uses.
    ///
    /// # Errors
    /// The record is no shard map: a broken invariant of the meta group.
    pub fn generation_list(&self) -> Result<GenerationList, GenerationError> {
        GenerationList::new(self.generations.iter().map(Generation::from).collect())
    }

    /// What `shard` is told first: the decided map, and the generation that it is opened for.
    #[must_use]
    pub fn first_map(&self, shard: u64) -> Vec<Generation> {
        let pending = self.pending.iter().map(|pending| &pending.generation).filter(|pending| pending.shards.contains(&shard));
        self.generations.iter().chain(pending).map(Generation::from).collect()
    }

    /// The shards of the newest decided generation: those that take samples now.
    #[must_use]
    pub fn current_shards(&self) -> &[u64] {
        self.generations.last().map_or(&[], |newest| &newest.shards)
    }
}

impl From<&GenerationRecord> for Generation {
    fn from(record: &GenerationRecord) -> Self {
        let GenerationRecord { generation, rev, from_ms, shards } = record;
        Self { generation: *generation, rev: *rev, from_ms: *from_ms, shards: shards.iter().copied().map(ShardId).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store(id: u64, reported_ms: i64) -> (u64, StoreRecord) {
        let mut record = crate::meta::testing::report(&id.to_string(), "").record(id);
        record.reported_ms = reported_ms;
        (id, record)
    }

    #[test]
    fn c5_time_is_confirmed_by_a_majority_of_stores() {
        let with = |times: &[i64]| {
            MetaState { stores: times.iter().enumerate().map(|(i, t)| store(i as u64, *t)).collect(), ..MetaState::default() }
                .confirmed_ms()
        };
        assert_eq!(with(&[]), None);
        assert_eq!(with(&[10, 0, 0]), None);
        assert_eq!(with(&[10, 20, 0]), Some(10));
        assert_eq!(with(&[10, i64::MAX, 20]), Some(20));
        assert_eq!(with(&[10]), Some(10));
        assert_eq!(with(&[10, 20]), Some(10));
    }
}
