//! What all parts of the process share: handles, no behaviour.

use crate::cluster::identity::Identity;
use crate::cluster::loads::Loads;
use crate::cluster::time::ClusterTime;
use crate::compute::{ComputeError, Lane};
use crate::config::Config;
use crate::ingest::known::KnownSeries;
use crate::ingest::route::LeaderHints;
use crate::ingest::split::Splitters;
use crate::keys::NodeKeys;
use crate::memory::Shares;
use crate::meta::MetaView;
use crate::meta::machine::MetaMachine;
use crate::query::active::ActiveQueries;
use crate::query::admit::QuerySlots;
use crate::query::cache::ResultCache;
use crate::rpc::client::Peers;
use crate::shard::ShardRegistry;
use crate::task::Tasks;
use metrics_exporter_prometheus::PrometheusHandle;
use model::regex::RegexCache;
use model::{Clock, StoreId};
use parking_lot::{Mutex, RwLock};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::Semaphore;

/// A store that has not answered for so long counts as silent.
const SILENT_AFTER: Duration = Duration::from_secs(5);
/// A store that has left three pings unanswered hangs.
const HUNG_AFTER: Duration = Duration::from_millis(1500);
/// How often one that is waited for is looked after.
const HUNG_CHECK: Duration = Duration::from_millis(200);
/// Bytes that one permit of [`Node::write_room`] stands for.
pub const WRITE_ROOM_UNIT: usize = 1024;

/// The handles of one node.
#[derive(Debug)]
pub struct Node {
    /// Its settings.
    pub config: Config,
    /// Background work.
    pub tasks: Tasks,
    /// The machine's clocks.
    pub clock: Arc<dyn Clock>,
    /// Cluster time.
    pub time: Arc<ClusterTime>,
    /// Who this data directory is.
    pub identity: RwLock<Identity>,
    /// The same, as Raft's connections show it.
    pub raft_identity: raft::Identity,
    /// Keys of what it stores.
    pub keys: NodeKeys,
    /// The meta group's state.
    pub meta: MetaView,
    /// All Raft groups of this process.
    pub groups: Arc<raft::Groups>,
    /// What happens when it is no longer known what is durable.
    pub fatal: raft::FatalHandler,
    /// Read barriers, coalesced per leader's node.
    pub barrier: raft::Barrier,
    /// The database of all shards.
    pub db: tsdb::db::Db,
    /// Open replicas.
    pub shards: ShardRegistry,
    /// Who led which shard.
    pub leaders: LeaderHints,
    /// When stores answered last, by the monotonic clock.
    pub heard_at: RwLock<BTreeMap<StoreId, Duration>>,
    /// Lets requests in.
    pub gate: crate::access::Gate,
    /// Names this start of the process.
    pub started: u64,
    /// The starts of other stores' processes, as they told last.
    pub heard_starts: RwLock<BTreeMap<StoreId, u64>>,
    /// How far the logs of stores were synced, as they told; never goes back.
    pub heard_synced: RwLock<BTreeMap<StoreId, u64>>,
    /// What shards have to do, while this node leads the meta group.
    pub loads: Mutex<Loads>,
    /// This node's replica of the meta group, if it has one.
    pub meta_machine: Mutex<Option<Arc<MetaMachine>>>,
    /// Where stores answered last, if that is not where the meta group last knew them.
    pub heard: RwLock<BTreeMap<StoreId, String>>,
    /// Connections to other nodes.
    pub peers: Peers,
    /// Room for write requests that are being read, split or routed, in units of [`WRITE_ROOM_UNIT`] bytes.
    pub write_room: Arc<Semaphore>,
    /// Places for queries.
    pub slots: QuerySlots,
    /// Queries that wait or run.
    pub active: ActiveQueries,
    /// Results of range queries.
    pub results: ResultCache,
    /// Compiled patterns of queries.
    pub patterns: RegexCache,
    /// Threads for their reads and evaluations.
    pub queries: Lane,
    /// Threads for large bodies of write requests.
    pub writes: Lane,
    /// Series routed before.
    pub known: Arc<KnownSeries>,
    /// Buffers of write requests.
    pub splitters: Arc<Splitters>,
    /// Renders this process's metrics; none where another recorder is installed.
    pub exposition: Option<PrometheusHandle>,
    /// Set while the disk has less room than its reserve: what clients write is refused, leadership given away.
    pub disk_full: Arc<AtomicBool>,
    /// Set while half of the reserve is spent too: what leaders elsewhere append is refused as well. What was proposed before disks were
    /// full is taken until then, so that it commits and nobody has to wait for it to read.
    pub reserve_spent: Arc<AtomicBool>,
    /// Shares of the storage budget.
    pub shares: Shares,
    /// Set while the heads fill their share although a checkpoint has freed what it could: no new series are taken.
    pub heads_full: Arc<AtomicBool>,
    /// Other stores that cannot lead now, as they told last.
    pub unfit: RwLock<BTreeSet<StoreId>>,
    /// Held by what rewrites parts: one at a time on a node.
    pub rewriting: tokio::sync::Mutex<()>,
    /// Set when the node has been told to stop.
    pub draining: AtomicBool,
}

