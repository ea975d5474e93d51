//! The queries that this node is busy with: listed and cancelled.
//!
//! Under a workspace's routes only its own are seen; `/admin/queries` shows all.

use super::error::{ApiError, ErrorType};
use super::json::{Annotations, Success, write_list, write_string};
use super::respond;
use crate::node::Node;
use crate::query::active::{ActiveQuery, QueryId};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use model::number::write_float;

/// Lists queries of one workspace, or of all, oldest first.
#[must_use]
pub fn list(node: &Node, workspace: Option<&str>) -> Response {
    let mut success = Success::begin();
    write_list(&mut success.out, node.active.list(workspace), |out, query| write(out, &query));
    respond::json(success.finish(Annotations { warnings: &[], infos: &[] }))
}

fn write(out: &mut Vec<u8>, query: &ActiveQuery) {
    let ActiveQuery { id, info, running, cancelled, seconds } = query;
    let state = match (cancelled, running) {
        (true, _) => "cancelled",
        (false, true) => "running",
        (false, false) => "queued",
    };
    out.extend_from_slice(b"{\"id\":");
    write_string(out, &id.to_string());
    for (name, value) in [("workspace", &*info.workspace), ("query", &info.text), ("client", &info.client), ("state", state)] {
        out.extend_from_slice(format!(",\"{name}\":").as_bytes());
        write_string(out, value);
    }
    // Times in milliseconds, as in VictoriaMetrics's list of the same name.
    for (name, value) in [("start", info.start_ms), ("end", info.end_ms), ("step", info.step_ms), ("arrived", info.arrived_ms)] {
        out.extend_from_slice(format!(",\"{name}\":{value}").as_bytes());
    }
    out.extend_from_slice(b",\"duration\":");
    write_float(out, *seconds);
    out.push(b'}');
}

/// Cancels a query; 204.
///
/// # Errors
/// 404 if there is none of that number, or it belongs to another workspace than the one named.
pub fn cancel(node: &Node, workspace: Option<&str>, id: &str) -> Result<Response, ApiError> {
    let found = QueryId::parse(id).is_some_and(|id| node.active.cancel(id, workspace));
    if found {
        Ok(StatusCode::NO_CONTENT.into_response())
    } else {
        Err(ApiError::new(ErrorType::NotFound, format!("no query {} waits or runs on this node", model::labels::quote(id))))
    }
}
