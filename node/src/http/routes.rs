//! The one table of all routes. The router is built from it; nothing is reachable that is not in it.

use super::amp::operation::{self, Operation};
use auth::Action;
use axum::routing::MethodFilter;
use std::sync::LazyLock;

/// Where a request names its workspace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkspaceSource {
    /// The path, `/workspaces/{id}/…`.
    Path,
    /// `X-Scope-OrgID`, else `default`.
    Header,
    /// The request concerns none.
    None,
}

/// What answers a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Endpoint {
    RemoteWrite,
    Query,
    QueryRange,
    Series,
    Labels,
    LabelValues,
    Metadata,
    BuildInfo,
    TsdbStatus,
    QueryExemplars,
    FormatQuery,
    ParseQuery,
    Features,
    ActiveQueries,
    CancelQuery,
    DeleteSeries,
    CleanTombstones,
    AllQueries,
    CancelAnyQuery,
    ShowAccess,
    ChangeAccess,
    Sts,
    Control(Operation),
    ClusterStatus,
    ClusterNodes,
    ClusterShards,
    ClusterOperators,
    ClusterWorkspaces,
    ScaleWorkspace,
    CancelScale,
    DrainNode,
    RemoveNode,
    MoveShard,
    LeadShard,
    CancelOperator,
    Ready,
    Healthy,
    Metrics,
}

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Route {
    /// Methods it answers; others get 405.
    pub methods: MethodFilter,
    /// The path as the router reads it.
    pub path: &'static str,
    /// What it does, for access control; none for health and the node's own metrics, which concern no workspace, and for STS, which asks
    /// by itself who comes.
    pub action: Option<Action>,
    /// Where it names its workspace.
    pub workspace: WorkspaceSource,
    /// What answers.
    pub endpoint: Endpoint,
    /// Whether it answers before the node is ready.
    pub before_ready: bool,
}

const POST_OR_PUT: MethodFilter = MethodFilter::POST.or(MethodFilter::PUT);
const READ: MethodFilter = MethodFilter::GET.or(MethodFilter::POST);

/// A data-plane route under all three prefixes: AMP's, the bare one and Mimir's.
macro_rules! data_plane {
    ($methods:expr, $suffix:literal, $action:ident, $endpoint:ident) => {
        [
            row($methods, concat!("/workspaces/{workspace}/api/v1/", $suffix), Action::$action, WorkspaceSource::Path, Endpoint::$endpoint),
            row($methods, concat!("/api/v1/", $suffix), Action::$action, WorkspaceSource::Header, Endpoint::$endpoint),
            row($methods, concat!("/prometheus/api/v1/", $suffix), Action::$action, WorkspaceSource::Header, Endpoint::$endpoint),
        ]
    };
}

const fn row(methods: MethodFilter, path: &'static str, action: Action, workspace: WorkspaceSource, endpoint: Endpoint) -> Route {
    Route { methods, path, action: Some(action), workspace, endpoint, before_ready: false }
}

const fn early(methods: MethodFilter, path: &'static str, endpoint: Endpoint) -> Route {
    Route { methods, path, action: None, workspace: WorkspaceSource::None, endpoint, before_ready: true }
}

static DATA_PLANE: [[Route; 3]; 18] = [
    data_plane!(MethodFilter::POST, "remote_write", RemoteWrite, RemoteWrite),
    data_plane!(MethodFilter::POST, "write", RemoteWrite, RemoteWrite),
    data_plane!(READ, "query", QueryMetrics, Query),
    data_plane!(READ, "query_range", QueryMetrics, QueryRange),
    data_plane!(READ, "series", GetSeries, Series),
    data_plane!(READ, "labels", GetLabels, Labels),
    data_plane!(MethodFilter::GET, "label/{name}/values", GetLabels, LabelValues),
    data_plane!(MethodFilter::GET, "metadata", GetMetricMetadata, Metadata),
    data_plane!(MethodFilter::GET, "status/buildinfo", GetStatus, BuildInfo),
    data_plane!(MethodFilter::GET, "status/tsdb", GetTsdbStatus, TsdbStatus),
    data_plane!(READ, "query_exemplars", QueryExemplars, QueryExemplars),
    data_plane!(READ, "format_query", FormatQuery, FormatQuery),
    data_plane!(READ, "parse_query", ParseQuery, ParseQuery),
    data_plane!(MethodFilter::GET, "features", GetStatus, Features),
    data_plane!(MethodFilter::GET, "status/active_queries", GetStatus, ActiveQueries),
    data_plane!(MethodFilter::POST, "admin/queries/{id}/cancel", CancelQuery, CancelQuery),
    data_plane!(POST_OR_PUT, "admin/tsdb/delete_series", DeleteSeries, DeleteSeries),
    data_plane!(POST_OR_PUT, "admin/tsdb/clean_tombstones", CleanTombstones, CleanTombstones),
];

