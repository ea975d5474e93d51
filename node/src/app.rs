//! A node from its start to its end: bind, find a place in a cluster, open what is stored, serve, drain.

mod databases;
mod rpc_serve;

use crate::access::Gate;
use crate::cluster::identity::{Identity, IdentityError, Membership};
use crate::cluster::reconcile::ReconcileError;
use crate::cluster::{bootstrap, loads, mover, operator, reconcile, scaler, time::ClusterTime, upkeep, watch};
use crate::compute::Lane;
use crate::config::Config;
use crate::host::{Host, Listen, System};
use crate::http::router::{self, Shared};
use crate::http::serve::{Drained, ServeLimits, serve};
use crate::ingest::known::KnownSeries;
use crate::keys::{KeysError, NodeKeys};
use crate::memory::{Shares, WRITE_ROOM_MIN};
use crate::meta::MetaView;
use crate::node::{Node, WRITE_ROOM_UNIT};
use crate::query::active::ActiveQueries;
use crate::query::admit::QuerySlots;
use crate::query::cache::ResultCache;
use crate::rpc::client::Peers;
use crate::rpc::server::{NodeService, ProbeOnly, probe_reply};
use crate::shard::{ShardRegistry, compactor, keeper, scrubber};
use crate::signals::{StopOn, StopSignals};
use crate::task::Tasks;
use crate::{metrics, recover, self_metrics, up};
use metrics_exporter_prometheus::PrometheusHandle;
use model::regex::RegexCache;
use model::seal::Seal;
use model::{ReplicaId, ShardId, StoreId};
use parking_lot::RwLock;
use raft::{Groups, RaftConfig, RocksOptions, TonicTransport};
use rand::RngExt;
use rpc_serve::{RaftServer, RpcServer};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tsdb::db::DbOptions;
use tsdb::error::StoreError;
use tsdb::store::faults::FaultPlan;

/// Log that a group keeps at most, for its own next checkpoint and for replicas that lag: 64 groups together keep 8 GiB.
pub(crate) const LOG_PER_GROUP_MAX: u64 = 128 << 20;
/// Time that open HTTP requests get at the end.
const HTTP_DRAIN: Duration = Duration::from_secs(10);
/// Time that background tasks get at the end.
const TASK_DRAIN: Duration = Duration::from_secs(5);

