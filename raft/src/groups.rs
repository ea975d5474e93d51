//! All groups of this process.

use crate::barrier::Barrier;
use crate::blocking::blocking;
use crate::config::RaftConfig;
use crate::error::{GroupError, LossCause, LostReplica};
use crate::group::{Group, GroupStatus, Inner, Probes, Sleep, Transfers, Watcher, stand_after_start};
use crate::log_store::{LogEngine, LogLoss, LogStore, LogWriter, PurgeGuard, TailBudget};
use crate::metrics;
use crate::snapshot::Senders;
use crate::state_machine::{ApplyPool, Machine, StateMachine};
use crate::transport::{Identity, Inbox, Mux, PeerFactory, Transport};
use crate::types::{Raft, point_of};
use model::clock::Clock;
use model::{LogPoint, ReplicaId, ShardId, StoreId, WorkspaceId};
use parking_lot::{Mutex, RwLock};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use tokio::sync::{Semaphore, watch};

/// Bytes of purged entries for which a flush is worth its cost.
const RECLAIM_BYTES_MIN: u64 = 2 << 20;

/// Which replica of which group to open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupSpec {
    /// The group.
    pub shard: ShardId,
    /// Our replica of it.
    pub replica: ReplicaId,
    /// Whose turn its writes share in the log: workspaces are served fairly.
    pub workspace: WorkspaceId,
    /// True when this store has never held this replica. One that it has held and of which the log knows nothing may be lost.
    pub is_new: bool,
}

/// Finds open groups; shared with what receives.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    groups: RwLock<Index>,
    /// Stores that did not answer lately, or began anew.
    silent: RwLock<BTreeSet<StoreId>>,
}

#[derive(Debug, Default)]
struct Index {
    by_shard: BTreeMap<ShardId, Group>,
    by_replica: BTreeMap<ReplicaId, Group>,
}

impl Registry {
    pub(crate) fn shard(&self, shard: ShardId) -> Option<Group> {
        self.groups.read().by_shard.get(&shard).cloned()
    }

    pub(crate) fn replica(&self, replica: ReplicaId) -> Option<Group> {
        self.groups.read().by_replica.get(&replica).cloned()
    }

    pub(crate) fn set_silent(&self, silent: BTreeSet<StoreId>) {
        *self.silent.write() = silent;
    }

    pub(crate) fn silent(&self) -> BTreeSet<StoreId> {
        self.silent.read().clone()
    }

    fn insert(&self, group: &Group) {
        let mut groups = self.groups.write();
        groups.by_shard.insert(group.shard(), group.clone());
        groups.by_replica.insert(group.replica(), group.clone());
    }

    fn remove(&self, shard: ShardId) -> Option<Group> {
        let mut groups = self.groups.write();
        let group = groups.by_shard.remove(&shard)?;
        groups.by_replica.remove(&group.replica());
        Some(group)
    }
}

/// The registry of a process: opens, finds, closes and destroys replicas.
pub struct Groups {
    config: RaftConfig,
    identity: Identity,
    clock: Arc<dyn Clock>,
    engine: Arc<dyn LogEngine>,
    writer: Arc<LogWriter>,
    tails: Arc<TailBudget>,
    pool: ApplyPool,
    mux: Arc<Mux>,
    senders: Arc<Senders>,
    node_room: Arc<Semaphore>,
    registry: Arc<Registry>,
    inbox: Inbox,
    barrier: Barrier,
    /// Shards being opened: two openings of one must not race.
    opening: Mutex<Vec<ShardId>>,
    /// Bytes that the log took after [`Groups::reclaim_log`] flushed it.
    reclaimed: AtomicU64,
    /// What was refused as lost, and not destroyed since.
    lost: Mutex<BTreeMap<ReplicaId, LostReplica>>,
}

impl fmt::Debug for Groups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Groups").field("identity", &self.identity).field("registry", &self.registry).finish_non_exhaustive()
    }
}

impl Groups {
    /// Starts the log writer and the apply threads. Opens no group.
    ///
    /// # Errors
    /// The settings contradict each other or a thread cannot be started.
    pub fn open(
        config: RaftConfig,
        identity: Identity,
        engine: Arc<dyn LogEngine>,
        transport: Arc<dyn Transport>,
        clock: Arc<dyn Clock>,
    ) -> Result<Arc<Self>, GroupError> {
        config.openraft()?;
        let failed = |error: std::io::Error| GroupError::Config(error.to_string());
        let writer =
            LogWriter::start(Arc::clone(&engine), config.writer_queue_bytes, config.fatal.clone(), Arc::clone(&clock)).map_err(failed)?;
        let pool = ApplyPool::start(config.apply_threads).map_err(failed)?;
        let registry = Arc::<Registry>::default();
        Ok(Arc::new(Self {
            tails: TailBudget::new(config.tail_cache_bytes),
            senders: Senders::new(config.snapshot_bytes_per_second),
            node_room: Arc::new(Semaphore::new(config.node_pending_bytes)),
            inbox: Inbox::new(identity.clone(), Arc::clone(&registry), &config),
            barrier: Barrier::new(identity.clone(), Arc::clone(&registry), Arc::clone(&transport)),
            mux: Mux::new(transport),
            opening: Mutex::default(),
            reclaimed: AtomicU64::new(0),
            lost: Mutex::default(),
            config,
            identity,
            clock,
            engine,
            writer,
            pool,
            registry,
        }))
    }

