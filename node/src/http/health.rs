//! `/-/healthy`, `/-/ready` and `/metrics`.

use super::respond;
use crate::meta::state::ReplicaRole;
use crate::node::Node;
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::Response;
use model::{ShardId, WorkspaceId};
use std::sync::atomic::Ordering;

/// 200 while the process lives, whatever the cluster does.
#[must_use]
pub fn healthy() -> Response {
    respond::text(StatusCode::OK, "Flotilla is Healthy.\n")
}

/// 200 when a write or a query sent now succeeds; 503 names what is missing.
#[must_use]
pub fn ready(node: &Node) -> Response {
    match missing(node) {
        None => respond::text(StatusCode::OK, "Flotilla is Ready.\n"),
        Some(reason) => not_ready(node, &reason),
    }
}

/// The answer of everything that needs a ready node.
#[must_use]
pub fn not_ready(node: &Node, reason: &str) -> Response {
    service_unavailable(node.draining.load(Ordering::Relaxed), reason)
}

/// 503 as Prometheus answers before it is ready.
#[must_use]
pub fn service_unavailable(stopping: bool, reason: &str) -> Response {
    let mut response = respond::text(StatusCode::SERVICE_UNAVAILABLE, format!("Service Unavailable: {reason}\n"));
    let stopping = if stopping { "true" } else { "false" };
    response.headers_mut().insert(HeaderName::from_static("x-prometheus-stopping"), HeaderValue::from_static(stopping));
    response
}

/// What keeps the node from being ready.
#[must_use]
pub fn missing(node: &Node) -> Option<String> {
    if node.draining.load(Ordering::Relaxed) {
        return Some("shutting down".to_owned());
    }
    let store = node.store_id();
    let meta = node.meta.get();
    if meta.cluster_id.is_none() {
        return Some("the cluster is not founded".to_owned());
    }
    for id in [WorkspaceId::DEFAULT, WorkspaceId::SYSTEM] {
        let Some(workspace) = meta.workspaces.get(id) else { return Some(format!("workspace {id} does not exist yet")) };
        for shard in workspace.generations.iter().flat_map(|g| &g.shards).map(|s| ShardId(*s)) {
            if meta.replica_on(shard, store).is_none_or(|r| r.role == ReplicaRole::Learner) {
                continue;
            }
            let Some(local) = node.shards.get(shard) else { return Some(format!("the replica of shard {shard} is not open")) };
            if !local.is_recovered() {
                return Some(format!("the replica of shard {shard} has not applied what was committed"));
            }
            if local.group.status().leader.is_none() {
                return Some(format!("shard {shard} has no known leader"));
            }
            if !local.shard.has_map() || local.shard.limits().version < workspace.limits.version {
                return Some(format!("shard {shard} has not taken its map and limits"));
            }
        }
    }
    node.time.now().err().map(|e| e.to_string())
}

/// The process's metrics in the text format.
#[must_use]
pub fn metrics(node: &Node) -> Response {
    metrics_process::Collector::default().collect();
    let text = node.exposition.as_ref().map(|e| e.render()).unwrap_or_default();
    let mut response = respond::text(StatusCode::OK, text);
    response.headers_mut().insert(axum::http::header::CONTENT_TYPE, HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8"));
    response
}