static OTHERS: [Route; 24] = [
    row(MethodFilter::POST, "/api/v1/push", Action::RemoteWrite, WorkspaceSource::Header, Endpoint::RemoteWrite),
    row(MethodFilter::POST, "/api/v1/receive", Action::RemoteWrite, WorkspaceSource::Header, Endpoint::RemoteWrite),
    row(MethodFilter::GET, "/admin/queries", Action::ListAllQueries, WorkspaceSource::None, Endpoint::AllQueries),
    row(MethodFilter::POST, "/admin/queries/{id}/cancel", Action::CancelAnyQuery, WorkspaceSource::None, Endpoint::CancelAnyQuery),
    row(MethodFilter::GET, "/cluster/status", Action::ReadCluster, WorkspaceSource::None, Endpoint::ClusterStatus),
    row(MethodFilter::GET, "/cluster/nodes", Action::ReadCluster, WorkspaceSource::None, Endpoint::ClusterNodes),
    row(MethodFilter::GET, "/cluster/shards", Action::ReadCluster, WorkspaceSource::None, Endpoint::ClusterShards),
    row(MethodFilter::GET, "/cluster/operators", Action::ReadCluster, WorkspaceSource::None, Endpoint::ClusterOperators),
    row(MethodFilter::GET, "/cluster/workspaces", Action::ReadCluster, WorkspaceSource::None, Endpoint::ClusterWorkspaces),
    row(MethodFilter::POST, "/cluster/workspaces/{id}/scale", Action::ChangeCluster, WorkspaceSource::None, Endpoint::ScaleWorkspace),
    row(MethodFilter::POST, "/cluster/workspaces/{id}/scale/cancel", Action::ChangeCluster, WorkspaceSource::None, Endpoint::CancelScale),
    row(MethodFilter::POST, "/cluster/nodes/{node}/drain", Action::ChangeCluster, WorkspaceSource::None, Endpoint::DrainNode),
    row(MethodFilter::DELETE, "/cluster/nodes/{node}", Action::ChangeCluster, WorkspaceSource::None, Endpoint::RemoveNode),
    row(MethodFilter::POST, "/cluster/shards/{shard}/move", Action::ChangeCluster, WorkspaceSource::None, Endpoint::MoveShard),
    row(MethodFilter::POST, "/cluster/shards/{shard}/leader", Action::ChangeCluster, WorkspaceSource::None, Endpoint::LeadShard),
    row(MethodFilter::POST, "/cluster/operators/{shard}/cancel", Action::ChangeCluster, WorkspaceSource::None, Endpoint::CancelOperator),
    row(MethodFilter::GET, "/access", Action::ReadIdentities, WorkspaceSource::None, Endpoint::ShowAccess),
    row(MethodFilter::POST, "/access/{command}", Action::ChangeIdentities, WorkspaceSource::None, Endpoint::ChangeAccess),
    Route { action: None, ..row(READ, "/", Action::GetCallerIdentity, WorkspaceSource::None, Endpoint::Sts) },
    early(MethodFilter::GET, "/-/ready", Endpoint::Ready),
    early(MethodFilter::GET, "/ready", Endpoint::Ready),
    early(MethodFilter::GET, "/-/healthy", Endpoint::Healthy),
    early(MethodFilter::GET, "/health", Endpoint::Healthy),
    early(MethodFilter::GET, "/metrics", Endpoint::Metrics),
];

static CONTROL_PLANE: LazyLock<Vec<Route>> = LazyLock::new(|| {
    let source = |path: &str| if path.contains("{workspace}") { WorkspaceSource::Path } else { WorkspaceSource::None };
    let route = |(operation, methods, path): &(Operation, MethodFilter, &'static str)| {
        let action = format!("aps:{operation:?}").parse();
        row(
            *methods,
            path,
            action.expect("every operation is an action: a test builds the table"),
            source(path),
            Endpoint::Control(*operation),
        )
    };
    operation::ALL.iter().map(route).collect()
});

/// All routes.
pub fn all() -> impl Iterator<Item = &'static Route> {
    DATA_PLANE.iter().flatten().chain(&OTHERS).chain(CONTROL_PLANE.iter())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_route_stands_once_and_names_its_workspace_where_its_path_does() {
        let mut seen = HashSet::new();
        for route in all() {
            assert!(seen.insert((route.path, format!("{:?}", route.methods))), "{} stands twice", route.path);
            assert_eq!(route.workspace == WorkspaceSource::Path, route.path.contains("{workspace}"), "{}", route.path);
            assert_eq!(route.action.is_none(), route.before_ready || route.endpoint == Endpoint::Sts, "{}", route.path);
        }
    }
}
