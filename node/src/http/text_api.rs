//! What needs the text of a query only: `format_query` and `parse_query`.

use super::error::ApiError;
use super::json::{Annotations, Success, write_string};
use super::params::Params;
use super::query_api::checked_query;
use super::respond;
use crate::node::Node;
use axum::response::Response;
use promql::ast::Expr;

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
