//! What answers are made of: names of resources, times, states.

use crate::meta::service::Definition;
use crate::meta::state::WorkspaceRecord;
use crate::node::Node;
use serde_json::{Value, json};

/// What a resource is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResourceType {
    /// A workspace.
    Workspace,
    /// A rule groups namespace.
    RuleGroupsNamespace,
    /// The definition of a workspace's alert manager.
    AlertManagerDefinition,
    /// The destination of a workspace's logs.
    LoggingConfiguration,
    /// The destination of a workspace's expensive queries.
    QueryLoggingConfiguration,
    /// A workspace's resource policy.
    ResourcePolicy,
}

impl ResourceType {
    /// As `resourceType` of an error.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Workspace => "workspace",
            Self::RuleGroupsNamespace => "rulegroupsnamespace",
            Self::AlertManagerDefinition => "alertmanagerdefinition",
            Self::LoggingConfiguration => "loggingconfiguration",
            Self::QueryLoggingConfiguration => "queryloggingconfiguration",
            Self::ResourcePolicy => "policy",
        }
    }

    /// As the beginning of a sentence.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::Workspace => "Workspace",
            Self::RuleGroupsNamespace => "Rule groups namespace",
            Self::AlertManagerDefinition => "Alert manager definition",
            Self::LoggingConfiguration => "Logging configuration",
            Self::QueryLoggingConfiguration => "Query logging configuration",
            Self::ResourcePolicy => "Resource policy",
        }
    }

    /// AWS's name of the quota of such resources; a word of ours where it has none.
    #[must_use]
    pub const fn quota_code(self) -> &'static str {
        match self {
            Self::RuleGroupsNamespace => "L-C62641E3",
            Self::AlertManagerDefinition => "L-3316EF76",
            _ => "flotilla-capacity",
        }
    }
}

/// The name of a workspace in all of AWS's tools.
pub(super) fn workspace_arn(node: &Node, id: &str) -> String {
    node.gate.home().workspace(id).to_string()
}

/// The same of a namespace.
pub(super) fn namespace_arn(node: &Node, id: &str, name: &str) -> String {
    node.gate.home().rule_groups_namespace(id, name).to_string()
}

/// Seconds, as AWS's JSON has times.
pub(super) fn time(ms: i64) -> Value {
    json!(ms as f64 / 1000.0)
}

/// The state of whatever has been decided: it is in force.
pub(super) fn active() -> Value {
    json!({"statusCode": "ACTIVE"})
}

/// A workspace as lists have it.
pub(super) fn workspace_summary(node: &Node, workspace: &WorkspaceRecord) -> Value {
    let mut summary = json!({
        "workspaceId": workspace.id,
        "arn": workspace_arn(node, &workspace.id),
        "status": active(),
        "createdAt": time(workspace.created_ms),
        "tags": workspace.tags,
    });
    if let Some(alias) = &workspace.alias {
        summary["alias"] = json!(alias);
    }
    if let Some(key) = &workspace.service.kms_key_arn {
        summary["kmsKeyArn"] = json!(key);
    }
    summary
}

/// A namespace as lists have it.
pub(super) fn namespace_summary(node: &Node, workspace: &str, name: &str, definition: &Definition) -> Value {
    json!({
        "arn": namespace_arn(node, workspace, name),
        "name": name,
        "status": active(),
        "createdAt": time(definition.created_ms),
        "modifiedAt": time(definition.modified_ms),
        "tags": definition.tags,
    })
}