impl Node {
    /// This store's id.
    #[must_use]
    pub fn store_id(&self) -> StoreId {
        self.raft_identity.store()
    }

    /// RPC addresses of the other stores: where they answered last, else as the meta group knows them, else as they were founded.
    #[must_use]
    pub fn others(&self) -> BTreeMap<StoreId, String> {
        let mut known: BTreeMap<StoreId, String> = BTreeMap::new();
        if let Some(membership) = &self.identity.read().membership {
            known.extend(membership.founders.keys().enumerate().map(|(i, address)| (StoreId(i as u64 + 1), address.clone())));
        }
        known.extend(self.meta.get().stores.values().map(|s| (StoreId(s.store_id), s.report.rpc_address.clone())));
        known.extend(self.heard.read().iter().map(|(store, address)| (*store, address.clone())));
        known.remove(&self.store_id());
        known
    }

    /// How far the log of another store was synced at least: what this node heard itself, or what the meta group was told, whichever is more.
    #[must_use]
    pub fn remembered_synced(&self, store: StoreId) -> u64 {
        let heard = self.heard_synced.read().get(&store).copied();
        let told = self.meta.get().stores.get(&store.0).map(|record| record.synced);
        heard.max(told).unwrap_or(0)
    }

    /// Whether a store has not answered this node for a while.
    #[must_use]
    pub fn is_silent(&self, store: u64) -> bool {
        self.is_silent_for(StoreId(store), SILENT_AFTER)
    }

    /// Waits for another store's answer for as long as that store answers pings: none if it stopped to. A machine that hangs, or is cut off,
    /// keeps connections open and would be waited for in vain.
    pub async fn while_heard<T>(&self, store: StoreId, answer: impl Future<Output = T>) -> Option<T> {
        let mut answer = std::pin::pin!(answer);
        loop {
            if let Ok(answer) = tokio::time::timeout(HUNG_CHECK, &mut answer).await {
                return Some(answer);
            }
            let heard = self.heard_at.read().get(&store).copied();
            if heard.is_some_and(|at| self.clock.monotonic().saturating_sub(at) > HUNG_AFTER) {
                return None;
            }
        }
    }

    /// Whether a store has not answered this node for so long, or never.
    #[must_use]
    pub fn is_silent_for(&self, store: StoreId, time: Duration) -> bool {
        let heard = self.heard_at.read().get(&store).copied();
        store != self.store_id() && heard.is_none_or(|at| self.clock.monotonic().saturating_sub(at) > time)
    }

    /// Whether this node may lead: it has room for what is written, knows the time and is not being drained.
    #[must_use]
    pub fn is_fit(&self) -> bool {
        let is_staying = !self.draining.load(Ordering::Relaxed) && !self.disk_full.load(Ordering::Relaxed);
        is_staying && self.time.now().is_ok() && !self.meta.get().is_draining(self.store_id())
    }

    /// The cluster's id, empty before it is known.
    #[must_use]
    pub fn cluster_id(&self) -> String {
        self.identity.read().membership.as_ref().and_then(|m| m.cluster_id.clone()).unwrap_or_default()
    }

    /// Runs a read of the database or an evaluation of a query, off the reactor's threads.
    ///
    /// # Errors
    /// See [`ComputeError`].
    pub async fn compute<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, ComputeError> {
        self.queries.run(work).await
    }
}
