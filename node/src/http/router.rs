//! The router, built from the table of routes: finds the workspace, calls what answers, counts, compresses.

use super::asker::Asker;
use super::error::ApiError;
use super::extract::{ReadLimits, read_body};
use super::params::Params;
use super::routes::{self, Endpoint, Route};
use super::{
    active_api, admin_api, amp, cluster_api, cors, encoding, exemplars_api, family_api, features_api, health, metadata_api, query_api,
    remote_write, respond, text_api, tsdb_api,
};
use crate::access;
use crate::access::subject::workspace_id;
use crate::config::CorsOrigin;
use crate::meta::view::Workspace;
use crate::metrics;
use crate::node::Node;
use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::header::{CONTENT_TYPE, ORIGIN};
use axum::http::request::Parts;
use axum::http::{Method, Request, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, on, options};
use model::WorkspaceId;
use model::limits::{HTTP_FORM_BYTES_MAX, REQUEST_BODY_TIMEOUT};
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use tokio::time::Instant;

/// What handlers share: the node, once it has its place in a cluster, and until then what it waits for.
#[derive(Clone, Debug)]
pub struct Shared {
    node: Arc<OnceLock<Arc<Node>>>,
    waiting: Arc<Mutex<String>>,
    origins: Arc<CorsOrigin>,
}

impl Shared {
    /// Starts without a node; `origins` may read answers in browsers.
    #[must_use]
    pub fn new(origins: CorsOrigin) -> Self {
        Self { node: Arc::default(), waiting: Arc::new(Mutex::new("starting".to_owned())), origins: Arc::new(origins) }
    }

    /// Notes what the node waits for.
    pub fn waiting(&self, reason: &str) {
        let mut waiting = self.waiting.lock();
        if *waiting != reason {
            tracing::info!(reason, "waiting");
            reason.clone_into(&mut waiting);
        }
    }

    /// From now on the node answers.
    pub fn set_node(&self, node: Arc<Node>) {
        let _ = self.node.set(node);
    }
}

type PathValues = Path<HashMap<String, String>>;

/// Builds the router of all routes.
pub fn build(shared: Shared) -> Router {
    let mut paths: BTreeMap<&'static str, MethodRouter<Shared>> = BTreeMap::new();
    for route in routes::all() {
        let handler = move |State(shared): State<Shared>, path: PathValues, request: Request<Body>| answer(shared, route, path, request);
        let methods = paths.remove(route.path).unwrap_or_default();
        paths.insert(route.path, methods.merge(on(route.methods, handler)));
    }
    let mut router = Router::new();
    for (path, methods) in paths {
        router = router.route(path, methods.merge(options(no_content)));
    }
    router.fallback(fallback).with_state(shared)
}

async fn no_content(State(shared): State<Shared>, request: Request<Body>) -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    cors::apply(&shared.origins, request.headers().get(ORIGIN), response.headers_mut());
    response
}

async fn fallback(State(shared): State<Shared>, request: Request<Body>) -> Response {
    if request.method() == Method::OPTIONS {
        return no_content(State(shared), request).await;
    }
    metrics::observe_http("unknown", 404, std::time::Duration::ZERO);
    super::error::plain(StatusCode::NOT_FOUND, "404 page not found")
}

async fn answer(shared: Shared, route: &'static Route, Path(path): PathValues, request: Request<Body>) -> Response {
    let began = Instant::now();
    let headers = request.headers().clone();
    let mut response = match shared.node.get() {
        Some(node) => dispatch(node, route, &path, request).await,
        None if route.endpoint == Endpoint::Healthy => health::healthy(),
        None => health::service_unavailable(false, &shared.waiting.lock()),
    };
    if route.endpoint != Endpoint::RemoteWrite {
        response = encoding::compress(&headers, response);
    }
    cors::apply(&shared.origins, headers.get(ORIGIN), response.headers_mut());
    metrics::observe_http(route.path, response.status().as_u16(), began.elapsed());
    response
}

