//! A store's log disk: forgets on a power cut what was not synced, takes its time, fails on demand, and tells the watcher all.

use crate::random::Random;
use crate::watch::{Event, Watch};
use bytes::Bytes;
use model::{ReplicaId, ShardId, StoreId};
use parking_lot::Mutex;
use raft::{LogEngine, LogLoss, LogOp, MemoryEngine, StateTag};
use std::sync::Arc;
use std::time::Duration;
use std::{fmt, io};

/// How long syncs take.
#[derive(Clone, Debug)]
struct Pace {
    random: Random,
    usual_ms: u64,
    /// While set, syncs take up to this long.
    slow_ms: Option<u64>,
}

/// The disk of one store's log.
#[derive(Debug)]
pub struct LogDisk {
    store: StoreId,
    watch: Watch,
    engine: Arc<MemoryEngine>,
    pace: Arc<Mutex<Pace>>,
    /// Tells the group of a replica that the watcher does not know yet.
    groups: Option<Groups>,
}

type GroupOf = dyn Fn(ReplicaId) -> ShardId + Send + Sync;

#[derive(Clone)]
struct Groups(Arc<GroupOf>);

impl fmt::Debug for Groups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Groups")
    }
}

impl LogDisk {
    /// An empty disk whose syncs take up to `usual_ms`.
    #[must_use]
    pub fn new(store: StoreId, watch: Watch, random: Random, usual_ms: u64) -> Arc<Self> {
        let pace = Pace { random, usual_ms, slow_ms: None };
        Arc::new(Self { store, watch, engine: MemoryEngine::new(), pace: Arc::new(Mutex::new(pace)), groups: None })
    }

    /// The same for a store whose replicas are not registered: `group_of` tells their groups.
    #[must_use]
    pub fn with_groups(self: Arc<Self>, group_of: impl Fn(ReplicaId) -> ShardId + Send + Sync + 'static) -> Arc<Self> {
        let (watch, engine, pace) = (self.watch.clone(), Arc::clone(&self.engine), Arc::clone(&self.pace));
        Arc::new(Self { store: self.store, watch, engine, pace, groups: Some(Groups(Arc::new(group_of))) })
    }

    /// Cuts the power: a random number of the batches that were not synced survive. Returns what the next start finds.
    #[must_use]
    pub fn crash(&self) -> Arc<Self> {
        let unsynced = self.engine.unsynced_count();
        let kept = {
            let mut pace = self.pace.lock();
            pace.slow_ms = None;
            usize::try_from(pace.random.within(0..=unsynced as u64)).unwrap_or(0)
        };
        let engine = self.engine.crash(kept);
        self.watch.with(|watcher| {
            watcher.world.crashed(self.store, kept);
            watcher.see(&Event::Crashed(self.store));
        });
        Arc::new(Self { store: self.store, watch: self.watch.clone(), engine, pace: Arc::clone(&self.pace), groups: self.groups.clone() })
    }

    /// Makes syncs take up to `slow_ms`; `None` makes them usual again.
    pub fn set_slow(&self, slow_ms: Option<u64>) {
        self.pace.lock().slow_ms = slow_ms;
    }

    /// The next write fails.
    pub fn fail_next_write(&self) {
        self.engine.fail_next_write();
    }

    /// How long the next sync takes.
    #[must_use]
    pub fn pause(&self) -> Duration {
        let mut pace = self.pace.lock();
        let most = pace.slow_ms.unwrap_or(pace.usual_ms) * 1000;
        Duration::from_micros(pace.random.within(0..=most))
    }
}

fn replica_of(op: &LogOp) -> ReplicaId {
    match op {
        LogOp::PutEntry { replica, .. }
        | LogOp::Truncate { replica, .. }
        | LogOp::Purge { replica, .. }
        | LogOp::PutState { replica, .. }
        | LogOp::Destroy { replica } => *replica,
    }
}

impl LogEngine for LogDisk {
    fn write(&self, ops: &[LogOp], sync: bool) -> io::Result<()> {
        self.engine.write(ops, sync)?;
        if let Some(Groups(group_of)) = &self.groups {
            let unknown: Vec<ReplicaId> = self.watch.with(|watcher| {
                let replicas = ops.iter().map(replica_of);
                replicas.filter(|replica| !watcher.world.groups.contains_key(replica)).collect()
            });
            for replica in unknown {
                let shard = group_of(replica);
                self.watch.with(|watcher| watcher.world.register(replica, shard, self.store));
            }
        }
        self.watch.with(|watcher| {
            if !ops.is_empty() {
                watcher.write(self.store, ops);
            } else if !sync {
                watcher.world.written(self.store, Vec::new());
            }
            if sync {
                watcher.world.synced(self.store);
                watcher.see(&Event::Synced(self.store));
            }
        });
        Ok(())
    }

    fn entries(&self, replica: ReplicaId, from: u64, to: u64, bytes_max: usize) -> io::Result<Vec<(u64, Bytes)>> {
        self.engine.entries(replica, from, to, bytes_max)
    }

    fn first_entry(&self, replica: ReplicaId) -> io::Result<Option<Bytes>> {
        self.engine.first_entry(replica)
    }

    fn last_index(&self, replica: ReplicaId) -> io::Result<Option<u64>> {
        self.engine.last_index(replica)
    }

    fn state(&self, replica: ReplicaId, tag: StateTag) -> io::Result<Option<Bytes>> {
        self.engine.state(replica, tag)
    }

    fn replicas(&self) -> io::Result<Vec<ReplicaId>> {
        self.engine.replicas()
    }

    fn loss(&self) -> Option<&LogLoss> {
        self.engine.loss()
    }

    fn synced(&self) -> u64 {
        self.engine.synced()
    }

    fn stored_bytes(&self) -> u64 {
        self.engine.stored_bytes()
    }

    fn sync_pause(&self) -> Duration {
        self.pause()
    }

    fn flush(&self) -> io::Result<()> {
        self.engine.flush()
    }
}