    /// How far the log of this store is synced, for others to remember: see [`LogEngine::synced`].
    #[must_use]
    pub fn log_synced(&self) -> u64 {
        self.engine.synced()
    }

    /// How far the log of this store reaches: see [`LogEngine::reaches`].
    #[must_use]
    pub fn log_reaches(&self) -> u64 {
        self.engine.reaches()
    }

    pub(crate) fn registry(&self) -> &Registry {
        &self.registry
    }

    pub(crate) fn config(&self) -> &RaftConfig {
        &self.config
    }

    pub(crate) fn transport(&self) -> &Arc<dyn Transport> {
        self.mux.transport()
    }

    /// What the transport delivers to.
    #[must_use]
    pub fn inbox(&self) -> Inbox {
        self.inbox.clone()
    }

    /// Read barriers of many queries in one request.
    #[must_use]
    pub fn barrier(&self) -> Barrier {
        self.barrier.clone()
    }

    /// Tells where a store is reached from now on.
    pub fn set_peer(&self, store: StoreId, address: &str) {
        self.mux.transport().set_peer(store, address);
    }

    /// Opens a replica: replays nothing itself, but lets openraft hand the log after [`StateMachine::durable`] to `state_machine`.
    ///
    /// # Errors
    /// Open already; lost ([`GroupError::Lost`], see also [`Groups::lost`]); or the log cannot be read.
    pub async fn create(&self, spec: GroupSpec, state_machine: Arc<dyn StateMachine>) -> Result<Group, GroupError> {
        let shard = spec.shard;
        {
            if let Some(lost) = self.lost.lock().get(&spec.replica) {
                return Err(GroupError::Lost(*lost));
            }
            let mut opening = self.opening.lock();
            if opening.contains(&spec.shard) || self.registry.shard(spec.shard).is_some() {
                return Err(GroupError::AlreadyOpen(spec.shard));
            }
            opening.push(spec.shard);
        }
        let opened = self.start(spec, state_machine).await;
        if let Ok(group) = &opened {
            self.registry.insert(group);
            group.inner.tasks.lock().push(tokio::spawn(stand_after_start(group.clone())));
        }
        if let Err(GroupError::Lost(lost)) = &opened {
            let mut all = self.lost.lock();
            all.insert(lost.replica, *lost);
            metrics::set_lost(all.len());
        }
        self.opening.lock().retain(|other| *other != shard);
        opened
    }

    /// Why this replica must not vote again, if that is so.
    fn loss(&self, spec: &GroupSpec, store: &LogStore, durable: Option<LogPoint>) -> Option<LossCause> {
        let pristine = store.log.is_pristine();
        if let Some(LogLoss { latest, ledger, replicas }) = self.engine.loss()
            && (replicas.contains(&spec.replica) || (pristine && !spec.is_new))
        {
            return Some(LossCause::LogBehindLedger { latest: *latest, ledger: *ledger });
        }
        match (store.log.purged().map(point_of), durable) {
            (Some(purged), durable) if durable.is_none_or(|durable| durable.index < purged.index) => {
                Some(LossCause::CheckpointBehindLog { purged, durable })
            }
            // A vote is synced before the first entry is taken: a checkpoint without one has lost its log.
            (_, Some(durable)) if pristine => Some(LossCause::LogMissing { durable }),
            _ => None,
        }
    }

