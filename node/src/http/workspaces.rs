//! The control plane of workspaces, in AMP's REST shape.

use super::extract::{ReadLimits, read_body};
use super::params::Params;
use super::respond;
use crate::cluster::identity::random_hex;
use crate::cluster::operator::{MetaError, default_limits, newest, propose, shards_per_workspace};
use crate::meta::state::WorkspaceRecord;
use crate::meta::{MetaCommand, MetaResponse};
use crate::node::Node;
use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, Request, StatusCode};
use axum::response::Response;
use model::WorkspaceId;
use model::limits::{HTTP_FORM_BYTES_MAX, REQUEST_BODY_TIMEOUT};
use rand::RngExt;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;

const ALIAS_CHARS_MAX: usize = 100;
const TAGS_MAX: usize = 50;
const PAGE_DEFAULT: usize = 100;
const PAGE_MAX: usize = 1000;

/// Why a control-plane request failed, by AMP's names.
#[derive(Clone, Debug, PartialEq)]
pub enum ControlError {
    /// 400.
    Validation(String),
    /// 404.
    NotFound(String),
    /// 409.
    Conflict(String, String),
    /// 402: there is no room for more.
    Quota(String, String),
    /// 503: the meta group has no leader now.
    Unavailable(String),
}

impl ControlError {
    /// The answer that AWS clients parse: status, error type header, JSON body.
    #[must_use]
    pub fn into_response(self) -> Response {
        let (status, kind, body) = match self {
            Self::Validation(message) => {
                (StatusCode::BAD_REQUEST, "ValidationException", json!({"message": message, "reason": "FIELD_VALIDATION_FAILED"}))
            }
            Self::NotFound(id) => {
                let body = json!({"message": "Workspace not found", "resourceId": id, "resourceType": "workspace"});
                (StatusCode::NOT_FOUND, "ResourceNotFoundException", body)
            }
            Self::Conflict(id, message) => {
                let body = json!({"message": message, "resourceId": id, "resourceType": "workspace"});
                (StatusCode::CONFLICT, "ConflictException", body)
            }
            Self::Quota(id, message) => {
                let body = json!({"message": message, "resourceId": id, "resourceType": "workspace"});
                (StatusCode::PAYMENT_REQUIRED, "ServiceQuotaExceededException", body)
            }
            Self::Unavailable(message) => (StatusCode::SERVICE_UNAVAILABLE, "InternalServerException", json!({"message": message})),
        };
        let mut response = respond::json_with(status, body.to_string().into_bytes());
        response.headers_mut().insert(HeaderName::from_static("x-amzn-errortype"), HeaderValue::from_static(kind));
        response
    }
}

