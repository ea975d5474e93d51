//! Everything that can be asked of the cluster.
//!
//! The actions of AMP have AMP's names. What AMP lacks is named in the same style, `aps:…`, where it concerns a workspace. What concerns
//! the cluster or the identities of all users is `flotilla:…`: `aps:*`, which is what the managed policy for full access allows and what
//! people copy from AWS, must not make its holder the master of the cluster.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// What kind of resource an action is done to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResourceType {
    /// None that has a name.
    Any,
    /// A workspace.
    Workspace,
    /// A namespace of rule groups.
    RuleGroupsNamespace,
    /// A scraper.
    Scraper,
    /// An anomaly detector.
    AnomalyDetector,
    /// Whatever can have tags: the request names it by its ARN.
    Tagged,
    /// A role.
    Role,
}

/// Actions that force or demand labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Labels {
    None,
    /// `aps:LabelMatchers` narrows what is read.
    Matchers,
    /// `aps:RequiredLabels` says what a writer must carry.
    Required,
}

/// Whether resource policies count for an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Policies {
    Identity,
    Both,
}

macro_rules! actions {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $resource:ident, $policies:ident, $labels:ident;)*) => {
        /// One action.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Action {
            $(#[doc = concat!("`", $text, "`")] $(#[$doc])* $name,)*
        }

        impl Action {
            /// All of them, in their order.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// Its name as policies write it.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text),* }
            }

            /// What it is done to.
            #[must_use]
            pub fn resource_type(self) -> ResourceType {
                match self { $(Self::$name => ResourceType::$resource),* }
            }

            fn policies(self) -> Policies {
                match self { $(Self::$name => Policies::$policies),* }
            }

            fn labels(self) -> Labels {
                match self { $(Self::$name => Labels::$labels),* }
            }
        }
    };
}

