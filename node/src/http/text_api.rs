//! What needs the text of a query only: `format_query`, `parse_query`, and the shape of `query_exemplars`.

use super::error::ApiError;
use super::json::{Annotations, Success, write_string};
use super::params::Params;
use super::query_api::checked_query;
use super::respond;
use crate::node::Node;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use promql::ast::{Expr, ExprKind};

const NO_ANNOTATIONS: Annotations<'static> = Annotations { warnings: &[], infos: &[] };

/// The query, laid out for people.
///
/// # Errors
/// 400 for what is no query.
pub fn format_query(node: &Node, params: &Params) -> Result<Response, ApiError> {
    let expr = parse(node, params)?;
    let mut success = Success::begin();
    write_string(&mut success.out, &promql::format(&expr));
    Ok(respond::json(success.finish(NO_ANNOTATIONS)))
}

/// The query as a tree.
///
/// # Errors
/// 400 for what is no query.
pub fn parse_query(node: &Node, params: &Params) -> Result<Response, ApiError> {
    let expr = parse(node, params)?;
    let mut success = Success::begin();
    promql::translate(&mut success.out, &expr, write_string);
    Ok(respond::json(success.finish(NO_ANNOTATIONS)))
}

fn parse(node: &Node, params: &Params) -> Result<Expr, ApiError> {
    let options = node.config.query.features.parser_options();
    promql::parse_with(checked_query(params)?, options).map_err(|e| ApiError::invalid_parameter("query", e))
}

/// Exemplars of the series that the query selects: none, as none are stored. 204 without a body if it selects no series.
///
/// # Errors
/// 400 for bad times and for what is no query.
pub fn query_exemplars(node: &Node, params: &Params) -> Result<Response, ApiError> {
    let (start_ms, end_ms) = params.interval()?;
    if end_ms < start_ms {
        return Err(ApiError::bad_data("end timestamp must not be before start timestamp"));
    }
    let options = node.config.query.features.parser_options();
    let expr = promql::parse_with(checked_query(params)?, options).map_err(ApiError::bad_data)?;
    if !selects_series(&expr) {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let mut success = Success::begin();
    success.out.extend_from_slice(b"[]");
    Ok(respond::json(success.finish(NO_ANNOTATIONS)))
}

/// Whether there is a selector anywhere in a query; found without recursion, for a chain of operators nests as deep as it is long.
fn selects_series(expr: &Expr) -> bool {
    let mut open = vec![expr];
    while let Some(expr) = open.pop() {
        match &expr.kind {
            ExprKind::Vector(_) | ExprKind::Matrix { .. } => return true,
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
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_are_found_wherever_they_stand() {
        for (text, expected) in [
            ("1 + 2", false),
            ("time()", false),
            ("vector(scalar(up))", true),
            ("topk(scalar(k), vector(1))", true),
            ("max_over_time((-up)[5m:])", true),
            ("\"text\"", false),
        ] {
            assert_eq!(selects_series(&promql::parse(text).unwrap()), expected, "{text}");
        }
    }
}
