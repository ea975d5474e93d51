//! A cluster in one process: stores with a log that can lose its power, groups, and a wire that can be cut.

use super::{Disk, KvMachine, MemoryNetwork};
use crate::config::{FatalHandler, RaftConfig};
use crate::error::{GroupError, ProposeError};
use crate::log_store::MemoryEngine;
use crate::{Group, GroupSpec, Groups, Identity};
use bytes::Bytes;
use model::clock::SystemClock;
use model::{ReplicaId, ShardId, StoreId, WorkspaceId};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::Instant;

/// Times short enough for tests.
#[must_use]
pub fn fast_config() -> RaftConfig {
    RaftConfig {
        heartbeat: Duration::from_millis(50),
        election_min: Duration::from_millis(300),
        election_max: Duration::from_millis(600),
        restart_election_min: Duration::from_millis(20),
        restart_election_max: Duration::from_millis(100),
        apply_threads: 2,
        ..RaftConfig::default()
    }
}

/// One store of a [`TestCluster`], running or not.
#[derive(Debug)]
pub struct TestNode {
    /// Its id.
    pub store: StoreId,
    /// Its log.
    pub engine: Arc<MemoryEngine>,
    /// Its checkpoints, by shard.
    pub disks: BTreeMap<ShardId, Arc<Disk>>,
    /// Its groups while it runs.
    pub groups: Option<Arc<Groups>>,
    /// Its state machines while it runs.
    pub machines: BTreeMap<ShardId, Arc<KvMachine>>,
    /// Failures that would have stopped its process.
    pub fatal_count: Arc<AtomicU64>,
    /// Set while its disk has too little room.
    pub disk_full: Arc<AtomicBool>,
    has_run: bool,
}

/// Stores 1..=n, each with replica `store` of shard 1 unless said otherwise.
#[derive(Debug)]
pub struct TestCluster {
    /// The wire.
    pub network: Arc<MemoryNetwork>,
    /// The stores, from 1.
    pub nodes: BTreeMap<StoreId, TestNode>,
    /// Settings of every store.
    pub config: RaftConfig,
    shard: ShardId,
    incarnation: u64,
}

/// The group that a [`TestCluster`] founds unless told otherwise.
const SHARD: ShardId = ShardId(1);

impl TestCluster {
    /// Starts `stores` empty stores with one group each, not founded.
    ///
    /// # Errors
    /// A group does not open.
    pub async fn start(stores: u64, config: RaftConfig) -> Result<Self, GroupError> {
        Self::start_as(SHARD, stores, config).await
    }

    async fn start_as(shard: ShardId, stores: u64, config: RaftConfig) -> Result<Self, GroupError> {
        let mut cluster = Self { network: MemoryNetwork::new(), nodes: BTreeMap::new(), config, shard, incarnation: 0 };
        for store in (1..=stores).map(StoreId) {
            let node = TestNode {
                store,
                engine: MemoryEngine::new(),
                disks: BTreeMap::from([(shard, Disk::new())]),
                groups: None,
                machines: BTreeMap::new(),
                fatal_count: Arc::default(),
                disk_full: Arc::default(),
                has_run: false,
            };
            cluster.nodes.insert(store, node);
            cluster.run(store).await?;
        }
        Ok(cluster)
    }

    /// Starts and founds a cluster in which every store votes, and waits for its leader.
    ///
    /// # Errors
    /// A group does not open.
    ///
    /// # Panics
    /// There is no leader within ten seconds.
    pub async fn founded(stores: u64, config: RaftConfig) -> Result<Self, GroupError> {
        Self::founded_as(SHARD, stores, config).await
    }

    /// The same with a group of another name.
    ///
    /// # Errors
    /// A group does not open.
    ///
    /// # Panics
    /// There is no leader within ten seconds.
    pub async fn founded_as(shard: ShardId, stores: u64, config: RaftConfig) -> Result<Self, GroupError> {
        let cluster = Self::start_as(shard, stores, config).await?;
        let members = cluster.members();
        let founding = cluster.group(StoreId(1)).initialize(members).await;
        assert_eq!(founding, Ok(()), "an empty store founds its group");
        cluster.leader().await;
        Ok(cluster)
    }

    fn members(&self) -> BTreeMap<ReplicaId, StoreId> {
        self.nodes.keys().map(|store| (ReplicaId(store.0), *store)).collect()
    }