impl From<MetaError> for ControlError {
    fn from(error: MetaError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct CreateBody {
    alias: Option<String>,
    client_token: Option<String>,
    #[serde(default)]
    tags: BTreeMap<String, String>,
}

/// `POST /workspaces`.
///
/// # Errors
/// See [`ControlError`].
pub async fn create(node: &Node, request: Request<Body>) -> Result<Response, ControlError> {
    let (head, body) = request.into_parts();
    let limits = ReadLimits { bytes: HTTP_FORM_BYTES_MAX, time: REQUEST_BODY_TIMEOUT };
    let bytes = read_body(&head.headers, body, limits).await.map_err(|e| ControlError::Validation(e.to_string()))?;
    let body: CreateBody = if bytes.is_empty() {
        CreateBody::default()
    } else {
        serde_json::from_slice(&bytes).map_err(|e| ControlError::Validation(e.to_string()))?
    };
    let alias = body.alias.map(|a| a.trim().to_owned()).filter(|a| !a.is_empty());
    validate(alias.as_deref(), body.client_token.as_deref(), &body.tags)?;
    let id = format!("ws-{}", uuid::Uuid::new_v4());
    let command = MetaCommand::CreateWorkspace {
        wrapped_key: node.keys.new_workspace_key(&id),
        id,
        alias,
        placement_key: rand::rng().random(),
        shards: shards_per_workspace(&node.meta.get()),
        limits: default_limits(&node.config),
        tags: body.tags,
        client_token: body.client_token,
        now_ms: node.time.now().map_err(|e| ControlError::Unavailable(e.to_string()))?,
    };
    match propose(node, command).await? {
        MetaResponse::Workspace { workspace } => {
            let body =
                json!({"workspaceId": workspace.id, "arn": arn(&workspace.id), "status": {"statusCode": "ACTIVE"}, "tags": workspace.tags});
            Ok(respond::json_with(StatusCode::ACCEPTED, body.to_string().into_bytes()))
        }
        MetaResponse::Conflict { id, reason } => Err(ControlError::Conflict(id, reason)),
        MetaResponse::Full { id, reason } => Err(ControlError::Quota(id, reason)),
        other => Err(ControlError::Unavailable(format!("unexpected answer {other:?}"))),
    }
}

fn validate(alias: Option<&str>, token: Option<&str>, tags: &BTreeMap<String, String>) -> Result<(), ControlError> {
    let refuse = |field: &str, why: &str| Err(ControlError::Validation(format!("{field}: {why}")));
    if alias.is_some_and(|a| a.chars().count() > ALIAS_CHARS_MAX) {
        return refuse("alias", "longer than 100 characters");
    }
    if token.is_some_and(|t| t.is_empty() || t.len() > 64 || !t.bytes().all(|b| b.is_ascii_graphic())) {
        return refuse("clientToken", "1 to 64 printable characters");
    }
    if tags.len() > TAGS_MAX {
        return refuse("tags", "more than 50");
    }
    for (key, value) in tags {
        if key.is_empty() || key.chars().count() > 128 || value.chars().count() > 256 || key.starts_with("aws:") {
            return refuse("tags", "keys have 1 to 128 characters and do not begin with aws:, values have up to 256");
        }
    }
    Ok(())
}

/// `GET /workspaces`.
///
/// # Errors
/// See [`ControlError`].
pub async fn list(node: &Node, params: &Params) -> Result<Response, ControlError> {
    let page = match params.get("maxResults") {
        "" => PAGE_DEFAULT,
        text => text
            .parse()
            .ok()
            .filter(|n| (1..=PAGE_MAX).contains(n))
            .ok_or_else(|| ControlError::Validation("maxResults: 1 to 1000".to_owned()))?,
    };
    let (prefix, after) = (params.get("alias"), params.get("nextToken"));
    let meta = newest(node).await?;
    let mut matching = meta.workspaces.values().filter(|w| w.id.as_str() > after && w.alias.as_deref().unwrap_or("").starts_with(prefix));
    let shown: Vec<&WorkspaceRecord> = matching.by_ref().take(page).collect();
    let mut body = json!({"workspaces": shown.iter().map(|w| summary(w)).collect::<Vec<_>>()});
    if let (Some(_), Some(last)) = (matching.next(), shown.last()) {
        body["nextToken"] = json!(last.id);
    }
    Ok(respond::json(body.to_string().into_bytes()))
}

/// `GET /workspaces/{id}`.
///
/// # Errors
/// See [`ControlError`].
pub async fn describe(node: &Node, id: &str) -> Result<Response, ControlError> {
    let meta = newest(node).await?;
    let workspace = meta.workspaces.get(id).ok_or_else(|| ControlError::NotFound(id.to_owned()))?;
    let mut body = summary(workspace);
    body["prometheusEndpoint"] = json!(format!("http://{}/workspaces/{id}/", node.config.web.listen_address));
    Ok(respond::json(json!({"workspace": body}).to_string().into_bytes()))
}

/// `DELETE /workspaces/{id}`.
///
/// # Errors
/// See [`ControlError`].
pub async fn delete(node: &Node, id: &str) -> Result<Response, ControlError> {
    if [WorkspaceId::DEFAULT, WorkspaceId::SYSTEM].contains(&id) {
        return Err(ControlError::Conflict(id.to_owned(), "the workspace is part of the cluster".to_owned()));
    }
    match propose(node, MetaCommand::DeleteWorkspace { id: id.to_owned() }).await? {
        MetaResponse::Done => Ok(respond::json_with(StatusCode::ACCEPTED, Vec::new())),
        MetaResponse::NotFound { id } => Err(ControlError::NotFound(id)),
        other => Err(ControlError::Unavailable(format!("unexpected answer {other:?}"))),
    }
}

fn summary(w: &WorkspaceRecord) -> Value {
    let mut summary = json!({
        "workspaceId": w.id,
        "arn": arn(&w.id),
        "status": {"statusCode": "ACTIVE"},
        "createdAt": w.created_ms as f64 / 1000.0,
        "tags": w.tags,
    });
    if let Some(alias) = &w.alias {
        summary["alias"] = json!(alias);
    }
    summary
}

fn arn(id: &str) -> String {
    format!("arn:aws:aps:us-east-1:000000000000:workspace/{id}")
}

/// The request id that every control-plane answer carries.
#[must_use]
pub fn request_id() -> HeaderValue {
    HeaderValue::from_str(&random_hex()).unwrap_or_else(|_| HeaderValue::from_static("0"))
}
