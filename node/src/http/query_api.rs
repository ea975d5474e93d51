//! `query` and `query_range`.

mod explain;
mod stats;
mod write;

use super::asker::Asker;
use super::error::{ApiError, ErrorType};
use super::params::Params;
use crate::meta::state::WorkspaceRecord;
use crate::node::Node;
use crate::query::admit::TooManyQueries;
use crate::query::engine::QueryError;
use crate::query::fragment_service::ReadError;
use crate::query::frontend::{self, QueryRequest};
use axum::http::HeaderValue;
use axum::response::Response;
use model::limits::QUERY_BYTES_MAX;
use promql::error::EvalError;
use promql::plan::QueryParams;
use stats::StatsLevel;
use std::time::Duration;

/// Answers an instant query.
///
/// # Errors
/// As Prometheus: 400 for what is no query, 422 for what cannot be evaluated, 503 for time-outs and unavailable shards.
pub async fn query(node: &Node, workspace: &WorkspaceRecord, params: &Params, asker: &Asker) -> Result<Response, ApiError> {
    let limit = params.limit("limit")?;
    let at_ms = params.time_or("time", node.time.estimate().unwrap_or_else(|_| node.clock.now_ms()))?;
    let options = Options::read(node, params, limit)?;
    answer(node, workspace, params, QueryParams::instant(at_ms), options, asker).await
}

/// Answers a range query.
///
/// # Errors
/// As [`query`]; also 400 for more than 11,000 points.
pub async fn query_range(node: &Node, workspace: &WorkspaceRecord, params: &Params, asker: &Asker) -> Result<Response, ApiError> {
    let limit = params.limit("limit")?;
    let range = params.range()?;
    let options = Options::read(node, params, limit)?;
    answer(node, workspace, params, QueryParams::range(range.start_ms, range.end_ms, range.step_ms), options, asker).await
}

/// Parameters that both kinds of query take; read in Prometheus's order, so that of two mistakes the same one is told.
struct Options {
    limit: Option<usize>,
    timeout: Duration,
    lookback_ms: i64,
    stats: StatsLevel,
    explain: bool,
}

impl Options {
    fn read(node: &Node, params: &Params, limit: Option<usize>) -> Result<Self, ApiError> {
        let timeout = params.timeout(node.config.query.timeout)?;
        let default_lookback = i64::try_from(node.config.query.lookback_delta.as_millis()).unwrap_or(i64::MAX);
        let lookback_ms = params.lookback_delta_ms()?.filter(|ms| *ms > 0).unwrap_or(default_lookback);
        let explain = match params.get("explain") {
            "" => false,
            "analyze" => true,
            other => {
                return Err(ApiError::invalid_parameter("explain", format_args!("not supported value {}", model::labels::quote(other))));
            }
        };
        Ok(Self { limit, timeout, lookback_ms, stats: StatsLevel::read(params.get("stats")), explain })
    }
}

async fn answer(
    node: &Node,
    workspace: &WorkspaceRecord,
    params: &Params,
    query: QueryParams,
    options: Options,
    asker: &Asker,
) -> Result<Response, ApiError> {
    let text = checked_query(params)?;
    let features = &node.config.query.features;
    let request = QueryRequest {
        text: text.into(),
        params: QueryParams {
            lookback_ms: options.lookback_ms,
            delayed_name_removal: features.delayed_name_removal,
            use_start_timestamps: features.use_start_timestamps,
            type_and_unit_labels: features.type_and_unit_labels,
            ..query
        },
        timeout: options.timeout,
        client: asker.client.clone(),
        // Statistics and explanations are about an evaluation.
        cache: !asker.no_store && params.get("nocache") != "1" && !options.stats.is_wanted() && !options.explain,
        partial_response: params.get("partial_response") == "true",
        explain: options.explain,
    };
    let mut answer = frontend::run(node, workspace, request).await.map_err(api_error)?;
    if let Some(warning) = options.stats.deprecation() {
        write::warn(&mut answer.result.warnings, warning);
    }
    let mut extras = write::Extras::new();
    if options.stats.is_wanted() {
        let steps_of = (options.stats == StatsLevel::All && features.per_step_stats).then_some(&query);
        extras.push(("stats", stats::to_json(&answer, steps_of)));
    }
    if let Some(plan) = &answer.plan {
        extras.push(("explain", explain::to_json(node, plan, &answer)));
    }
    let is_partial = answer.is_partial;
    let written = write::respond(answer.result, options.limit, extras, &node.queries).await;
    let mut response = written.map_err(|error| ApiError::new(ErrorType::Unavailable, error))?;
    if is_partial {
        response.headers_mut().insert("x-partial-response", HeaderValue::from_static("true"));
    }
    Ok(response)
}

/// The parameter `query`, not longer than a query may be.
///
/// # Errors
/// 400 if it is.
pub(super) fn checked_query(params: &Params) -> Result<&str, ApiError> {
    let text = params.get("query");
    if text.len() > QUERY_BYTES_MAX {
        let cause = format!("query of {} bytes is longer than {QUERY_BYTES_MAX}", text.len());
        return Err(ApiError::invalid_parameter("query", cause));
    }
    Ok(text)
}

fn api_error(error: QueryError) -> ApiError {
    let error_type = match &error {
        QueryError::Parse(_) | QueryError::Plan(_) => return ApiError::invalid_parameter("query", error),
        QueryError::Eval(EvalError::TimedOut) | QueryError::QueueTimeout | QueryError::Read(ReadError::Cancelled) => ErrorType::Timeout,
        QueryError::Eval(EvalError::Cancelled) | QueryError::QueueCancelled => ErrorType::Canceled,
        QueryError::Eval(_) | QueryError::Read(ReadError::TooManySamples | ReadError::OverBudget(_)) => ErrorType::Execution,
        QueryError::TooMany(TooManyQueries::Workspace { .. }) => ErrorType::TooManyRequests,
        QueryError::Read(
            ReadError::Unavailable { .. }
            | ReadError::StaleMap { .. }
            | ReadError::Unsupported { .. }
            | ReadError::BadAnswer { .. }
            | ReadError::Storage { .. },
        )
        | QueryError::TooMany(TooManyQueries::Node { .. }) => ErrorType::Unavailable,
        QueryError::Aborted => ErrorType::Internal,
    };
    ApiError::new(error_type, error)
}

/// The error of a read that is not part of a query.
#[must_use]
pub fn read_error(error: ReadError) -> ApiError {
    api_error(QueryError::Read(error))
}
