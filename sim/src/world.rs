//! What has been seen of all logs: every write of every replica, as it is now and as a power cut would leave it.

use model::{LogPoint, ReplicaId, ShardId, StoreId};
use raft::LogOp;
use raft::StateTag;
use raft::testing::{Content, Decoder, VoteOf};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use xxhash_rust::xxh3::xxh3_64;

/// One entry, without its payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntrySeen {
    /// Its place.
    pub point: LogPoint,
    /// Hash of its content.
    pub hash: u64,
    /// The sets of voters that it brings.
    pub voters: Option<Vec<BTreeSet<ReplicaId>>>,
}

/// One replica's log.
#[derive(Clone, Debug, Default)]
pub struct Rows {
    /// Entries by index.
    pub entries: BTreeMap<u64, EntrySeen>,
    /// Its vote.
    pub vote: Option<VoteOf>,
    /// The last purged entry.
    pub purged: Option<LogPoint>,
}

impl Rows {
    /// The term of the entry at `index`, if it is in the log or the last purged one.
    #[must_use]
    pub fn term_at(&self, index: u64) -> Option<u64> {
        let purged = self.purged.filter(|purged| purged.index == index).map(|purged| purged.term);
        self.entries.get(&index).map(|entry| entry.point.term).or(purged)
    }

    /// Whether the entry was stored here: it is there, or purged.
    #[must_use]
    pub fn holds(&self, point: LogPoint) -> bool {
        self.purged.is_some_and(|purged| purged.index >= point.index) || self.entries.get(&point.index).is_some_and(|e| e.point == point)
    }

    /// Index of the last entry.
    #[must_use]
    pub fn last(&self) -> Option<u64> {
        self.entries.keys().next_back().copied().max(self.purged.map(|purged| purged.index))
    }

    fn apply(&mut self, change: &Change) {
        match change {
            Change::Put(entry) => {
                self.entries.insert(entry.point.index, entry.clone());
            }
            Change::Truncate(index) => drop(self.entries.split_off(index)),
            Change::Purge(index) => self.entries = self.entries.split_off(&(index + 1)),
            Change::Vote(vote) => self.vote = *vote,
            Change::Purged(point) => self.purged = *point,
            Change::Committed => {}
            Change::Destroy => *self = Self::default(),
        }
    }
}

/// One decoded write.
#[derive(Clone, Debug)]
pub enum Change {
    /// An entry was stored.
    Put(EntrySeen),
    /// Entries at and after the index were removed.
    Truncate(u64),
    /// Entries at and before the index were removed.
    Purge(u64),
    /// A vote was stored.
    Vote(Option<VoteOf>),
    /// The purged point was stored.
    Purged(Option<LogPoint>),
    /// The committed point was stored.
    Committed,
    /// Everything was removed.
    Destroy,
}

/// One replica's log, now and durably.
#[derive(Clone, Debug, Default)]
pub struct ReplicaSeen {
    /// As it is now.
    pub live: Rows,
    /// As a power cut would leave it at least.
    pub durable: Rows,
    /// The newest synced checkpoint.
    pub checkpoint: Option<LogPoint>,
}

/// A store's disk.
#[derive(Clone, Debug, Default)]
pub struct StoreSeen {
    /// Replicas that have left something here.
    pub replicas: BTreeMap<ReplicaId, ReplicaSeen>,
    unsynced: Vec<Vec<(ReplicaId, Change)>>,
}

/// All disks.
#[derive(Clone, Debug, Default)]
pub struct World {
    /// By store.
    pub stores: BTreeMap<StoreId, StoreSeen>,
    /// Which group a replica belongs to.
    pub groups: BTreeMap<ReplicaId, ShardId>,
    /// Where it is.
    pub homes: BTreeMap<ReplicaId, StoreId>,
}

impl World {
    /// Takes note of a replica before it writes anything.
    pub fn register(&mut self, replica: ReplicaId, shard: ShardId, store: StoreId) {
        self.groups.insert(replica, shard);
        self.homes.insert(replica, store);
    }

    /// The group of a replica; replicas are registered before they write.
    #[must_use]
    pub fn group_of(&self, replica: ReplicaId) -> ShardId {
        self.groups.get(&replica).copied().unwrap_or_default()
    }

    /// What was seen of a replica's log.
    #[must_use]
    pub fn replica(&self, replica: ReplicaId) -> Option<&ReplicaSeen> {
        self.stores.get(self.homes.get(&replica)?)?.replicas.get(&replica)
    }

    /// The same, to be changed.
    pub fn replica_mut(&mut self, replica: ReplicaId) -> Option<&mut ReplicaSeen> {
        let home = self.homes.get(&replica)?;
        Some(self.stores.entry(*home).or_default().replicas.entry(replica).or_default())
    }

    /// Decodes what a store writes.
    ///
    /// # Errors
    /// A value does not decode.
    pub fn decode(&self, ops: &[LogOp]) -> io::Result<Vec<(ReplicaId, Change)>> {
        ops.iter().map(|op| self.decode_one(op)).collect()
    }

    fn decode_one(&self, op: &LogOp) -> io::Result<(ReplicaId, Change)> {
        let decoder = |replica| Decoder::new(self.group_of(replica), replica);
        Ok(match op {
            LogOp::PutEntry { replica, index, value } => {
                let (point, content) = decoder(*replica).entry(*index, value)?;
                let (hash, voters) = match content {
                    Content::Blank => (0, None),
                    Content::Payload(payload) => (xxh3_64(&payload) | 1, None),
                    Content::Voters(voters) => (xxh3_64(format!("{voters:?}").as_bytes()), Some(voters)),
                };
                (*replica, Change::Put(EntrySeen { point, hash, voters }))
            }
            LogOp::Truncate { replica, index } => (*replica, Change::Truncate(*index)),
            LogOp::Purge { replica, index } => (*replica, Change::Purge(*index)),
            LogOp::PutState { replica, tag: StateTag::Vote, value } => (*replica, Change::Vote(decoder(*replica).vote(value)?)),
            LogOp::PutState { replica, tag: StateTag::Purged, value } => {
                (*replica, Change::Purged(decoder(*replica).point(StateTag::Purged, value)?))
            }
            LogOp::PutState { replica, tag: StateTag::Committed, .. } => (*replica, Change::Committed),
            LogOp::Destroy { replica } => (*replica, Change::Destroy),
        })
    }

    /// A replica's log has changed.
    pub fn changed(&mut self, store: StoreId, replica: ReplicaId, change: &Change) {
        self.stores.entry(store).or_default().replicas.entry(replica).or_default().live.apply(change);
    }

    /// These changes were one batch, not yet synced.
    pub fn written(&mut self, store: StoreId, changes: Vec<(ReplicaId, Change)>) {
        self.stores.entry(store).or_default().unsynced.push(changes);
    }

    /// A store has synced all it wrote.
    pub fn synced(&mut self, store: StoreId) {
        let seen = self.stores.entry(store).or_default();
        for (replica, change) in std::mem::take(&mut seen.unsynced).iter().flatten() {
            seen.replicas.entry(*replica).or_default().durable.apply(change);
        }
    }

    /// A store's power was cut; the first `kept` of its unsynced batches survived.
    pub fn crashed(&mut self, store: StoreId, kept: usize) {
        let seen = self.stores.entry(store).or_default();
        for (replica, change) in std::mem::take(&mut seen.unsynced).iter().take(kept).flatten() {
            seen.replicas.entry(*replica).or_default().durable.apply(change);
        }
        for replica in seen.replicas.values_mut() {
            replica.live = replica.durable.clone();
        }
    }
}
