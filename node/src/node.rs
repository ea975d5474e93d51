//! What all parts of the process share: handles, no behaviour.

use crate::cluster::identity::Identity;
use crate::cluster::time::ClusterTime;
use crate::config::Config;
use crate::ingest::route::LeaderHints;
use crate::meta::MetaView;
use crate::query::admit::QuerySlots;
use crate::rpc::client::Peers;
use crate::shard::ShardRegistry;
use crate::task::Tasks;
use metrics_exporter_prometheus::PrometheusHandle;
use model::{Clock, StoreId};
use parking_lot::RwLock;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

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
    /// The meta group's state.
    pub meta: MetaView,
    /// All Raft groups of this process.
    pub groups: Arc<raft::Groups>,
    /// Read barriers, coalesced per leader's node.
    pub barrier: raft::Barrier,
    /// The database of all shards.
    pub db: tsdb::db::Db,
    /// Open replicas.
    pub shards: ShardRegistry,
    /// Who led which shard.
    pub leaders: LeaderHints,
    /// Connections to other nodes.
    pub peers: Peers,
    /// Places for queries.
    pub slots: QuerySlots,
    /// Renders this process's metrics; none where another recorder is installed.
    pub exposition: Option<PrometheusHandle>,
    /// Set while the disk has too little room.
    pub disk_full: Arc<AtomicBool>,
    /// Set when the node has been told to stop.
    pub draining: AtomicBool,
}

impl Node {
    /// This store's id.
    #[must_use]
    pub fn store_id(&self) -> StoreId {
        self.raft_identity.store()
    }

    /// The cluster's id, empty before it is known.
    #[must_use]
    pub fn cluster_id(&self) -> String {
        self.identity.read().membership.as_ref().and_then(|m| m.cluster_id.clone()).unwrap_or_default()
    }

    /// Runs work that computes or reads the database, off the reactor's threads.
    ///
    /// # Errors
    /// The work panicked, or the runtime is closing.
    pub async fn compute<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, tokio::task::JoinError> {
        tokio::task::spawn_blocking(work).await
    }
}