    /// Starts a store's process from what its disks hold.
    ///
    /// # Errors
    /// A group does not open; the process runs without it.
    ///
    /// # Panics
    /// There is no such store.
    pub async fn run(&mut self, store: StoreId) -> Result<(), GroupError> {
        self.incarnation += 1;
        let node = self.nodes.get_mut(&store).expect("the store is one of the cluster's");
        let identity = Identity::new(store, self.incarnation, "test", 1);
        assert_eq!(identity.set_cluster(b"test"), Ok(()), "a fresh identity has no cluster");
        let fatal = Arc::clone(&node.fatal_count);
        let counted = FatalHandler::new(move |_| {
            fatal.fetch_add(1, Ordering::SeqCst);
        });
        let is_new = !std::mem::replace(&mut node.has_run, true);
        let config = RaftConfig { fatal: counted, disk_full: Arc::clone(&node.disk_full), ..self.config.clone() };
        let transport = self.network.transport(identity.clone());
        let groups = Groups::open(config, identity, Arc::<MemoryEngine>::clone(&node.engine), transport, Arc::new(SystemClock::default()))?;
        self.network.attach(store, groups.inbox());
        node.groups = Some(Arc::clone(&groups));
        node.machines.clear();
        for (shard, disk) in &node.disks {
            let machine = KvMachine::open(disk);
            let workspace = WorkspaceId::new(WorkspaceId::DEFAULT);
            let spec = GroupSpec { shard: *shard, replica: ReplicaId(store.0), workspace, is_new };
            groups.create(spec, Arc::<KvMachine>::clone(&machine)).await?;
            node.machines.insert(*shard, machine);
        }
        Ok(())
    }

    /// Cuts a store's power; of its unsynced log batches the first `kept` survive.
    ///
    /// # Panics
    /// There is no such store.
    pub async fn crash(&mut self, store: StoreId, kept: usize) {
        self.cut_power(store, |engine| engine.crash(kept)).await;
    }

    /// Cuts a store's power, and the last entry of its replica, synced as it was, is gone.
    ///
    /// # Panics
    /// There is no such store.
    pub async fn crash_with_loss(&mut self, store: StoreId) {
        self.cut_power(store, |engine| engine.crash_with_loss(ReplicaId(store.0))).await;
    }

    async fn cut_power(&mut self, store: StoreId, cut: impl FnOnce(&MemoryEngine) -> Arc<MemoryEngine>) {
        let node = self.nodes.get_mut(&store).expect("the store is one of the cluster's");
        self.network.detach(store);
        node.engine = cut(&node.engine);
        if let Some(groups) = node.groups.take() {
            // Everything after the cut fails at the dead engine; only the tasks are left to end.
            let _ = groups.shutdown().await;
        }
        node.machines.clear();
    }

    /// A store's replica of the founded group.
    ///
    /// # Panics
    /// The store does not run.
    #[must_use]
    pub fn group(&self, store: StoreId) -> Group {
        let groups = self.nodes.get(&store).and_then(|node| node.groups.as_ref());
        groups.and_then(|groups| groups.group(self.shard)).expect("the store runs")
    }

    /// A store's state machine of the founded group.
    ///
    /// # Panics
    /// The store does not run.
    #[must_use]
    pub fn machine(&self, store: StoreId) -> Arc<KvMachine> {
        let machine = self.nodes.get(&store).and_then(|node| node.machines.get(&self.shard));
        Arc::clone(machine.expect("the store runs"))
    }

    /// Waits for a leader among the running stores that are not cut off, confirmed by a quorum.
    ///
    /// # Panics
    /// There is none within ten seconds.
    pub async fn leader(&self) -> StoreId {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            for (store, node) in &self.nodes {
                let Some(group) = node.groups.as_ref().and_then(|groups| groups.group(self.shard)) else { continue };
                if group.status().is_leader && group.read_barrier().await.is_ok() {
                    return *store;
                }
            }
            assert!(Instant::now() < deadline, "no leader: {:?}", self.statuses());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    fn statuses(&self) -> Vec<crate::GroupStatus> {
        let running = self.nodes.values().filter_map(|node| node.groups.as_ref()?.group(self.shard));
        running.map(|group| group.status()).collect()
    }

    /// Proposes `key=value` at whoever leads, until it is answered.
    ///
    /// # Panics
    /// It is not answered within ten seconds.
    pub async fn put(&self, key: &str, value: &str) {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let leader = self.leader().await;
            let payload = Bytes::from(format!("{key}={value}"));
            match self.group(leader).propose(payload, None).await {
                Ok(_) => return,
                Err(ProposeError::TooLarge { .. }) => panic!("{key} is too large"),
                Err(error) => assert!(Instant::now() < deadline, "{key} was not answered: {error}"),
            }
        }
    }
}