actions! {
    // AMP's control plane.
    CreateAlertManagerDefinition = "aps:CreateAlertManagerDefinition", Workspace, Identity, None;
    CreateAnomalyDetector = "aps:CreateAnomalyDetector", Workspace, Identity, None;
    CreateLoggingConfiguration = "aps:CreateLoggingConfiguration", Workspace, Identity, None;
    CreateQueryLoggingConfiguration = "aps:CreateQueryLoggingConfiguration", Workspace, Identity, None;
    CreateRuleGroupsNamespace = "aps:CreateRuleGroupsNamespace", RuleGroupsNamespace, Identity, None;
    CreateScraper = "aps:CreateScraper", Workspace, Identity, None;
    CreateWorkspace = "aps:CreateWorkspace", Any, Identity, None;
    DeleteAlertManagerDefinition = "aps:DeleteAlertManagerDefinition", Workspace, Identity, None;
    DeleteAnomalyDetector = "aps:DeleteAnomalyDetector", AnomalyDetector, Identity, None;
    DeleteLoggingConfiguration = "aps:DeleteLoggingConfiguration", Workspace, Identity, None;
    DeleteQueryLoggingConfiguration = "aps:DeleteQueryLoggingConfiguration", Workspace, Identity, None;
    DeleteResourcePolicy = "aps:DeleteResourcePolicy", Workspace, Identity, None;
    DeleteRuleGroupsNamespace = "aps:DeleteRuleGroupsNamespace", RuleGroupsNamespace, Identity, None;
    DeleteScraper = "aps:DeleteScraper", Scraper, Identity, None;
    DeleteScraperLoggingConfiguration = "aps:DeleteScraperLoggingConfiguration", Scraper, Identity, None;
    DeleteWorkspace = "aps:DeleteWorkspace", Workspace, Identity, None;
    DescribeAlertManagerDefinition = "aps:DescribeAlertManagerDefinition", Workspace, Identity, None;
    DescribeAnomalyDetector = "aps:DescribeAnomalyDetector", AnomalyDetector, Identity, None;
    DescribeLoggingConfiguration = "aps:DescribeLoggingConfiguration", Workspace, Identity, None;
    DescribeQueryLoggingConfiguration = "aps:DescribeQueryLoggingConfiguration", Workspace, Identity, None;
    DescribeResourcePolicy = "aps:DescribeResourcePolicy", Workspace, Identity, None;
    DescribeRuleGroupsNamespace = "aps:DescribeRuleGroupsNamespace", RuleGroupsNamespace, Identity, None;
    DescribeScraper = "aps:DescribeScraper", Scraper, Identity, None;
    DescribeScraperLoggingConfiguration = "aps:DescribeScraperLoggingConfiguration", Scraper, Identity, None;
    DescribeWorkspace = "aps:DescribeWorkspace", Workspace, Identity, None;
    DescribeWorkspaceConfiguration = "aps:DescribeWorkspaceConfiguration", Workspace, Identity, None;
    GetDefaultScraperConfiguration = "aps:GetDefaultScraperConfiguration", Any, Identity, None;
    ListAnomalyDetectors = "aps:ListAnomalyDetectors", Workspace, Identity, None;
    ListRuleGroupsNamespaces = "aps:ListRuleGroupsNamespaces", Workspace, Identity, None;
    ListScrapers = "aps:ListScrapers", Any, Identity, None;
    ListTagsForResource = "aps:ListTagsForResource", Tagged, Identity, None;
    ListWorkspaces = "aps:ListWorkspaces", Any, Identity, None;
    PutAlertManagerDefinition = "aps:PutAlertManagerDefinition", Workspace, Identity, None;
    PutAnomalyDetector = "aps:PutAnomalyDetector", AnomalyDetector, Identity, None;
    PutResourcePolicy = "aps:PutResourcePolicy", Workspace, Identity, None;
    PutRuleGroupsNamespace = "aps:PutRuleGroupsNamespace", RuleGroupsNamespace, Identity, None;
    TagResource = "aps:TagResource", Tagged, Identity, None;
    UntagResource = "aps:UntagResource", Tagged, Identity, None;
    UpdateLoggingConfiguration = "aps:UpdateLoggingConfiguration", Workspace, Identity, None;
    UpdateQueryLoggingConfiguration = "aps:UpdateQueryLoggingConfiguration", Workspace, Identity, None;
    UpdateScraper = "aps:UpdateScraper", Scraper, Identity, None;
    UpdateScraperLoggingConfiguration = "aps:UpdateScraperLoggingConfiguration", Scraper, Identity, None;
    UpdateWorkspaceAlias = "aps:UpdateWorkspaceAlias", Workspace, Identity, None;
    UpdateWorkspaceConfiguration = "aps:UpdateWorkspaceConfiguration", Workspace, Identity, None;
    /// In AWS's list of actions, without a public operation.
    PreviewAnomalyDetector = "aps:PreviewAnomalyDetector", Workspace, Identity, None;

    // AMP's data plane.
    RemoteWrite = "aps:RemoteWrite", Workspace, Both, Required;
    QueryMetrics = "aps:QueryMetrics", Workspace, Both, Matchers;
    GetLabels = "aps:GetLabels", Workspace, Both, Matchers;
    GetSeries = "aps:GetSeries", Workspace, Both, Matchers;
    GetMetricMetadata = "aps:GetMetricMetadata", Workspace, Both, None;
    ListRules = "aps:ListRules", Workspace, Identity, Matchers;
    ListAlerts = "aps:ListAlerts", Workspace, Identity, Matchers;
    GetAlertManagerStatus = "aps:GetAlertManagerStatus", Workspace, Identity, None;
    ListAlertManagerAlerts = "aps:ListAlertManagerAlerts", Workspace, Identity, None;
    CreateAlertManagerAlerts = "aps:CreateAlertManagerAlerts", Workspace, Identity, None;
    ListAlertManagerAlertGroups = "aps:ListAlertManagerAlertGroups", Workspace, Identity, None;
    ListAlertManagerReceivers = "aps:ListAlertManagerReceivers", Workspace, Identity, None;
    ListAlertManagerSilences = "aps:ListAlertManagerSilences", Workspace, Identity, None;
    PutAlertManagerSilences = "aps:PutAlertManagerSilences", Workspace, Identity, None;
    GetAlertManagerSilence = "aps:GetAlertManagerSilence", Workspace, Identity, None;
    DeleteAlertManagerSilence = "aps:DeleteAlertManagerSilence", Workspace, Identity, None;

    // What AMP lacks, of a workspace.
    /// `query_exemplars`.
    QueryExemplars = "aps:QueryExemplars", Workspace, Both, Matchers;
    /// `format_query`: reads no data.
    FormatQuery = "aps:FormatQuery", Workspace, Both, None;
    /// `parse_query`: reads no data.
    ParseQuery = "aps:ParseQuery", Workspace, Both, None;
    /// Prometheus's remote read.
    RemoteRead = "aps:RemoteRead", Workspace, Both, Matchers;
    /// OTLP metrics.
    WriteOtlp = "aps:WriteOtlp", Workspace, Both, Required;
    /// `status/tsdb` and cardinality: names and values of labels, with counts.
    GetTsdbStatus = "aps:GetTsdbStatus", Workspace, Identity, None;
    /// `status/buildinfo`, features and the like, running queries of the workspace included.
    GetStatus = "aps:GetStatus", Workspace, Identity, None;
    /// Ends a running query of the workspace.
    CancelQuery = "aps:CancelQuery", Workspace, Identity, None;
    /// `admin/tsdb/delete_series`.
    DeleteSeries = "aps:DeleteSeries", Workspace, Identity, None;
    /// `admin/tsdb/clean_tombstones`.
    CleanTombstones = "aps:CleanTombstones", Workspace, Identity, None;
    /// Reads rules through Mimir's `config/v1/rules`.
    GetRulerConfig = "aps:GetRulerConfig", Workspace, Identity, None;
    /// Writes rules through it.
    PutRulerConfig = "aps:PutRulerConfig", Workspace, Identity, None;
    /// Deletes rules through it.
    DeleteRulerConfig = "aps:DeleteRulerConfig", Workspace, Identity, None;
    /// Reads what a workspace may take.
    GetWorkspaceLimits = "aps:GetWorkspaceLimits", Workspace, Identity, None;
    /// Changes what a workspace may take, beyond what `aps:UpdateWorkspaceConfiguration` can.
    PutWorkspaceLimits = "aps:PutWorkspaceLimits", Workspace, Identity, None;
    /// Reads what a workspace has taken.
    GetUsage = "aps:GetUsage", Workspace, Identity, None;
    /// Reads and tries relabel and drop rules.
    GetIngestRules = "aps:GetIngestRules", Workspace, Identity, None;
    /// Changes them.
    PutIngestRules = "aps:PutIngestRules", Workspace, Identity, None;

    // Of the cluster.
    /// Running queries of all workspaces.
    ListAllQueries = "flotilla:ListAllQueries", Any, Identity, None;
    /// Ends any running query.
    CancelAnyQuery = "flotilla:CancelAnyQuery", Any, Identity, None;
    /// Nodes, shards, operators, workspaces of the cluster.
    ReadCluster = "flotilla:ReadCluster", Any, Identity, None;
    /// Drains, moves, scales, removes.
    ChangeCluster = "flotilla:ChangeCluster", Any, Identity, None;
    /// Lists users, groups, roles, policies and the ids of keys and tokens; never secrets.
    ReadIdentities = "flotilla:ReadIdentities", Any, Identity, None;
    /// Changes them, which amounts to all rights.
    ChangeIdentities = "flotilla:ChangeIdentities", Any, Identity, None;
    /// Reads the audit log.
    ListAuditRecords = "flotilla:ListAuditRecords", Any, Identity, None;

    // Of STS.
    AssumeRole = "sts:AssumeRole", Role, Identity, None;
    AssumeRoleWithWebIdentity = "sts:AssumeRoleWithWebIdentity", Role, Identity, None;
    /// Needs no permission.
    GetCallerIdentity = "sts:GetCallerIdentity", Any, Identity, None;
}

