//! What a node does for the meta group: passing commands to its leader, making itself known, and, while it leads, founding what every
//! cluster has and beginning the changes of replicas that [`super::planner`] finds.

use super::planner::{self, Wanted};
use super::scaler;
use crate::config::Config;
use crate::meta::command::{decode, encode};
use crate::meta::placement::{kept_stores, replication_target};
use crate::meta::state::{Limits, StoreReport};
use crate::meta::{self, MetaCommand, MetaResponse, MetaState};
use crate::node::Node;
use crate::rpc::client::{header, request};
use bytes::Bytes;
use model::{ShardId, StoreId, WorkspaceId};
use proto::node::ProposeMetaRequest;
use raft::ProposeError;
use rand::RngExt;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How long a command looks for the meta group's leader.
const BUDGET: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(100);
/// How often a node looks whether it has something to tell.
const ROUND: Duration = Duration::from_millis(250);
/// How long a leader looks on before it changes replicas.
const SETTLE: Duration = Duration::from_secs(3);
/// How often each node reports its clock.
const REPORT: Duration = Duration::from_secs(60);

/// Why a command has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MetaError {
    /// No leader took it in time; it may have been taken by one that then failed.
    #[error("the meta group has no leader: {reason}")]
    Unavailable {
        /// What the last attempt met.
        reason: String,
    },
    /// The command cannot be read back, or the answer is of a binary that knows more.
    #[error("a record of the meta group cannot be read: {reason}")]
    Malformed {
        /// Why.
        reason: String,
    },
}

/// Limits a new workspace begins with.
#[must_use]
pub fn default_limits(config: &Config) -> Limits {
    let ms = |d: Duration| i64::try_from(d.as_millis()).unwrap_or(i64::MAX);
    Limits {
        version: 0,
        out_of_order_window_ms: ms(config.limits.out_of_order_window),
        late_window_ms: ms(config.limits.late_window),
        retention_ms: ms(config.storage.retention),
        exemplars_max: config.storage.exemplars_max,
    }
}

/// What this node tells of its store.
#[must_use]
pub fn store_report(config: &Config, incarnation: &str) -> StoreReport {
    StoreReport {
        incarnation: incarnation.to_owned(),
        name: config.node.name.clone(),
        zone: config.node.zone.clone(),
        rpc_address: config.rpc.advertise_address.to_string(),
        http_address: config.web.listen_address.to_string(),
        level: meta::LEVEL,
        groups_max: config.cluster.groups_max(),
    }
}

/// Shards a new workspace begins with.
#[must_use]
pub fn shards_per_workspace(meta: &MetaState) -> u32 {
    if replication_target(kept_stores(meta)) > 1 { 3 } else { 1 }
}

