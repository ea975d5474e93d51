//! `query_exemplars`: exemplars of the series that a query selects.

use super::error::ApiError;
use super::json::{Annotations, Success, write_labels, write_list, write_timestamp};
use super::params::Params;
use super::query_api::{checked_query, read_error};
use super::respond;
use crate::meta::state::WorkspaceRecord;
use crate::node::Node;
use crate::query::CancelOnDrop;
use crate::query::fragment_service::{Found, FoundExemplar, ReadKind, ReadSpec};
use crate::query::scatter::scatter;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use model::number::write_float;
use model::{Labels, Matcher};
use promql::ast::{Expr, ExprKind};
use std::collections::BTreeMap;
use tokio::time::Instant;

/// Exemplars of the selected series, sorted by their labels; nothing (204) for a query that selects none.
///
/// # Errors
/// 400 for bad times and for what is no query; 503 if a shard is unavailable.
pub async fn query_exemplars(node: &Node, workspace: &WorkspaceRecord, params: &Params) -> Result<Response, ApiError> {
    let (start_ms, end_ms) = params.interval()?;
    if end_ms < start_ms {
        return Err(ApiError::bad_data("end timestamp must not be before start timestamp"));
    }
    let options = node.config.query.features.parser_options();
    let expr = promql::parse_with(checked_query(params)?, options).map_err(ApiError::bad_data)?;
    let matcher_sets = selectors(&expr);
    if matcher_sets.is_empty() {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let spec = ReadSpec { matcher_sets, ..ReadSpec::new(ReadKind::Exemplars, start_ms, end_ms) };
    let cancel = CancelOnDrop::default();
    let deadline = Instant::now() + node.config.query.timeout;
    let parts = scatter(node, workspace, spec, deadline, &cancel.cancelled).await.map_err(read_error)?;
    let mut by_series: BTreeMap<Labels, Vec<FoundExemplar>> = BTreeMap::new();
    for part in parts {
        if let Found::Exemplars(series) = part {
            series.into_iter().for_each(|one| by_series.entry(one.labels).or_default().extend(one.exemplars));
        }
    }
    let mut success = Success::begin();
    write_list(&mut success.out, &mut by_series, |out, (labels, exemplars)| {
        // A series lies on several shards if the shard map changed.
        exemplars.sort_by_key(|exemplar| exemplar.timestamp_ms);
        out.extend_from_slice(b"{\"seriesLabels\":");
        write_labels(out, labels);
        out.extend_from_slice(b",\"exemplars\":");
        write_list(out, exemplars.iter(), write_exemplar);
        out.push(b'}');
    });
    Ok(respond::json(success.finish(Annotations { warnings: &[], infos: &[] })))
}

fn write_exemplar(out: &mut Vec<u8>, exemplar: &FoundExemplar) {
    out.extend_from_slice(b"{\"labels\":");
    write_labels(out, &exemplar.labels);
    out.extend_from_slice(b",\"value\":\"");
    write_float(out, exemplar.value);
    out.extend_from_slice(b"\",\"timestamp\":");
    write_timestamp(out, exemplar.timestamp_ms);
    out.push(b'}');
}

/// The matchers of every selector of a query; found without recursion, for a chain of operators nests as deep as it is long.
fn selectors(expr: &Expr) -> Vec<Vec<Matcher>> {
    let mut found = Vec::new();
    let mut open = vec![expr];
    while let Some(expr) = open.pop() {
        match &expr.kind {
            ExprKind::Vector(selector) | ExprKind::Matrix { selector, .. } => found.push(selector.matchers.clone()),
            ExprKind::Number { .. } | ExprKind::String(_) => {}
            ExprKind::Subquery(subquery) => open.push(&subquery.expr),
            ExprKind::Aggregate(aggregate) => {
                open.push(&aggregate.expr);
                open.extend(&aggregate.param);
            }
            ExprKind::Call { args, .. } => open.extend(args),
            ExprKind::Unary { expr, .. } | ExprKind::Paren(expr) => open.push(expr),
            ExprKind::Binary(binary) => open.extend([&binary.left, &binary.right]),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_are_found_wherever_they_stand() {
        for (text, expected) in [
            ("1 + 2", 0),
            ("time()", 0),
            ("vector(scalar(up))", 1),
            ("sum by (job) (rate(up[5m]))", 1),
            ("topk(scalar(n), -(up))", 2),
            ("max_over_time(sum(up)[1m:10s])", 1),
            ("1 - (up or down)", 2),
        ] {
            assert_eq!(selectors(&promql::parse(text).unwrap()).len(), expected, "{text}");
        }
    }
}
