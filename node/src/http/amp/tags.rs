//! Tags of workspaces and of rule groups namespaces.

use super::ControlError;
use super::input::{Input, change, check_tags, described};
use super::shapes::ResourceType;
use crate::http::respond;
use crate::meta::service::ServiceCommand;
use crate::node::Node;
use axum::response::Response;
use serde::Deserialize;
use serde_json::json;
use std::collections::BTreeMap;

/// What is tagged.
struct Tagged<'a> {
    workspace: &'a str,
    namespace: Option<&'a str>,
}

impl<'a> Tagged<'a> {
    /// Reads an ARN of this service.
    fn parse(node: &Node, arn: &'a str) -> Result<Self, ControlError> {
        let refuse = || ControlError::field("resourceArn", "not the name of a workspace or a rule groups namespace");
        let home = node.gate.home();
        let resource = arn.split(':').nth(5).unwrap_or("");
        let tagged = match resource.split('/').collect::<Vec<_>>().as_slice() {
            ["workspace", workspace] => Self { workspace, namespace: None },
            ["rulegroupsnamespace", workspace, name] => Self { workspace, namespace: Some(name) },
            _ => return Err(refuse()),
        };
        let expected = match tagged.namespace {
            None => home.workspace(tagged.workspace),
            Some(name) => home.rule_groups_namespace(tagged.workspace, name),
        };
        if expected.to_string() == arn { Ok(tagged) } else { Err(refuse()) }
    }

    fn named(&self) -> (ResourceType, &'a str) {
        self.namespace.map_or((ResourceType::Workspace, self.workspace), |name| (ResourceType::RuleGroupsNamespace, name))
    }
}

#[derive(Debug, Deserialize)]
struct TagBody {
    tags: BTreeMap<String, String>,
}

/// `GET /tags/{arn}`.
pub(super) async fn list(node: &Node, input: &Input) -> Result<Response, ControlError> {
    let tagged = Tagged::parse(node, input.part("resource"))?;
    let (_, workspace) = described(node, tagged.workspace).await?;
    let tags = match tagged.namespace {
        None => &workspace.tags,
        Some(name) => {
            let found = workspace.service.rules.get(name);
            &found.ok_or_else(|| ControlError::NotFound { id: name.to_owned(), kind: ResourceType::RuleGroupsNamespace })?.tags
        }
    };
    Ok(respond::json(json!({"tags": tags}).to_string().into_bytes()))
}

/// `POST /tags/{arn}`.
pub(super) async fn add(node: &Node, input: &Input) -> Result<Response, ControlError> {
    let tagged = Tagged::parse(node, input.part("resource"))?;
    let TagBody { tags } = input.body()?;
    check_tags(&tags)?;
    let command = ServiceCommand::Tag { namespace: tagged.namespace.map(str::to_owned), tags };
    change(node, tagged.workspace, command, None, tagged.named()).await?;
    Ok(respond::json(b"{}".to_vec()))
}

/// `DELETE /tags/{arn}?tagKeys=a&tagKeys=b`.
pub(super) async fn remove(node: &Node, input: &Input) -> Result<Response, ControlError> {
    let tagged = Tagged::parse(node, input.part("resource"))?;
    let keys: Vec<String> = input.params("tagKeys").map(str::to_owned).collect();
    if keys.is_empty() {
        return Err(ControlError::field("tagKeys", "at least one"));
    }
    let command = ServiceCommand::Untag { namespace: tagged.namespace.map(str::to_owned), keys };
    change(node, tagged.workspace, command, None, tagged.named()).await?;
    Ok(respond::json(b"{}".to_vec()))
}