/// A text that names no action.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an action")]
pub struct NotAction;

impl FromStr for Action {
    type Err = NotAction;

    /// Names of actions are not case-sensitive.
    fn from_str(text: &str) -> Result<Self, NotAction> {
        Self::ALL.iter().copied().find(|action| action.as_str().eq_ignore_ascii_case(text)).ok_or(NotAction)
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Action {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Action {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl Action {
    /// Whether a workspace's resource policy counts for it: AMP honours those for the actions that are compatible with Prometheus.
    #[must_use]
    pub fn honours_resource_policy(self) -> bool {
        self.policies() == Policies::Both
    }

    /// Whether `aps:LabelMatchers` can narrow it.
    #[must_use]
    pub fn takes_label_matchers(self) -> bool {
        self.labels() == Labels::Matchers
    }

    /// Whether `aps:RequiredLabels` can demand labels of it.
    #[must_use]
    pub fn takes_required_labels(self) -> bool {
        self.labels() == Labels::Required
    }

    /// Whether it writes samples, which the root user must not do unless it is allowed to.
    #[must_use]
    pub fn writes_samples(self) -> bool {
        matches!(self, Self::RemoteWrite | Self::WriteOtlp)
    }

    /// The operation's name without the service.
    #[must_use]
    pub fn operation(self) -> &'static str {
        self.as_str().split_once(':').map_or("", |(_, name)| name)
    }
}

/// A set of actions: a bit for each.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct ActionSet(u128);

const _: () = assert!(Action::ALL.len() <= 128, "a set of actions has a bit for each");

impl ActionSet {
    /// The actions that satisfy a condition.
    #[must_use]
    pub fn filtered(mut holds: impl FnMut(Action) -> bool) -> Self {
        Self(Action::ALL.iter().filter(|action| holds(**action)).fold(0, |bits, action| bits | Self::bit(*action)))
    }

    fn bit(action: Action) -> u128 {
        1 << (action as u32)
    }

    /// Whether the action is in it.
    #[must_use]
    pub fn contains(self, action: Action) -> bool {
        self.0 & Self::bit(action) != 0
    }

    /// Whether nothing is in it.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// What is in either.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// What is not in it.
    #[must_use]
    pub fn complement(self) -> Self {
        Self::filtered(|action| !self.contains(action))
    }

    /// What is in it, in order.
    pub fn iter(self) -> impl Iterator<Item = Action> {
        Action::ALL.iter().copied().filter(move |action| self.contains(*action))
    }
}

impl fmt::Debug for ActionSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn amp_has_61_actions_and_every_name_is_read_back() {
        let mut names = BTreeSet::new();
        for (at, action) in Action::ALL.iter().enumerate() {
            assert_eq!(*action as usize, at);
            assert!(names.insert(action.as_str().to_lowercase()), "{action} stands twice");
            assert_eq!(action.as_str().to_uppercase().parse(), Ok(*action));
            assert_eq!(format!("{action:?}"), action.operation());
        }
        let first_of_ours = Action::ALL.iter().position(|action| *action == Action::QueryExemplars).unwrap();
        assert_eq!(first_of_ours, 61);
        assert_eq!("aps:Nothing".parse::<Action>(), Err(NotAction));
    }

    #[test]
    fn only_actions_without_a_name_stand_on_any_resource() {
        let on_any: Vec<&str> =
            Action::ALL[..61].iter().filter(|a| a.resource_type() == ResourceType::Any).map(|a| a.operation()).collect();
        assert_eq!(on_any, ["CreateWorkspace", "GetDefaultScraperConfiguration", "ListScrapers", "ListWorkspaces"]);
    }

    #[test]
    fn a_set_holds_what_it_was_made_of() {
        let reads = ActionSet::filtered(Action::takes_label_matchers);
        assert!(reads.contains(Action::QueryMetrics) && !reads.contains(Action::RemoteWrite));
        assert_eq!(reads.union(reads.complement()), ActionSet::filtered(|_| true));
        assert!(ActionSet::default().is_empty());
        assert!(reads.iter().all(Action::takes_label_matchers));
    }
}