/// Why a node could not start.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The data directory or a socket.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// The identity file.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The keys of what is stored.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// The log.
    #[error(transparent)]
    Log(#[from] raft::OpenError),
    /// The chunk database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A Raft group.
    #[error(transparent)]
    Group(#[from] raft::GroupError),
    /// The meta group's replica.
    #[error(transparent)]
    Replica(#[from] ReconcileError),
    /// The meta group's first membership.
    #[error(transparent)]
    Membership(#[from] raft::MembershipError),
    /// A setting that only its use can judge.
    #[error("{0}")]
    Setting(String),
}

/// Runs a node until it is told to stop; a second signal ends the process at once.
///
/// # Errors
/// See [`AppError`].
pub async fn run(config: Config, stop_on: StopOn) -> Result<(), AppError> {
    let io_error = |what| move |source| AppError::Io { what, source };
    let mut signals = StopSignals::listen(stop_on).map_err(io_error("signal handlers"))?;
    let exposition = metrics::install().ok();
    raft::metrics::describe();
    tsdb::metrics::describe();
    // Before anything is written: a wrong key leaves the directory as it is.
    NodeKeys::check(&config.node.data, config.storage.encryption_key_file.as_deref())?;
    up::write_pid_file(&config.node.data).map_err(io_error("pid file"))?;
    let Doors { rpc, shared, http, http_stop } = open_doors(&config, &System).await?;
    let started = tokio::select! {
        started = start(config, &System, rpc, &shared, exposition) => started?,
        signal = signals.next() => {
            tracing::info!(signal, "stopping before the node joined");
            return Ok(());
        }
    };
    let signal = signals.next().await;
    tracing::info!(signal, "stopping");
    tokio::select! {
        () = stop(started, http_stop, http) => tracing::info!("stopped"),
        // A supervised node leaves impatience to its supervisor: a signal to the whole process group reaches it twice.
        signal = signals.next(), if stop_on == StopOn::InterruptOrTerminate => tracing::warn!(signal, "stopping at once"),
    }
    Ok(())
}

/// Runs a node on another machine than this process's until the future is dropped, as power is cut; `ready` is told when it serves.
///
/// # Errors
/// See [`AppError`].
pub async fn run_on<H: Host>(config: Config, host: &H, ready: impl FnOnce(Arc<Node>)) -> Result<(), AppError> {
    std::fs::create_dir_all(&config.node.data).map_err(|source| AppError::Io { what: "data directory", source })?;
    let Doors { rpc, shared, http, http_stop: _open } = open_doors(&config, host).await?;
    let started = start(config, host, rpc, &shared, None).await?;
    ready(Arc::clone(&started.node));
    let _ = http.await;
    Ok(())
}

/// Both sockets; HTTP says already that the node starts.
struct Doors<L> {
    rpc: RpcServer<L>,
    shared: Shared,
    http: tokio::task::JoinHandle<Drained>,
    http_stop: CancellationToken,
}

async fn open_doors<H: Host>(config: &Config, host: &H) -> Result<Doors<H::Listener>, AppError> {
    let io_error = |what| move |source| AppError::Io { what, source };
    let http = host.bind(&config.web.listen_address).await.map_err(io_error("HTTP listener"))?;
    let rpc = RpcServer::new(host.bind(&config.rpc.listen_address).await.map_err(io_error("RPC listener"))?);
    let shared = Shared::new(config.web.cors_origin.clone());
    let http_stop = CancellationToken::new();
    let limits = ServeLimits { drain: HTTP_DRAIN, ..ServeLimits::default() };
    let http = tokio::spawn(serve(http, router::build(shared.clone()), limits, http_stop.clone().cancelled_owned()));
    Ok(Doors { rpc, shared, http, http_stop })
}

/// A node that serves.
struct Started<L> {
    node: Arc<Node>,
    rpc: RpcServer<L>,
}

async fn start<H: Host>(
    config: Config,
    host: &H,
    rpc: RpcServer<H::Listener>,
    shared: &Shared,
    exposition: Option<PrometheusHandle>,
) -> Result<Started<H::Listener>, AppError> {
    let mut identity = Identity::open(&config.node.data)?;
    let peers = Peers::dialling(host.dialer());
    if identity.membership.is_none() {
        let probes = rpc.serve_probes(ProbeOnly { reply: probe_reply(&config, &identity) });
        let membership = bootstrap::find_place(&config, &identity, &peers, |reason| shared.waiting(reason)).await;
        tracing::info!(store = membership.store_id, founding = !membership.founders.is_empty(), "place in the cluster found");
        identity.membership = Some(membership);
        identity.store(&config.node.data)?;
        probes.stop().await;
    }
    shared.waiting("opening what is stored");
    let heard = remembered(&config, &identity, &peers).await;
    let (node, raft_service) = open(config, host, identity, (peers, heard), exposition)?;
    rpc.serve(NodeService::new(Arc::clone(&node)), raft_service);
    operator::refresh_peers(&node);
    open_meta(&node).await?;
    spawn_tasks(&node);
    shared.set_node(Arc::clone(&node));
    Ok(Started { node, rpc })
}

/// What the other nodes that this one was told of remember of its log; none if none answers at once.
async fn remembered(config: &Config, identity: &Identity, peers: &Peers) -> Option<u64> {
    let membership = identity.membership.as_ref()?;
    let cluster_id = membership.cluster_id.as_ref()?;
    let known = membership.founders.keys().chain(&membership.peers).cloned();
    let mut addresses: BTreeSet<String> = known.chain(bootstrap::initial_nodes(config)).collect();
    addresses.remove(&config.rpc.advertise_address.to_string());
    watch::synced_elsewhere(peers, addresses, cluster_id, StoreId(membership.store_id)).await
}

/// How this store shows itself to other stores' groups.
fn raft_identity(incarnation: &str, membership: &Membership) -> Result<raft::Identity, AppError> {
    let incarnation = u64::from_str_radix(incarnation.get(..16).unwrap_or("0"), 16).unwrap_or(0);
    let raft_identity = raft::Identity::new(StoreId(membership.store_id), incarnation, env!("CARGO_PKG_VERSION"), 1);
    if let Some(cluster) = &membership.cluster_id {
        raft_identity.set_cluster(cluster.as_bytes()).map_err(|e| AppError::Setting(e.to_string()))?;
    }
    Ok(raft_identity)
}

/// The settings of all groups.
fn raft_config<H: Host>(config: &Config, host: &H, shares: &Shares, (seal, disk_full): (Seal, Arc<AtomicBool>)) -> RaftConfig {
    RaftConfig {
        tail_cache_bytes: usize::try_from(shares.log_tail).unwrap_or(usize::MAX),
        disk_full,
        seal,
        lag_bytes: LOG_PER_GROUP_MAX,
        heartbeat: config.cluster.heartbeat,
        // A follower stands when a leader's lease, the longest of these times, and then its own time are over: six to eight heartbeats.
        election_min: config.cluster.heartbeat * 2,
        election_max: config.cluster.heartbeat * 4,
        fatal: host.fatal(),
        hibernate_after: config.cluster.hibernate_after,
        ..RaftConfig::default()
    }
}

/// Opens both databases and puts the node's handles together.
fn open<H: Host>(
    config: Config,
    host: &H,
    identity: Identity,
    (peers, heard): (Peers, Option<u64>),
    exposition: Option<PrometheusHandle>,
) -> Result<(Arc<Node>, RaftServer), AppError> {
    let shares = Shares::of(config.storage.memory_bytes);
    shares.publish();
    let membership = identity.membership.clone().ok_or_else(|| AppError::Setting("the node has no place in a cluster".to_owned()))?;
    let raft_identity = raft_identity(&identity.incarnation, &membership)?;
    let bytes = |share: u64| usize::try_from(share).unwrap_or(usize::MAX);
    let clock = host.clock();
    let key_file = config.storage.encryption_key_file.as_deref();
    let keys = NodeKeys::open(&config.node.data, key_file, StoreId(membership.store_id))?;
    let log = RocksOptions { memory_bytes: bytes(shares.log_memtables), synced_elsewhere: heard.unwrap_or(0), ..RocksOptions::default() };
    let chunks = DbOptions {
        path: config.node.data.join("chunkdb"),
        memory_bytes: bytes(shares.chunk_db),
        seal: keys.seal.clone(),
        faults: FaultPlan::default(),
    };
    let (engine, db) = databases::open(host, &config.node.data.join("raftdb"), log, &chunks, heard.is_some())?;
    let in_use = raft::boots_in_use(&*engine).map_err(|source| AppError::Io { what: "keys in use", source })?;
    keys.retire_boots(&in_use)?;
    let transport = TonicTransport::dialling(raft_identity.clone(), host.dialer());
    let reserve_spent = Arc::new(AtomicBool::new(false));
    let raft_config = raft_config(&config, host, &shares, (keys.seal.clone(), Arc::clone(&reserve_spent)));
    let groups = Groups::open(raft_config, raft_identity.clone(), engine, transport, Arc::clone(&clock))?;
    let node = Arc::new(Node {
        tasks: Tasks::default(),
        time: Arc::new(ClusterTime::new(Arc::clone(&clock))),
        clock,
        identity: RwLock::new(identity),
        raft_identity,
        keys,
        meta: MetaView::default(),
        fatal: host.fatal(),
        barrier: groups.barrier(),
        db,
        shards: ShardRegistry::default(),
        leaders: crate::ingest::route::LeaderHints::default(),
        heard: RwLock::default(),
        heard_at: RwLock::default(),
        gate: Gate::new(&config),
        started: rand::rng().random(),
        heard_starts: RwLock::default(),
        heard_synced: RwLock::default(),
        loads: parking_lot::Mutex::default(),
        meta_machine: parking_lot::Mutex::default(),
        peers,
        write_room: Arc::new(Semaphore::new(bytes(shares.write_room.max(WRITE_ROOM_MIN)) / WRITE_ROOM_UNIT)),
        slots: QuerySlots::new(config.query.max_concurrency),
        active: ActiveQueries::default(),
        results: ResultCache::new(config.query.cache_bytes, config.query.cache_min_time),
        patterns: RegexCache::default(),
        queries: Lane::for_queries(),
        writes: Lane::for_writes(),
        known: Arc::new(KnownSeries::new(bytes(shares.known_series))),
        splitters: Arc::default(),
        exposition,
        disk_full: Arc::default(),
        reserve_spent,
        shares,
        heads_full: Arc::default(),
        unfit: RwLock::default(),
        rewriting: tokio::sync::Mutex::default(),
        draining: AtomicBool::new(false),
        config,
        groups: Arc::clone(&groups),
    });
    Ok((node, raft::transport::server(groups.inbox())))
}

/// Opens this node's replica of the meta group: the one on its disk, or, while the cluster is being founded, a founder's.
async fn open_meta(node: &Arc<Node>) -> Result<(), AppError> {
    let Membership { cluster_id, founders, .. } =
        node.identity.read().membership.clone().ok_or_else(|| AppError::Setting("the node has no place in a cluster".to_owned()))?;
    // Beside a lost one there may be its successor, whose id is higher.
    let stored = node.db.shards().into_iter().filter(|s| s.shard == ShardId::META).map(|s| s.replica).max();
    // The id of a founder that has left the meta group must not vote again.
    let founding = Some(ReplicaId(node.store_id().0)).filter(|_| !founders.is_empty() && cluster_id.is_none());
    let Some(replica) = stored.or(founding) else { return Ok(()) };
    let group = match reconcile::open_meta(node, replica).await {
        Ok(group) => group,
        // The node's other replicas serve on; the meta state comes from the members that are left.
        Err(ReconcileError::Group(raft::GroupError::Lost(lost))) => {
            tracing::error!(error = %lost, "replica of the meta group not opened");
            return Ok(());
        }
        Err(error) => return Err(error.into()),
    };
    if !group.is_initialized() && founding.is_some() {
        let members: BTreeMap<ReplicaId, StoreId> = (1..=founders.len() as u64).map(|n| (ReplicaId(n), StoreId(n))).collect();
        match group.initialize(members).await {
            // Another founder was first, with the same members, and has asked for this replica's vote already.
            Err(raft::MembershipError::Refused(reason)) => tracing::info!(reason, "the meta group was founded by another node"),
            founded => founded?,
        }
    }
    Ok(())
}

fn spawn_tasks(node: &Arc<Node>) {
    let tasks = &node.tasks;
    tasks.spawn("identity", watch::identity(Arc::clone(node)));
    tasks.spawn("recovery", recover::at_start(Arc::clone(node)));
    tasks.spawn("clocks", watch::clocks(Arc::clone(node)));
    tasks.spawn("meta fetch", watch::meta(Arc::clone(node)));
    tasks.spawn("meta operator", operator::run(Arc::clone(node)));
    tasks.spawn("reconciler", reconcile::run(Arc::clone(node)));
    tasks.spawn("disk space", upkeep::disk(Arc::clone(node)));
    tasks.spawn("hibernation", upkeep::hibernation(Arc::clone(node)));
    tasks.spawn("leadership", upkeep::leadership(Arc::clone(node)));
    tasks.spawn("replica changes", mover::run(Arc::clone(node)));
    tasks.spawn("loads", loads::run(Arc::clone(node)));
    tasks.spawn("shard maps", scaler::run(Arc::clone(node)));
    tasks.spawn("checkpoint keeper", keeper::run(Arc::clone(node)));
    tasks.spawn("compactor", compactor::run(Arc::clone(node)));
    if let Some(period) = node.config.storage.scrub_period {
        tasks.spawn("scrubber", scrubber::run(Arc::clone(node), period));
    }
    if let Some(interval) = node.config.self_metrics.interval {
        tasks.spawn("own metrics", self_metrics::run(Arc::clone(node), interval));
    }
}

/// Stops a node so that its next start has nothing to replay: leadership away, requests done, checkpoints written, log purged.
async fn stop<L: Listen>(started: Started<L>, http_stop: CancellationToken, http: tokio::task::JoinHandle<Drained>) {
    let Started { node, rpc } = started;
    node.draining.store(true, Ordering::Relaxed);
    upkeep::give_away(&node).await;
    http_stop.cancel();
    if let Ok(drained) = http.await
        && drained.cut > 0
    {
        tracing::warn!(connections = drained.cut, "connections cut");
    }
    node.tasks.drain(TASK_DRAIN).await;
    for local in node.shards.all() {
        keeper::checkpoint(&local).await;
    }
    let meta = node.meta_machine.lock().clone();
    if let Some(machine) = meta {
        keeper::checkpoint_meta(&node, &machine).await;
    }
    rpc.stop().await;
    if let Err(e) = node.db.flush() {
        tracing::warn!(error = %e, "chunk database not flushed");
    }
    if let Err(e) = node.groups.shutdown().await {
        tracing::error!(error = %e, "raft log not flushed");
    }
}