    async fn start(&self, spec: GroupSpec, state_machine: Arc<dyn StateMachine>) -> Result<Group, GroupError> {
        let storage = |error: &dyn fmt::Display| GroupError::Storage { shard: spec.shard, reason: error.to_string() };
        let guarded = Arc::clone(&state_machine);
        let guard: PurgeGuard = Arc::new(move || guarded.durable().map(|durable| durable.point.index));
        self.writer.register(spec.replica, &spec.workspace);
        let store = LogStore::open(
            (spec.shard, spec.replica),
            Arc::clone(&self.engine),
            Arc::clone(&self.writer),
            Arc::clone(&self.tails),
            (Some(guard), self.config.seal.clone()),
        )
        .map_err(|error| storage(&error))?;
        let durable = state_machine.durable().map(|durable| durable.point);
        if let Some(cause) = self.loss(&spec, &store, durable) {
            return Err(GroupError::Lost(LostReplica { shard: spec.shard, replica: spec.replica, cause }));
        }
        let (applied, applied_seen) = watch::channel(None);
        let machine = Machine::new(Arc::clone(&state_machine), self.pool.clone(), Arc::clone(&self.clock), Arc::new(applied))
            .map_err(|error| storage(&error))?;
        let (transfers, probes) = (Arc::<Transfers>::default(), Arc::<Probes>::default());
        let network = PeerFactory {
            mux: Arc::clone(&self.mux),
            identity: self.identity.clone(),
            replica: spec.replica,
            transfers: Arc::clone(&transfers),
            senders: Arc::clone(&self.senders),
            probes: Arc::clone(&probes),
        };
        let config = Arc::new(self.config.openraft()?);
        let raft = Raft::new(spec.replica.0, config, network, store.clone(), machine).await.map_err(|error| storage(&error))?;
        let (status, status_seen) = watch::channel(GroupStatus::default());
        status.send_replace(crate::group::current_status(spec.shard, &raft));
        let group = Group {
            inner: Arc::new(Inner {
                shard: spec.shard,
                replica: spec.replica,
                raft,
                store,
                state_machine,
                transfers,
                probes,
                room: Arc::new(Semaphore::new(self.config.group_pending_bytes)),
                node_room: Arc::clone(&self.node_room),
                inherited_bytes: AtomicUsize::new(0),
                applied: applied_seen,
                status: status_seen,
                heard_leader: AtomicBool::new(false),
                sleep: Sleep::default(),
                tasks: Mutex::default(),
                lease: Mutex::default(),
                config: self.config.clone(),
            }),
        };
        let watcher = Watcher { group: group.clone(), status };
        group.inner.tasks.lock().push(tokio::spawn(watcher.run()));
        Ok(group)
    }

    /// The open group of a shard.
    #[must_use]
    pub fn group(&self, shard: ShardId) -> Option<Group> {
        self.registry.shard(shard)
    }

    /// All open groups, by shard.
    #[must_use]
    pub fn list(&self) -> Vec<Group> {
        self.registry.groups.read().by_shard.values().cloned().collect()
    }

    /// The replicas that were refused as lost since the start and not destroyed since: they take no part in their groups, and what
    /// they have stored is left in place.
    #[must_use]
    pub fn lost(&self) -> Vec<LostReplica> {
        self.lost.lock().values().copied().collect()
    }

    /// Every replica that has left something in the log of this store, open or not.
    ///
    /// # Errors
    /// The log cannot be read.
    pub fn stored_replicas(&self) -> std::io::Result<Vec<ReplicaId>> {
        self.engine.replicas()
    }

    /// Closes a group; its log stays.
    ///
    /// # Errors
    /// It is not open.
    pub async fn close(&self, shard: ShardId) -> Result<(), GroupError> {
        let group = self.registry.remove(shard).ok_or(GroupError::NotOpen(shard))?;
        group.shutdown().await;
        Ok(())
    }

    /// Removes a replica's log, durably; closes its group first if it is open. The state machine's own data is the caller's.
    ///
    /// # Errors
    /// The log cannot be written.
    pub async fn destroy(&self, replica: ReplicaId) -> std::io::Result<()> {
        if let Some(group) = self.registry.replica(replica) {
            self.registry.remove(group.shard());
            group.shutdown().await;
        }
        self.writer.destroy(replica).await?;
        let mut lost = self.lost.lock();
        lost.remove(&replica);
        metrics::set_lost(lost.len());
        Ok(())
    }

    /// Gives the space of purged entries back if it is most of what the log takes and worth a flush; tells whether it did. Meant for idle
    /// moments: it rewrites the entries that are left.
    ///
    /// # Errors
    /// The flush failed; nothing acknowledged is lost by that.
    pub async fn reclaim_log(&self) -> std::io::Result<bool> {
        let kept: u64 = self.list().iter().map(|group| group.inner.store.log.kept_bytes()).sum();
        let after_last = self.reclaimed.load(Ordering::Relaxed);
        if self.engine.stored_bytes() < after_last.max(kept.saturating_mul(2)).saturating_add(RECLAIM_BYTES_MIN) {
            return Ok(false);
        }
        let engine = Arc::clone(&self.engine);
        let flushed = blocking(move || engine.flush().map(|()| engine.stored_bytes())).await??;
        self.reclaimed.store(flushed, Ordering::Relaxed);
        Ok(true)
    }

    /// Closes all groups, then the log writer, and flushes the log so that its write-ahead files can go.
    ///
    /// # Errors
    /// The flush failed; nothing acknowledged is lost by that.
    pub async fn shutdown(&self) -> std::io::Result<()> {
        let groups: Vec<_> = self.list();
        futures::future::join_all(groups.iter().map(|group| async move {
            self.registry.remove(group.shard());
            group.shutdown().await;
        }))
        .await;
        self.writer.finish().await?;
        let engine = Arc::clone(&self.engine);
        blocking(move || engine.flush()).await?
    }
}
