//! What a request does to what, as policies see it.

use crate::http::amp::operation::Operation;
use crate::http::routes::{Endpoint, Route, WorkspaceSource};
use crate::meta::MetaState;
use auth::action::ResourceType;
use auth::{Action, Home, Resource};
use axum::http::request::Parts;
use model::WorkspaceId;
use serde::Deserialize;
use std::collections::{BTreeMap, HashMap};

/// What is asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Subject {
    /// What is to be done.
    pub action: Action,
    /// To what.
    pub resource: Resource,
    /// The workspace whose resource policy counts.
    pub workspace: Option<String>,
    /// Tags that the resource has.
    pub resource_tags: BTreeMap<String, String>,
    /// Tags that the request brings.
    pub request_tags: BTreeMap<String, String>,
    /// Names of tags that the request takes away.
    pub removed_tags: Vec<String>,
}

/// The members of bodies that policies look at.
#[derive(Debug, Default, Deserialize)]
struct Members {
    name: Option<String>,
    #[serde(default)]
    tags: BTreeMap<String, String>,
}

/// The workspace that a request of the data plane concerns.
#[must_use]
pub fn workspace_id<'a>(source: WorkspaceSource, path: &'a HashMap<String, String>, head: &'a Parts) -> &'a str {
    match source {
        WorkspaceSource::Path => path.get("workspace").map_or("", String::as_str),
        WorkspaceSource::Header | WorkspaceSource::None => {
            head.headers.get("x-scope-orgid").and_then(|v| v.to_str().ok()).filter(|v| !v.is_empty()).unwrap_or(WorkspaceId::DEFAULT)
        }
    }
}

impl Subject {
    /// Reads what a request is about. `body` is that of a control-plane request.
    #[must_use]
    pub fn of(action: Action, route: &Route, path: &HashMap<String, String>, head: &Parts, body: &[u8], home: &Home) -> Self {
        // What does not parse is refused later, by whoever serves it.
        let members: Members = serde_json::from_slice(body).unwrap_or_default();
        let part = |name: &str| path.get(name).cloned().unwrap_or_default();
        let workspace = (route.workspace != WorkspaceSource::None).then(|| workspace_id(route.workspace, path, head).to_owned());
        let id = workspace.clone().unwrap_or_default();
        let resource = match action.resource_type() {
            ResourceType::Workspace => home.workspace(&id).into(),
            ResourceType::RuleGroupsNamespace => {
                let name = path.get("name").cloned().or(members.name).unwrap_or_default();
                home.rule_groups_namespace(&id, &name).into()
            }
            ResourceType::AnomalyDetector => home.anomaly_detector(&id, &part("detector")).into(),
            ResourceType::Scraper => home.scraper(&part("scraper")).into(),
            ResourceType::Tagged => part("resource").parse().map_or(Resource::Any, Resource::Named),
            ResourceType::Any | ResourceType::Role => Resource::Any,
        };
        let removed_tags = match route.endpoint {
            Endpoint::Control(Operation::UntagResource) => removed(head),
            _ => Vec::new(),
        };
        Self { action, resource, workspace, resource_tags: BTreeMap::new(), request_tags: members.tags, removed_tags }
    }

    /// The same with the tags that the resource has now.
    #[must_use]
    pub fn tagged(mut self, meta: &MetaState) -> Self {
        let Resource::Named(arn) = &self.resource else { return self };
        let parts: Vec<&str> = arn.resource.split('/').collect();
        self.resource_tags = match parts.as_slice() {
            ["workspace", id] => meta.workspaces.get(*id).map(|workspace| workspace.tags.clone()),
            ["rulegroupsnamespace", id, name] => {
                meta.workspaces.get(*id).and_then(|workspace| workspace.service.rules.get(*name)).map(|rules| rules.tags.clone())
            }
            _ => None,
        }
        .unwrap_or_default();
        self
    }
}

fn removed(head: &Parts) -> Vec<String> {
    let params = crate::http::params::Params::new(head.uri.query().unwrap_or(""), None).unwrap_or_default();
    params.all("tagKeys").map(str::to_owned).collect()
}
