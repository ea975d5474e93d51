//! Prometheus's `admin/tsdb`: deletes, and rewriting what they touch. Off unless `web.enable_admin_api` is set.

use super::error::{ApiError, ErrorType};
use super::params::Params;
use crate::cluster::admin::{self, AdminError};
use crate::meta::state::WorkspaceRecord;
use crate::node::Node;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use model::Matcher;
use std::sync::Arc;

/// Deletes what the series that match any of `match[]` hold between `start` and `end`, both included; by default all of time.
///
/// # Errors
/// 503 unless enabled, or if a shard is unavailable; 400 without `match[]` or with a malformed parameter.
pub async fn delete_series(node: &Arc<Node>, workspace: &WorkspaceRecord, params: &Params) -> Result<Response, ApiError> {
    ensure_enabled(node)?;
    let selectors = params.required_matches()?;
    let (start_ms, end_ms) = params.interval()?;
    let parse = |text| promql::parse_selector(text).map_err(|e| ApiError::invalid_parameter("match[]", e));
    let matcher_sets: Vec<Vec<Matcher>> = selectors.into_iter().map(parse).collect::<Result<_, _>>()?;
    admin::delete_series(node, &workspace.id, start_ms, end_ms, &matcher_sets).await.map_err(api_error)?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Rewrites what deletes touch, on every replica; answers when all have done it.
///
/// # Errors
/// 503 unless enabled, or if a replica cannot do it now.
pub async fn clean_tombstones(node: &Arc<Node>, workspace: &WorkspaceRecord) -> Result<Response, ApiError> {
    ensure_enabled(node)?;
    admin::clean_tombstones(node, &workspace.id).await.map_err(api_error)?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

fn ensure_enabled(node: &Node) -> Result<(), ApiError> {
    if node.config.web.enable_admin_api { Ok(()) } else { Err(ApiError::new(ErrorType::Unavailable, "admin APIs disabled")) }
}

fn api_error(error: AdminError) -> ApiError {
    let error_type = match error {
        AdminError::Delete(_) => return ApiError::invalid_parameter("match[]", error),
        AdminError::NoWorkspace => ErrorType::NotFound,
        AdminError::Unavailable { .. } => ErrorType::Unavailable,
    };
    ApiError::new(error_type, error)
}
