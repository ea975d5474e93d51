//! What the users of a workspace set beside its data: configuration, resource policy, definitions of rules and alert manager, logging.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Bytes of all definitions and policies of a cluster: they are part of the state that every node holds.
pub const DOCUMENT_BYTES_MAX: usize = 32 << 20;

/// The settings of one workspace. Absent is unset.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ServiceRecord {
    /// Which key wraps the workspace's data key, as given when it was created.
    pub kms_key_arn: Option<String>,
    /// Most active series of a label set, in the order given.
    pub label_set_limits: Vec<LabelSetLimit>,
    /// How far behind now rules are evaluated, in seconds.
    pub rule_query_offset_s: Option<u32>,
    /// Whether retention or another value of the configuration was set by the user.
    pub is_configured: bool,
    /// Who may read and write the data, beside identity policies.
    pub policy: Option<PolicyRecord>,
    /// Rule groups namespaces by name.
    pub rules: BTreeMap<String, Definition>,
    /// The alert manager's definition.
    pub alert_manager: Option<Definition>,
    /// Where what rules and alert manager do is logged.
    pub logging: Option<LoggingRecord>,
    /// Where expensive queries are logged.
    pub query_logging: Option<LoggingRecord>,
}

/// A limit of the series that carry certain labels.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LabelSetLimit {
    /// Names and values; empty for all series that no other limit matches.
    pub label_set: BTreeMap<String, String>,
    /// Most active series; none if they are only counted.
    pub max_series: Option<u64>,
}

/// A resource policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyRecord {
    /// JSON, byte for byte as given.
    pub document: String,
    /// Another one after every change.
    pub revision: String,
}

/// A file that a user gave.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Definition {
    /// Its bytes in base64.
    pub data: String,
    /// Counts its changes, from 1.
    pub version: u64,
    /// Cluster time of its creation.
    pub created_ms: i64,
    /// Cluster time of its last change.
    pub modified_ms: i64,
    /// Names and values given by the user; of namespaces only.
    pub tags: BTreeMap<String, String>,
}

/// A destination of logs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoggingRecord {
    /// Names the log.
    pub log_group_arn: String,
    /// Samples processed from which a query is logged; 0 for other logs.
    pub threshold: u64,
    /// Cluster time of its creation.
    pub created_ms: i64,
    /// Cluster time of its last change.
    pub modified_ms: i64,
}

impl ServiceRecord {
    /// Whether nothing was set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Bytes of its definitions and policy.
    #[must_use]
    pub fn document_bytes(&self) -> usize {
        let definitions = self.rules.values().chain(&self.alert_manager).map(|definition| definition.data.len());
        definitions.sum::<usize>() + self.policy.as_ref().map_or(0, |policy| policy.document.len())
    }
}

/// What a user changes of a workspace.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum ServiceCommand {
    /// Names it anew, or takes its name away.
    SetAlias {
        /// Free text, for people.
        alias: Option<String>,
    },
    /// Adds tags to the workspace or to one of its namespaces.
    Tag {
        /// Which namespace; the workspace if none.
        namespace: Option<String>,
        /// Names and values.
        tags: BTreeMap<String, String>,
    },
    /// Removes tags; those that are not there stay so.
    Untag {
        /// Which namespace; the workspace if none.
        namespace: Option<String>,
        /// Their names.
        keys: Vec<String>,
    },
    /// Sets what is given of the configuration.
    Configure {
        /// Age after which samples are deleted.
        retention_ms: Option<i64>,
        /// How far behind a series' newest sample a write may be.
        out_of_order_window_ms: Option<i64>,
        /// How far behind now rules are evaluated, in seconds.
        rule_query_offset_s: Option<u32>,
        /// All limits of label sets.
        label_set_limits: Option<Vec<LabelSetLimit>>,
    },
    /// Sets the resource policy.
    PutPolicy {
        /// The JSON.
        document: String,
        /// The revision it replaces, [`NO_POLICY`] for none; any if not given.
        expected: Option<String>,
    },
    /// Removes the resource policy.
    DeletePolicy {
        /// The revision it has; any if not given.
        expected: Option<String>,
    },
    /// Sets a definition.
    PutDefinition {
        /// Which namespace; the alert manager's if none.
        namespace: Option<String>,
        /// Its bytes in base64.
        data: String,
        /// Whether it must not exist yet; otherwise it must.
        is_new: bool,
        /// Tags of a new namespace.
        tags: BTreeMap<String, String>,
    },
    /// Removes a definition.
    DeleteDefinition {
        /// Which namespace; the alert manager's if none.
        namespace: Option<String>,
    },
    /// Sets a destination of logs.
    PutLogging {
        /// Whether of queries.
        is_query: bool,
        /// Names the log.
        log_group_arn: String,
        /// Samples processed from which a query is logged.
        threshold: u64,
        /// Whether it must not exist yet; otherwise it must.
        is_new: bool,
    },
    /// Removes a destination of logs.
    DeleteLogging {
        /// Whether of queries.
        is_query: bool,
    },
}

/// The revision to give where no policy may exist.
pub const NO_POLICY: &str = "NO_POLICY";
