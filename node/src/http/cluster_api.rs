//! `/cluster`: what the cluster consists of, and what operators ask of it. `flotilla ctl` shows the same.

use super::error::{ApiError, ErrorType};
use super::params::Params;
use super::respond;
use super::routes::Endpoint;
use crate::cluster::operator::propose;
use crate::cluster::planner::target_of;
use crate::meta::placement::{held, kept_stores, led, replication_target};
use crate::meta::state::{ChangeReason, MetaState, ReplicaRole, ShardRecord, StoreRecord};
use crate::meta::{MetaCommand, MetaResponse};
use crate::node::Node;
use axum::response::Response;
use model::{ShardId, StoreId};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::time::Duration;

/// A store that has not answered for so long is shown as silent.
const SILENT_AFTER: Duration = Duration::from_secs(5);

/// Answers a request under `/cluster`.
///
/// # Errors
/// 400 for a malformed parameter or what the cluster cannot do; 404 for what it does not have; 503 without a leader of the meta group.
pub async fn answer(node: &Node, endpoint: Endpoint, path: &HashMap<String, String>, params: &Params) -> Result<Response, ApiError> {
    let meta = node.meta.get();
    let data = match endpoint {
        Endpoint::ClusterStatus => status(node, &meta),
        Endpoint::ClusterNodes => meta.stores.values().map(|store| store_json(node, &meta, store)).collect(),
        Endpoint::ClusterShards => meta.records().map(|record| shard_json(node, &meta, record)).collect(),
        Endpoint::ClusterOperators => json!(meta.changes.values().collect::<Vec<_>>()),
        Endpoint::DrainNode => {
            let is_draining = params.get("cancel") != "true";
            ask(node, MetaCommand::SetDraining { store_id: store_of(&meta, path_text(path, "node"))?, is_draining }).await?
        }
        Endpoint::RemoveNode => ask(node, MetaCommand::RemoveStore { store_id: store_of(&meta, path_text(path, "node"))? }).await?,
        Endpoint::MoveShard => ask(node, moved(node, &meta, path, params)?).await?,
        Endpoint::LeadShard => {
            let store = store_of(&meta, required(params, "to")?)?;
            ask(node, MetaCommand::PreferLeader { shard: number(path_text(path, "shard"))?, store }).await?
        }
        _ => ask(node, MetaCommand::CancelChange { shard: number(path_text(path, "shard"))? }).await?,
    };
    Ok(respond::json(json!({"status": "success", "data": data}).to_string().into_bytes()))
}

fn path_text<'p>(path: &'p HashMap<String, String>, name: &str) -> &'p str {
    path.get(name).map_or("", String::as_str)
}

fn required<'p>(params: &'p Params, name: &str) -> Result<&'p str, ApiError> {
    match params.get(name) {
        "" => Err(ApiError::new(ErrorType::BadData, format!("parameter {name:?} is missing"))),
        text => Ok(text),
    }
}

fn number(text: &str) -> Result<u64, ApiError> {
    text.parse().map_err(|_| ApiError::new(ErrorType::BadData, format!("{text:?} is not a number")))
}

/// A store by its id or by the name of its node.
fn store_of(meta: &MetaState, text: &str) -> Result<u64, ApiError> {
    let by_id = text.parse().ok().filter(|id| meta.stores.contains_key(id));
    let mut named = meta.stores.values().filter(|store| store.name == text);
    let by_name = named.next().filter(|_| named.next().is_none()).map(|store| store.store_id);
    by_id.or(by_name).ok_or_else(|| ApiError::new(ErrorType::NotFound, format!("no one node is {text:?}")))
}

