//! Files of users: rule groups namespaces and the alert manager's definition. They come back byte for byte.

use super::ControlError;
use super::input::{Input, change, check_tags, definition, described};
use super::shapes::{ResourceType, active, namespace_arn, namespace_summary, time};
use crate::http::respond;
use crate::meta::service::{Definition, ServiceCommand};
use crate::node::Node;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use serde_json::json;
use std::collections::BTreeMap;

const DATA_BYTES_MAX: usize = 1 << 20;
const NAME_CHARS_MAX: usize = 128;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Body {
    name: Option<String>,
    data: String,
    client_token: Option<String>,
    #[serde(default)]
    tags: BTreeMap<String, String>,
}

/// `POST /workspaces/{id}/rulegroupsnamespaces`.
pub(super) async fn create_namespace(node: &Node, input: &Input) -> Result<Response, ControlError> {
    let body: Body = input.body()?;
    let name = body.name.clone().unwrap_or_default();
    set_namespace(node, input, &name, body, true).await
}

/// `PUT /workspaces/{id}/rulegroupsnamespaces/{name}`.
pub(super) async fn put_namespace(node: &Node, input: &Input) -> Result<Response, ControlError> {
    set_namespace(node, input, input.part("name"), input.body()?, false).await
}

async fn set_namespace(node: &Node, input: &Input, name: &str, body: Body, is_new: bool) -> Result<Response, ControlError> {
    // Clients take its ARN apart at slashes.
    if name.is_empty() || name.chars().count() > NAME_CHARS_MAX || name.contains('/') {
        return Err(ControlError::field("name", "1 to 128 characters without a slash"));
    }
    check_tags(&body.tags)?;
    let (id, kind) = (input.workspace(), ResourceType::RuleGroupsNamespace);
    let data = definition(&body.data, DATA_BYTES_MAX)?;
    let command = ServiceCommand::PutDefinition { namespace: Some(name.to_owned()), data, is_new, tags: body.tags };
    let workspace = change(node, id, command, body.client_token, (kind, name)).await?;
    let tags = workspace.service.rules.get(name).map(|definition| definition.tags.clone()).unwrap_or_default();
    let body = json!({"name": name, "arn": namespace_arn(node, id, name), "status": active(), "tags": tags});
    Ok(respond::json_with(StatusCode::ACCEPTED, body.to_string().into_bytes()))
}

/// `GET /workspaces/{id}/rulegroupsnamespaces/{name}`.
pub(super) async fn describe_namespace(node: &Node, input: &Input) -> Result<Response, ControlError> {
    let (id, name) = (input.workspace(), input.part("name"));
    let (_, workspace) = described(node, id).await?;
    let missing = || ControlError::NotFound { id: name.to_owned(), kind: ResourceType::RuleGroupsNamespace };
    let definition = workspace.service.rules.get(name).ok_or_else(missing)?;
    let mut body = namespace_summary(node, id, name, definition);
    body["data"] = json!(definition.data);
    Ok(respond::json(json!({"ruleGroupsNamespace": body}).to_string().into_bytes()))
}

/// `GET /workspaces/{id}/rulegroupsnamespaces`.
pub(super) async fn list_namespaces(node: &Node, input: &Input) -> Result<Response, ControlError> {
    let (id, page) = (input.workspace(), input.page()?);
    let (prefix, after) = (input.param("name").unwrap_or(""), input.param("nextToken").unwrap_or(""));
    let (_, workspace) = described(node, id).await?;
    let mut matching = workspace.service.rules.iter().filter(|(name, _)| name.as_str() > after && name.starts_with(prefix));
    let shown: Vec<(&String, &Definition)> = matching.by_ref().take(page).collect();
    let summaries: Vec<_> = shown.iter().map(|(name, definition)| namespace_summary(node, id, name, definition)).collect();
    let mut body = json!({"ruleGroupsNamespaces": summaries});
    if let (Some(_), Some((last, _))) = (matching.next(), shown.last()) {
        body["nextToken"] = json!(last);
    }
    Ok(respond::json(body.to_string().into_bytes()))
}

/// `DELETE /workspaces/{id}/rulegroupsnamespaces/{name}`.
pub(super) async fn delete_namespace(node: &Node, input: &Input) -> Result<Response, ControlError> {
    let name = input.part("name");
    let command = ServiceCommand::DeleteDefinition { namespace: Some(name.to_owned()) };
    let token = input.param("clientToken").map(str::to_owned);
    change(node, input.workspace(), command, token, (ResourceType::RuleGroupsNamespace, name)).await?;
    Ok(respond::json_with(StatusCode::ACCEPTED, Vec::new()))
}

/// `POST` and `PUT /workspaces/{id}/alertmanager/definition`.
pub(super) async fn set_alert_manager(node: &Node, input: &Input, is_new: bool) -> Result<Response, ControlError> {
    let body: Body = input.body()?;
    let id = input.workspace();
    let data = definition(&body.data, DATA_BYTES_MAX)?;
    let command = ServiceCommand::PutDefinition { namespace: None, data, is_new, tags: BTreeMap::new() };
    change(node, id, command, body.client_token, (ResourceType::AlertManagerDefinition, id)).await?;
    Ok(respond::json_with(StatusCode::ACCEPTED, json!({"status": active()}).to_string().into_bytes()))
}

/// `GET /workspaces/{id}/alertmanager/definition`.
pub(super) async fn describe_alert_manager(node: &Node, input: &Input) -> Result<Response, ControlError> {
    let id = input.workspace();
    let (_, workspace) = described(node, id).await?;
    let missing = || ControlError::NotFound { id: id.to_owned(), kind: ResourceType::AlertManagerDefinition };
    let known = workspace.service.alert_manager.ok_or_else(missing)?;
    let (created, modified) = (time(known.created_ms), time(known.modified_ms));
    let body = json!({"status": active(), "data": known.data, "createdAt": created, "modifiedAt": modified});
    Ok(respond::json(json!({"alertManagerDefinition": body}).to_string().into_bytes()))
}

/// `DELETE /workspaces/{id}/alertmanager/definition`.
pub(super) async fn delete_alert_manager(node: &Node, input: &Input) -> Result<Response, ControlError> {
    let id = input.workspace();
    let token = input.param("clientToken").map(str::to_owned);
    let command = ServiceCommand::DeleteDefinition { namespace: None };
    change(node, id, command, token, (ResourceType::AlertManagerDefinition, id)).await?;
    Ok(respond::json_with(StatusCode::ACCEPTED, Vec::new()))
}