/// Brings a command to the meta group's leader, wherever it is, and answers what it decided.
///
/// Commands are repeated when their outcome is unknown: applying one twice must not do more than once.
///
/// # Errors
/// See [`MetaError`].
pub async fn propose(node: &Node, command: MetaCommand) -> Result<MetaResponse, MetaError> {
    let bytes = encode(&command);
    // What cannot be read must not get into the log: every replica would stop at it.
    decode::<MetaCommand>(&bytes).map_err(|e| MetaError::Malformed { reason: e.to_string() })?;
    let deadline = Instant::now() + BUDGET;
    let mut repeated = false;
    loop {
        let reason = match propose_once(node, bytes.clone(), deadline).await {
            Ok(answer) => {
                let response = decode(&answer).map_err(|e| MetaError::Malformed { reason: e.to_string() })?;
                return Ok(if repeated { settle(node, &command, response) } else { response });
            }
            Err((reason, unknown)) => {
                repeated |= unknown;
                reason
            }
        };
        if Instant::now() + PAUSE >= deadline {
            return Err(MetaError::Unavailable { reason });
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// The meta state with everything that was decided before the call, wherever it was decided.
///
/// # Errors
/// See [`MetaError`]: also where this node does not hear of it in time.
pub async fn newest(node: &Node) -> Result<Arc<MetaState>, MetaError> {
    let MetaResponse::Revision { revision } = propose(node, MetaCommand::Confirm).await? else {
        return Err(MetaError::Malformed { reason: "no revision".to_owned() });
    };
    let reached = node.meta.reached(revision, Instant::now() + BUDGET).await;
    reached.ok_or_else(|| MetaError::Unavailable { reason: "this node does not hear of the newest state".to_owned() })
}

/// A repeated command that finds its own work done has succeeded.
fn settle(node: &Node, command: &MetaCommand, response: MetaResponse) -> MetaResponse {
    match (command, response) {
        (MetaCommand::DeleteWorkspace { .. }, MetaResponse::NotFound { .. }) => MetaResponse::Done,
        (MetaCommand::CreateWorkspace { id, placement_key, .. }, conflict @ MetaResponse::Conflict { .. }) => {
            match node.meta.get().workspaces.get(id).filter(|w| w.placement_key == *placement_key) {
                Some(made) => MetaResponse::Workspace { workspace: Box::new(made.clone()) },
                None => conflict,
            }
        }
        (_, response) => response,
    }
}

/// One attempt; an error says why, and whether the command may have been taken all the same.
async fn propose_once(node: &Node, command: Bytes, deadline: Instant) -> Result<Bytes, (String, bool)> {
    if let Some(group) = node.groups.group(ShardId::META) {
        match group.propose(command.clone(), None).await {
            Ok(answer) => return Ok(answer),
            Err(ProposeError::NotLeader { leader: Some((_, store)) }) if store != node.store_id() => {
                return forward(node, &node.others().remove(&store).into_iter().collect::<Vec<_>>(), command, deadline).await;
            }
            // A replica that was removed from the group knows no leader for ever.
            Err(ProposeError::NotLeader { leader: None }) => {}
            Err(e) => return Err((e.to_string(), e == ProposeError::Unknown)),
        }
    }
    let known: BTreeSet<String> = node.others().into_values().collect();
    let initial: BTreeSet<String> = node.config.cluster.initial_nodes.iter().map(ToString::to_string).collect();
    let own = node.config.rpc.advertise_address.to_string();
    let others: Vec<String> = known.union(&initial).filter(|a| **a != own).cloned().collect();
    forward(node, &others, command, deadline).await
}

async fn forward(node: &Node, addresses: &[String], command: Bytes, deadline: Instant) -> Result<Bytes, (String, bool)> {
    let mut last = ("no member of the meta group is known".to_owned(), false);
    for address in addresses {
        let left = deadline.saturating_duration_since(Instant::now()).min(Duration::from_secs(3));
        let message = ProposeMetaRequest { header: Some(header(&node.cluster_id(), node.store_id().0, left)), command: command.clone() };
        let Ok(mut client) = node.peers.client(address) else { continue };
        match client.propose_meta(request(message, left)).await {
            Ok(reply) => return Ok(reply.into_inner().response),
            Err(status) => last = (format!("{address}: {}", status.message()), last.1 || status.code() != tonic::Code::FailedPrecondition),
        }
    }
    Err(last)
}

/// Keeps this node known, its peers' addresses current, and, on the leader, the cluster founded. Runs until dropped.
pub async fn run(node: Arc<Node>) {
    let mut reported: Option<Instant> = None;
    let mut led_since: Option<Instant> = None;
    let mut last_round = Instant::now();
    let mut rounds = tokio::time::interval(ROUND);
    rounds.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        rounds.tick().await;
        let store = node.store_id();
        refresh_peers(&node);
        let leads = node.groups.group(ShardId::META).is_some_and(|g| g.status().is_leader);
        // After a pause of this process all others look silent: it counts anew.
        if last_round.elapsed() > SETTLE {
            led_since = None;
        }
        last_round = Instant::now();
        led_since = led_since.filter(|_| leads).or_else(|| leads.then(Instant::now));
        if let Err(e) = round(&node, store, &mut reported, led_since).await {
            tracing::debug!(error = %e, "meta round put off");
        }
    }
}

/// Tells Raft and cluster time which other stores there are and where.
pub fn refresh_peers(node: &Node) {
    let others = node.others();
    for (store, address) in &others {
        node.groups.set_peer(*store, address);
    }
    node.time.set_peers(&others.into_keys().collect::<Vec<_>>());
}

async fn round(node: &Arc<Node>, store: StoreId, reported: &mut Option<Instant>, led_since: Option<Instant>) -> Result<(), MetaError> {
    let meta = node.meta.get();
    if meta.cluster_id.is_none() {
        if led_since.is_some()
            && let Some(group) = node.groups.group(ShardId::META)
        {
            let members = group.status().voters.into_iter().map(|(replica, store)| (replica.0, store.0)).collect();
            propose(node, MetaCommand::FoundCluster { cluster_id: super::identity::random_hex(), members }).await?;
        }
        return Ok(());
    }
    let report = store_report(&node.config, &node.identity.read().incarnation);
    let known = meta.stores.get(&store.0).is_some_and(|known| known.report == report);
    if !known {
        register(node, Some(store.0)).await?;
        return Ok(());
    }
    let tells_synced = meta.level >= meta::LEVEL_SYNCED;
    let is_untold = tells_synced && meta.stores.get(&store.0).is_some_and(|record| record.synced == 0);
    if (is_untold || reported.is_none_or(|at| at.elapsed() >= REPORT))
        && let Ok(now_ms) = node.time.now()
    {
        let synced = tells_synced.then(|| node.groups.log_synced());
        propose(node, MetaCommand::ReportTime { store_id: store.0, now_ms, synced }).await?;
        *reported = Some(Instant::now());
    }
    for lost in node.groups.lost() {
        let listed = meta.record(lost.shard).and_then(|record| record.replicas.iter().find(|r| r.replica == lost.replica.0));
        if listed.is_some_and(|replica| !replica.is_lost) {
            propose(node, MetaCommand::MarkLost { shard: lost.shard.0, replica: lost.replica.0 }).await?;
        }
    }
    if let Some(since) = led_since {
        found_workspaces(node, &meta).await?;
        begin_changes(node, &meta, since).await?;
        scaler::keep_up(node, &meta).await?;
        let level = meta.stores.values().map(|store| store.report.level).min().unwrap_or(0);
        if level > meta.level {
            tracing::info!(level, "all nodes can: the cluster's feature level rises");
            propose(node, MetaCommand::RaiseLevel { level }).await?;
        }
    }
    Ok(())
}

/// Stores that have not answered for as long as `--cluster.replace-after`, counted at the earliest from when this node began to lead.
fn silent_stores(node: &Node, meta: &MetaState, led_since: Instant) -> BTreeSet<u64> {
    let Some(patience) = node.config.cluster.replace_after else { return BTreeSet::new() };
    let (now, heard_at) = (node.clock.monotonic(), node.heard_at.read());
    let silence = |store: u64| heard_at.get(&StoreId(store)).map_or(Duration::MAX, |at| now.saturating_sub(*at)).min(led_since.elapsed());
    meta.stores.keys().copied().filter(|store| *store != node.store_id().0 && silence(*store) >= patience).collect()
}

/// Begins the changes of replicas that the cluster needs now.
async fn begin_changes(node: &Arc<Node>, meta: &MetaState, led_since: Instant) -> Result<(), MetaError> {
    // While others are starting, what they hold looks like more or less than it is.
    if led_since.elapsed() < SETTLE {
        return Ok(());
    }
    let Ok(now_ms) = node.time.now() else { return Ok(()) };
    for Wanted { shard, conf_ver, add, remove, reason } in planner::plan(meta, &silent_stores(node, meta, led_since)) {
        tracing::info!(shard, ?add, ?remove, ?reason, "change of replicas begins");
        let begun = propose(node, MetaCommand::BeginChange { shard, conf_ver, add, remove, reason, now_ms }).await?;
        if let MetaResponse::Conflict { reason, .. } | MetaResponse::Full { reason, .. } = begun {
            tracing::warn!(shard, reason, "change of replicas refused");
        }
    }
    Ok(())
}

/// Makes this store known; without an id, asks for one.
///
/// # Errors
/// See [`MetaError`].
pub async fn register(node: &Node, store_id: Option<u64>) -> Result<MetaResponse, MetaError> {
    let report = store_report(&node.config, &node.identity.read().incarnation);
    let command = MetaCommand::RegisterStore { store_id, report };
    let response = propose(node, command).await?;
    if let MetaResponse::Conflict { id, reason } = &response {
        tracing::error!(store = id, reason, "this store is not accepted by its cluster");
    }
    Ok(response)
}

/// Creates `default` and `system` once all founders are known and time is confirmed.
async fn found_workspaces(node: &Node, meta: &MetaState) -> Result<(), MetaError> {
    let founders = node.identity.read().membership.as_ref().map_or(0, |m| m.founders.len());
    if meta.stores.len() < founders || meta.confirmed_ms().is_none() {
        return Ok(());
    }
    for id in [WorkspaceId::DEFAULT, WorkspaceId::SYSTEM] {
        if meta.workspaces.contains_key(id) {
            continue;
        }
        let Ok(now_ms) = node.time.now() else { return Ok(()) };
        let command = MetaCommand::CreateWorkspace {
            id: id.to_owned(),
            alias: None,
            placement_key: rand::rng().random(),
            wrapped_key: node.keys.new_workspace_key(id),
            shards: shards_per_workspace(meta),
            limits: default_limits(&node.config),
            tags: std::collections::BTreeMap::new(),
            client_token: None,
            now_ms,
        };
        propose(node, command).await?;
    }
    Ok(())
}