async fn dispatch(node: &Arc<Node>, route: &Route, path: &HashMap<String, String>, request: Request<Body>) -> Response {
    if !route.before_ready && (node.draining.load(Ordering::Relaxed) || node.meta.get().cluster_id.is_none()) {
        return health::not_ready(node, "the node is not yet part of a cluster, or is leaving it");
    }
    let request = match node.gate.admit(node, route, path, request).await {
        Ok((_, request)) => request,
        Err(refusal) => return refusal.into_response(),
    };
    match route.endpoint {
        Endpoint::Ready => health::ready(node),
        Endpoint::Healthy => health::healthy(),
        Endpoint::Metrics => health::metrics(node),
        Endpoint::Control(operation) => amp::answer(node, operation, path, request).await,
        Endpoint::ClusterStatus
        | Endpoint::ClusterNodes
        | Endpoint::ClusterShards
        | Endpoint::ClusterOperators
        | Endpoint::ClusterWorkspaces
        | Endpoint::ScaleWorkspace
        | Endpoint::CancelScale
        | Endpoint::DrainNode
        | Endpoint::RemoveNode
        | Endpoint::MoveShard
        | Endpoint::LeadShard
        | Endpoint::CancelOperator => match Params::new(request.uri().query().unwrap_or(""), None) {
            Ok(params) => cluster_api::answer(node, route.endpoint, path, &params).await.unwrap_or_else(IntoResponse::into_response),
            Err(error) => error.into_response(),
        },
        Endpoint::Sts => access::sts::answer(node, request).await,
        Endpoint::ShowAccess => access::admin::show(node),
        Endpoint::ChangeAccess => {
            let command = path.get("command").map_or("", String::as_str);
            access::admin::change(node, command, request).await.unwrap_or_else(IntoResponse::into_response)
        }
        Endpoint::AllQueries => active_api::list(node, None),
        Endpoint::CancelAnyQuery => active_api::cancel(node, None, path_id(path)).unwrap_or_else(IntoResponse::into_response),
        _ => {
            let (head, body) = request.into_parts();
            match workspace_of(node, workspace_id(route.workspace, path, &head)) {
                Ok(workspace) => data_plane(node, route.endpoint, &workspace, path, Request::from_parts(head, body)).await,
                Err(response) => response,
            }
        }
    }
}

fn path_id(path: &HashMap<String, String>) -> &str {
    path.get("id").map_or("", String::as_str)
}

#[allow(clippy::result_large_err)]
fn workspace_of(node: &Node, id: &str) -> Result<Arc<Workspace>, Response> {
    node.meta.workspace(id).ok_or_else(|| match id {
        // Part of every cluster once it is founded: a sender must not be told to drop what it has.
        WorkspaceId::DEFAULT | WorkspaceId::SYSTEM => health::not_ready(node, "the cluster is still being founded"),
        _ => amp::ControlError::no_workspace(id).into_response(),
    })
}

async fn data_plane(
    node: &Arc<Node>,
    endpoint: Endpoint,
    workspace: &Arc<Workspace>,
    path: &HashMap<String, String>,
    request: Request<Body>,
) -> Response {
    if endpoint == Endpoint::RemoteWrite {
        return remote_write::handle(node, workspace, request).await;
    }
    let workspace = &workspace.record;
    let (head, body) = request.into_parts();
    let asker = Asker::of(&head);
    let params = match read_params(&head, body).await {
        Ok(params) => params,
        Err(response) => return response,
    };
    let result = match endpoint {
        Endpoint::Query => query_api::query(node, workspace, &params, &asker).await,
        Endpoint::QueryRange => query_api::query_range(node, workspace, &params, &asker).await,
        Endpoint::Series => metadata_api::series(node, workspace, &params).await,
        Endpoint::Labels => metadata_api::labels(node, workspace, &params).await,
        Endpoint::LabelValues => metadata_api::label_values(node, workspace, path.get("name").map_or("", String::as_str), &params).await,
        Endpoint::Metadata => family_api::metadata(node, workspace, &params).await,
        Endpoint::BuildInfo => Ok(metadata_api::build_info()),
        Endpoint::TsdbStatus => tsdb_api::status(node, workspace, &params).await,
        Endpoint::QueryExemplars => exemplars_api::query_exemplars(node, workspace, &params).await,
        Endpoint::FormatQuery => text_api::format_query(node, &params),
        Endpoint::ParseQuery => text_api::parse_query(node, &params),
        Endpoint::Features => Ok(features_api::features(&node.config.query.features)),
        Endpoint::ActiveQueries => Ok(active_api::list(node, Some(&workspace.id))),
        Endpoint::DeleteSeries => admin_api::delete_series(node, workspace, &params).await,
        Endpoint::CleanTombstones => admin_api::clean_tombstones(node, workspace).await,
        Endpoint::CancelQuery => active_api::cancel(node, Some(&workspace.id), path_id(path)),
        _ => Ok(respond::text(StatusCode::NOT_FOUND, "404 page not found\n")),
    };
    result.unwrap_or_else(IntoResponse::into_response)
}

async fn read_params(head: &Parts, body: Body) -> Result<Params, Response> {
    let is_form = head.headers.get(CONTENT_TYPE).is_some_and(|v| v.as_bytes().starts_with(b"application/x-www-form-urlencoded"));
    let form = if (head.method == Method::POST || head.method == Method::PUT) && is_form {
        let limits = ReadLimits { bytes: HTTP_FORM_BYTES_MAX, time: REQUEST_BODY_TIMEOUT };
        Some(read_body(&head.headers, body, limits).await.map_err(IntoResponse::into_response)?)
    } else {
        None
    };
    Params::new(head.uri.query().unwrap_or(""), form.as_deref()).map_err(|e: ApiError| e.into_response())
}