fn moved(node: &Node, meta: &MetaState, path: &HashMap<String, String>, params: &Params) -> Result<MetaCommand, ApiError> {
    let shard = number(path_text(path, "shard"))?;
    let record = meta.record(ShardId(shard)).ok_or_else(|| ApiError::new(ErrorType::NotFound, format!("no shard {shard}")))?;
    let (from, to) = (store_of(meta, required(params, "from")?)?, store_of(meta, required(params, "to")?)?);
    let replica = record.replicas.iter().find(|r| r.store == from && r.role == ReplicaRole::Voter);
    let replica = replica.ok_or_else(|| ApiError::new(ErrorType::NotFound, format!("node {from} holds no voting replica of {shard}")))?;
    Ok(MetaCommand::BeginChange {
        shard,
        conf_ver: record.conf_ver,
        add: vec![to],
        remove: vec![replica.replica],
        reason: ChangeReason::Asked,
        now_ms: node.time.now().map_err(|e| ApiError::new(ErrorType::Unavailable, e))?,
    })
}

async fn ask(node: &Node, command: MetaCommand) -> Result<Value, ApiError> {
    match propose(node, command).await.map_err(|e| ApiError::new(ErrorType::Unavailable, e))? {
        MetaResponse::NotFound { id } => Err(ApiError::new(ErrorType::NotFound, format!("there is no {id}"))),
        MetaResponse::Conflict { reason, .. } | MetaResponse::Full { reason, .. } => Err(ApiError::new(ErrorType::BadData, reason)),
        MetaResponse::Change { change } => Ok(json!(change)),
        MetaResponse::Store { store } => Ok(json!(store)),
        _ => Ok(Value::Null),
    }
}

fn status(node: &Node, meta: &MetaState) -> Value {
    let counts = |shard: &ShardRecord| shard.replicas.iter().filter(|r| r.role == ReplicaRole::Voter && !r.is_lost).count();
    let leaderless: Vec<u64> =
        node.groups.list().iter().map(raft::Group::status).filter(|s| s.leader.is_none()).map(|s| s.shard.0).collect();
    let leader = node.groups.group(ShardId::META).and_then(|group| group.status().leader).map(|(_, store)| store.0);
    json!({
        "clusterId": meta.cluster_id,
        "revision": meta.revision,
        "node": node.store_id().0,
        "metaLeader": leader,
        "nodes": meta.stores.len(),
        "silentNodes": meta.stores.keys().filter(|store| is_silent(node, **store)).collect::<Vec<_>>(),
        "workspaces": meta.workspaces.len(),
        "shards": meta.shards.len(),
        "replicationTarget": replication_target(kept_stores(meta)),
        "groups": meta.records().count(),
        "groupsAtTarget": meta.records().filter(|shard| counts(shard) >= target_of(meta, shard)).count(),
        "groupsHere": node.groups.list().len(),
        "groupsWithoutLeaderHere": leaderless,
        "changes": meta.changes.len(),
        "ready": super::health::missing(node).map_or(json!(true), Value::from),
    })
}

fn is_silent(node: &Node, store: u64) -> bool {
    let heard = node.heard_at.read().get(&StoreId(store)).copied();
    store != node.store_id().0 && heard.is_none_or(|at| node.clock.monotonic().saturating_sub(at) > SILENT_AFTER)
}

fn store_json(node: &Node, meta: &MetaState, store: &StoreRecord) -> Value {
    let id = store.store_id;
    let state = match (store.is_draining, is_silent(node, id), held(meta, id)) {
        (true, _, 0) => "drained",
        (true, _, _) => "draining",
        (false, true, _) => "silent",
        (false, false, _) => "up",
    };
    json!({
        "id": id,
        "name": store.name,
        "zone": store.zone,
        "state": state,
        "replicas": held(meta, id),
        "preferredLeader": led(meta).get(&id).copied().unwrap_or(0),
        "httpAddress": store.http_address,
        "rpcAddress": store.rpc_address,
    })
}

fn shard_json(node: &Node, meta: &MetaState, record: &ShardRecord) -> Value {
    let status = node.groups.group(ShardId(record.shard)).map(|group| group.status());
    let leader = status.and_then(|status| status.leader).map(|(_, store)| store.0);
    json!({
        "id": record.shard,
        "workspace": if record.shard == ShardId::META.0 { "(meta)" } else { record.workspace.as_str() },
        "replicas": record.replicas,
        "version": record.conf_ver,
        "leader": leader,
        "preferredLeader": record.replicas.first().filter(|_| record.shard != ShardId::META.0).map(|r| r.store),
        "change": meta.changes.get(&record.shard),
    })
}
