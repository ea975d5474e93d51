//! The resource policy of a workspace.

use super::ControlError;
use super::input::{Input, change, described};
use super::shapes::ResourceType;
use crate::http::respond;
use crate::meta::service::ServiceCommand;
use crate::node::Node;
use auth::policy::{PolicyDocument, PolicyKind};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use serde_json::json;

const DOCUMENT_BYTES_MAX: usize = 20 << 10;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PutBody {
    policy_document: String,
    client_token: Option<String>,
    revision_id: Option<String>,
}

/// `PUT /workspaces/{id}/policy`.
pub(super) async fn put(node: &Node, input: &Input) -> Result<Response, ControlError> {
    let body: PutBody = input.body()?;
    let id = input.workspace();
    if body.policy_document.len() > DOCUMENT_BYTES_MAX {
        return Err(ControlError::field("policyDocument", "longer than 20 KiB"));
    }
    PolicyDocument::parse(PolicyKind::Resource, &body.policy_document)
        .and_then(|document| document.policy().check_workspace(&node.gate.home().workspace(id)))
        .map_err(|error| ControlError::field("policyDocument", &error.to_string()))?;
    let command = ServiceCommand::PutPolicy { document: body.policy_document, expected: body.revision_id };
    let workspace = change(node, id, command, body.client_token, (ResourceType::ResourcePolicy, id)).await?;
    let revision = workspace.service.policy.map(|policy| policy.revision);
    Ok(respond::json_with(StatusCode::ACCEPTED, json!({"policyStatus": "ACTIVE", "revisionId": revision}).to_string().into_bytes()))
}

/// `GET /workspaces/{id}/policy`.
pub(super) async fn describe(node: &Node, input: &Input) -> Result<Response, ControlError> {
    let id = input.workspace();
    let (_, workspace) = described(node, id).await?;
    let missing = || ControlError::NotFound { id: id.to_owned(), kind: ResourceType::ResourcePolicy };
    let policy = workspace.service.policy.ok_or_else(missing)?;
    let body = json!({"policyDocument": policy.document, "policyStatus": "ACTIVE", "revisionId": policy.revision});
    Ok(respond::json(body.to_string().into_bytes()))
}

/// `DELETE /workspaces/{id}/policy`.
pub(super) async fn delete(node: &Node, input: &Input) -> Result<Response, ControlError> {
    let id = input.workspace();
    let command = ServiceCommand::DeletePolicy { expected: input.param("revisionId").map(str::to_owned) };
    change(node, id, command, input.param("clientToken").map(str::to_owned), (ResourceType::ResourcePolicy, id)).await?;
    Ok(respond::json_with(StatusCode::ACCEPTED, Vec::new()))
}
