//! `query` and `query_range`.

use super::error::{ApiError, ErrorType};
use super::json::{Annotations, ResultType, Success};
use super::params::Params;
use crate::meta::state::WorkspaceRecord;
use crate::node::Node;
use crate::query::engine::{self, Query, QueryError};
use crate::query::fragment_service::ReadError;
use axum::http::HeaderValue;
use axum::response::Response;
use model::limits::QUERY_BYTES_MAX;
use promql::error::EvalError;
use promql::plan::QueryParams;
use promql::value::{QueryOutput, SampleValue, Value};

const TRUNCATED: &str = "results truncated due to limit";

/// Answers an instant query.
///
/// # Errors
/// As Prometheus: 400 for what is no query, 422 for what cannot be evaluated, 503 for time-outs and unavailable shards.
pub async fn query(node: &Node, workspace: &WorkspaceRecord, params: &Params) -> Result<Response, ApiError> {
    let at_ms = params.time_or("time", node.clock.now_ms())?;
    answer(node, workspace, params, QueryParams::instant(at_ms)).await
}

/// Answers a range query.
///
/// # Errors
/// As [`query`]; also 400 for more than 11,000 points.
pub async fn query_range(node: &Node, workspace: &WorkspaceRecord, params: &Params) -> Result<Response, ApiError> {
    let range = params.range()?;
    answer(node, workspace, params, QueryParams::range(range.start_ms, range.end_ms, range.step_ms)).await
}

async fn answer(node: &Node, workspace: &WorkspaceRecord, params: &Params, mut query: QueryParams) -> Result<Response, ApiError> {
    let limit = params.limit("limit")?;
    let timeout = params.timeout(node.config.query.timeout)?;
    let default_lookback = i64::try_from(node.config.query.lookback_delta.as_millis()).unwrap_or(i64::MAX);
    query.lookback_ms = params.lookback_delta_ms()?.filter(|ms| *ms > 0).unwrap_or(default_lookback);
    let text = params.get("query");
    if text.len() > QUERY_BYTES_MAX {
        let cause = format!("query of {} bytes is longer than {QUERY_BYTES_MAX}", text.len());
        return Err(ApiError::invalid_parameter("query", cause));
    }
    let partial_response = params.get("partial_response") == "true";
    let question = Query { text, params: query, timeout, partial_response };
    let answer = engine::run(node, workspace, question).await.map_err(api_error)?;
    let mut response = super::respond::json(write(answer.output, query.end_ms, limit));
    if answer.is_partial {
        response.headers_mut().insert("x-partial-response", HeaderValue::from_static("true"));
    }
    Ok(response)
}

fn write(mut output: QueryOutput, end_ms: i64, limit: Option<usize>) -> Vec<u8> {
    let rows = match &output.value {
        Value::Vector { samples, .. } => samples.len(),
        Value::Matrix(series) => series.len(),
        Value::Scalar { .. } | Value::String { .. } => 0,
    };
    let shown = limit.unwrap_or(usize::MAX);
    if rows > shown {
        output.warnings.push(TRUNCATED.to_owned());
    }
    let annotations = Annotations { warnings: &output.warnings, infos: &output.infos };
    match &output.value {
        Value::Vector { timestamp_ms, samples } => {
            let mut success = Success::begin_query(ResultType::Vector);
            for sample in samples.iter().take(shown) {
                match &sample.value {
                    SampleValue::Float(value) => success.vector_item(&sample.labels, *timestamp_ms, *value),
                    SampleValue::Histogram(histogram) => success.vector_histogram(&sample.labels, *timestamp_ms, histogram),
                }
            }
            success.finish_query(ResultType::Vector, None, annotations)
        }
        Value::Matrix(series) => {
            let mut success = Success::begin_query(ResultType::Matrix);
            for one in series.iter().take(shown) {
                success.matrix_series(&one.labels, &one.points, &one.histograms);
            }
            success.finish_query(ResultType::Matrix, None, annotations)
        }
        Value::Scalar { timestamp_ms, value } => {
            let mut success = Success::begin_query(ResultType::Scalar);
            success.scalar(*timestamp_ms, *value);
            success.finish_query(ResultType::Scalar, None, annotations)
        }
        Value::String { timestamp_ms, value } => {
            let mut success = Success::begin_query(ResultType::String);
            success.text(timestamp_ms.max(&end_ms).to_owned(), &String::from_utf8_lossy(value));
            success.finish_query(ResultType::String, None, annotations)
        }
    }
}

fn api_error(error: QueryError) -> ApiError {
    let error_type = match &error {
        QueryError::Parse(_) => return ApiError::invalid_parameter("query", error),
        QueryError::Plan(_) => ErrorType::BadData,
        QueryError::Eval(EvalError::TimedOut) | QueryError::QueueTimeout => ErrorType::Timeout,
        QueryError::Eval(EvalError::Cancelled) | QueryError::Read(ReadError::Cancelled) => ErrorType::Canceled,
        QueryError::Eval(_) | QueryError::Read(ReadError::TooManySamples | ReadError::OverBudget(_)) => ErrorType::Execution,
        QueryError::Read(
            ReadError::Unavailable { .. }
            | ReadError::StaleMap { .. }
            | ReadError::Unsupported { .. }
            | ReadError::BadAnswer { .. }
            | ReadError::Storage { .. },
        )
        | QueryError::TooMany(_) => ErrorType::Unavailable,
        QueryError::Aborted => ErrorType::Internal,
    };
    ApiError::new(error_type, error)
}

/// The error of a read that is not part of a query.
#[must_use]
pub fn read_error(error: ReadError) -> ApiError {
    api_error(QueryError::Read(error))
}
