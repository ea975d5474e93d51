//! `/cluster`: what the cluster consists of, and what operators ask of it. `flotilla ctl` shows the same.

use super::error::{ApiError, ErrorType};
use super::params::Params;
use super::respond;
use super::routes::Endpoint;
use crate::cluster::admin::AdminError;
use crate::cluster::operator::propose;
use crate::cluster::planner::target_of;
use crate::cluster::scaler::{self, ScaleError};
use crate::meta::placement::{held, kept_stores, led, replication_target};
use crate::meta::state::{ChangeReason, GenerationRecord, MetaState, ReplicaRole, ScaleReason, ShardRecord, StoreRecord, WorkspaceRecord};
use crate::meta::{MetaCommand, MetaResponse};
use crate::node::Node;
use axum::response::Response;
use model::ShardId;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::Arc;

/// Answers a request under `/cluster`.
///
/// # Errors
/// 400 for a malformed parameter or what the cluster cannot do; 404 for what it does not have; 503 without a leader of the meta group.
pub async fn answer(node: &Arc<Node>, endpoint: Endpoint, path: &HashMap<String, String>, params: &Params) -> Result<Response, ApiError> {
    let meta = node.meta.get();
    let data = match endpoint {
        Endpoint::ClusterStatus => status(node, &meta),
        Endpoint::ClusterNodes => meta.stores.values().map(|store| store_json(node, &meta, store)).collect(),
        Endpoint::ClusterShards => meta.records().map(|record| shard_json(node, &meta, record)).collect(),
        Endpoint::ClusterOperators => json!(meta.changes.values().collect::<Vec<_>>()),
        Endpoint::ClusterWorkspaces => meta.workspaces.values().map(workspace_json).collect(),
        Endpoint::ScaleWorkspace => {
            let shards = required(params, "shards")?.parse();
            let shards = shards.map_err(|_| ApiError::new(ErrorType::BadData, "parameter \"shards\" is not a number of shards"))?;
            let begun = scaler::begin(node, path_text(path, "id"), shards, ScaleReason::Asked).await;
            told(begun.map_err(scale_error)?)?
        }
        Endpoint::CancelScale => {
            let id = path_text(path, "id").to_owned();
            let workspace = meta.workspaces.get(&id).ok_or_else(|| ApiError::new(ErrorType::NotFound, format!("there is no {id}")))?;
            let rev = workspace.pending.as_ref().map(|pending| pending.generation.rev);
            let rev = rev.ok_or_else(|| ApiError::new(ErrorType::BadData, "no change of its shards is pending"))?;
            ask(node, MetaCommand::AbortScale { id, rev }).await?
        }
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
    let mut named = meta.stores.values().filter(|store| store.report.name == text);
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
    told(propose(node, command).await.map_err(|e| ApiError::new(ErrorType::Unavailable, e))?)
}

fn scale_error(error: ScaleError) -> ApiError {
    match error {
        ScaleError::Shard(AdminError::NoWorkspace) => ApiError::new(ErrorType::NotFound, "there is no such workspace"),
        error => ApiError::new(ErrorType::Unavailable, error),
    }
}

/// What the meta group's answer comes to.
fn told(response: MetaResponse) -> Result<Value, ApiError> {
    match response {
        MetaResponse::NotFound { id } => Err(ApiError::new(ErrorType::NotFound, format!("there is no {id}"))),
        MetaResponse::Conflict { reason, .. } | MetaResponse::Full { reason, .. } => Err(ApiError::new(ErrorType::BadData, reason)),
        MetaResponse::Change { change } => Ok(json!(change)),
        MetaResponse::Store { store } => Ok(json!(store)),
        MetaResponse::Workspace { workspace } => Ok(workspace_json(&workspace)),
        _ => Ok(Value::Null),
    }
}

fn workspace_json(workspace: &WorkspaceRecord) -> Value {
    let generation = |g: &GenerationRecord| json!({"generation": g.generation, "rev": g.rev, "from_ms": g.from_ms, "shards": g.shards});
    json!({
        "id": workspace.id,
        "shards": workspace.current_shards().len(),
        "generations": workspace.generations.iter().map(generation).collect::<Vec<_>>(),
        "pending": workspace.pending.as_ref().map(|pending| generation(&pending.generation)),
        "acceptedBy": workspace.pending.as_ref().map(|pending| &pending.accepted),
        "decideByMs": workspace.pending.as_ref().map(|pending| pending.decide_by_ms),
    })
}

fn status(node: &Node, meta: &MetaState) -> Value {
    let counts = |shard: &ShardRecord| shard.replicas.iter().filter(|r| r.role == ReplicaRole::Voter && !r.is_lost).count();
    let leaderless: Vec<u64> =
        node.groups.list().iter().map(raft::Group::status).filter(|s| s.leader.is_none()).map(|s| s.shard.0).collect();
    let leader = node.groups.group(ShardId::META).and_then(|group| group.status().leader).map(|(_, store)| store.0);
    json!({
        "clusterId": meta.cluster_id,
        "revision": meta.revision,
        "level": meta.level,
        "node": node.store_id().0,
        "metaLeader": leader,
        "nodes": meta.stores.len(),
        "silentNodes": meta.stores.keys().filter(|store| node.is_silent(**store)).collect::<Vec<_>>(),
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

fn store_json(node: &Node, meta: &MetaState, store: &StoreRecord) -> Value {
    let id = store.store_id;
    let state = match (store.is_draining, node.is_silent(id), held(meta, id)) {
        (true, _, 0) => "drained",
        (true, _, _) => "draining",
        (false, true, _) => "silent",
        (false, false, _) => "up",
    };
    json!({
        "id": id,
        "name": store.report.name,
        "zone": store.report.zone,
        "state": state,
        "level": store.report.level,
        "replicas": held(meta, id),
        "groupsMax": store.report.groups_max,
        "preferredLeader": led(meta).get(&id).copied().unwrap_or(0),
        "httpAddress": store.report.http_address,
        "rpcAddress": store.report.rpc_address,
    })
}

fn shard_json(node: &Node, meta: &MetaState, record: &ShardRecord) -> Value {
    let status = node.groups.group(ShardId(record.shard)).map(|group| group.status());
    let leader = status.and_then(|status| status.leader).map(|(_, store)| store.0);
    let load = node.loads.lock().of(record.shard);
    json!({
        "id": record.shard,
        "workspace": if record.shard == ShardId::META.0 { "(meta)" } else { record.workspace.as_str() },
        "replicas": record.replicas,
        "version": record.conf_ver,
        "leader": leader,
        "preferredLeader": record.replicas.first().filter(|_| record.shard != ShardId::META.0).map(|r| r.store),
        "change": meta.changes.get(&record.shard),
        "samplesPerSecond": load.map(|(rate, _)| rate.round()),
        "series": load.map(|(_, series)| series),
    })
}
