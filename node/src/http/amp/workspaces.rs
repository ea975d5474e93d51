//! Workspaces: create, list, describe, name, delete.

use super::ControlError;
use super::input::{Input, alias, change, check_tags, check_token, described};
use super::shapes::{ResourceType, active, workspace_arn, workspace_summary};
use crate::cluster::operator::{default_limits, newest, propose, shards_per_workspace};
use crate::http::respond;
use crate::meta::service::ServiceCommand;
use crate::meta::state::WorkspaceRecord;
use crate::meta::{MetaCommand, MetaResponse};
use crate::node::Node;
use axum::http::StatusCode;
use axum::response::Response;
use model::WorkspaceId;
use rand::RngExt;
use serde::Deserialize;
use serde_json::json;
use std::collections::BTreeMap;

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct CreateBody {
    alias: Option<String>,
    client_token: Option<String>,
    #[serde(default)]
    tags: BTreeMap<String, String>,
    kms_key_arn: Option<String>,
}

/// `POST /workspaces`.
pub(super) async fn create(node: &Node, input: &Input) -> Result<Response, ControlError> {
    let body: CreateBody = input.body()?;
    check_token(body.client_token.as_deref())?;
    check_tags(&body.tags)?;
    if body.kms_key_arn.is_some() {
        return Err(ControlError::field("kmsKeyArn", "this cluster wraps data keys with its key file only"));
    }
    let id = format!("ws-{}", uuid::Uuid::new_v4());
    let command = MetaCommand::CreateWorkspace {
        wrapped_key: node.keys.new_workspace_key(&id),
        id,
        alias: alias(body.alias)?,
        placement_key: rand::rng().random(),
        shards: shards_per_workspace(&node.meta.get()),
        limits: default_limits(&node.config),
        tags: body.tags,
        client_token: body.client_token,
        now_ms: node.time.now().map_err(|e| ControlError::Unavailable(e.to_string()))?,
    };
    let kind = ResourceType::Workspace;
    match propose(node, command).await? {
        MetaResponse::Workspace { workspace } => {
            let arn = workspace_arn(node, &workspace.id);
            let body = json!({"workspaceId": workspace.id, "arn": arn, "status": active(), "tags": workspace.tags});
            Ok(respond::json_with(StatusCode::ACCEPTED, body.to_string().into_bytes()))
        }
        MetaResponse::Conflict { id, reason } => Err(ControlError::Conflict { id, kind, message: reason }),
        MetaResponse::Full { id, reason } => Err(ControlError::Quota { id, kind, message: reason }),
        other => Err(ControlError::Unavailable(format!("unexpected answer {other:?}"))),
    }
}

/// `GET /workspaces`.
pub(super) async fn list(node: &Node, input: &Input) -> Result<Response, ControlError> {
    let page = input.page()?;
    let (prefix, after) = (input.param("alias").unwrap_or(""), input.param("nextToken").unwrap_or(""));
    let meta = newest(node).await?;
    let mut matching = meta.workspaces.values().filter(|w| w.id.as_str() > after && w.alias.as_deref().unwrap_or("").starts_with(prefix));
    let shown: Vec<&WorkspaceRecord> = matching.by_ref().take(page).collect();
    let mut body = json!({"workspaces": shown.iter().map(|w| workspace_summary(node, w)).collect::<Vec<_>>()});
    if let (Some(_), Some(last)) = (matching.next(), shown.last()) {
        body["nextToken"] = json!(last.id);
    }
    Ok(respond::json(body.to_string().into_bytes()))
}

/// `GET /workspaces/{id}`.
pub(super) async fn describe(node: &Node, input: &Input) -> Result<Response, ControlError> {
    let (_, workspace) = described(node, input.workspace()).await?;
    let mut body = workspace_summary(node, &workspace);
    body["prometheusEndpoint"] = json!(format!("{}/workspaces/{}/", node.config.external_url(), workspace.id));
    Ok(respond::json(json!({"workspace": body}).to_string().into_bytes()))
}

/// `DELETE /workspaces/{id}`.
pub(super) async fn delete(node: &Node, input: &Input) -> Result<Response, ControlError> {
    let id = input.workspace();
    check_token(input.param("clientToken"))?;
    if [WorkspaceId::DEFAULT, WorkspaceId::SYSTEM].contains(&id) {
        let message = "the workspace is part of the cluster".to_owned();
        return Err(ControlError::Conflict { id: id.to_owned(), kind: ResourceType::Workspace, message });
    }
    match propose(node, MetaCommand::DeleteWorkspace { id: id.to_owned() }).await? {
        MetaResponse::Done => Ok(respond::json_with(StatusCode::ACCEPTED, Vec::new())),
        MetaResponse::NotFound { id } => Err(ControlError::no_workspace(&id)),
        other => Err(ControlError::Unavailable(format!("unexpected answer {other:?}"))),
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct AliasBody {
    alias: Option<String>,
    client_token: Option<String>,
}

/// `POST /workspaces/{id}/alias`.
pub(super) async fn set_alias(node: &Node, input: &Input) -> Result<Response, ControlError> {
    let body: AliasBody = input.body()?;
    let command = ServiceCommand::SetAlias { alias: alias(body.alias)? };
    let id = input.workspace();
    change(node, id, command, body.client_token, (ResourceType::Workspace, id)).await?;
    Ok(respond::json_with(StatusCode::NO_CONTENT, Vec::new()))
}
