//! `series`, `labels`, `label/{name}/values` and `status/buildinfo`.

use super::error::ApiError;
use super::json::{Annotations, Success, TRUNCATED, series_body, strings_body, write_string};
use super::params::Params;
use super::query_api::read_error;
use super::respond;
use crate::meta::state::WorkspaceRecord;
use crate::node::Node;
use crate::query::CancelOnDrop;
use crate::query::fragment_service::{Found, ReadKind, ReadSpec};
use crate::query::scatter::scatter;
use axum::response::Response;
use model::{Labels, Matcher};
use std::collections::BTreeSet;
use tokio::time::Instant;

/// Label sets that match any of `match[]`.
///
/// # Errors
/// 400 without `match[]` or with a malformed one; 503 if a shard is unavailable.
pub async fn series(node: &Node, workspace: &WorkspaceRecord, params: &Params) -> Result<Response, ApiError> {
    params.required_matches()?;
    let limit = params.limit("limit")?;
    let mut found: BTreeSet<Labels> = BTreeSet::new();
    for part in read(node, workspace, params, ReadKind::Series, limit).await? {
        if let Found::Series(series) = part {
            found.extend(series);
        }
    }
    let (shown, warnings) = cut(found.iter().collect(), limit);
    Ok(respond::json(series_body(shown, Annotations { warnings: &warnings, infos: &[] })))
}

/// Label names.
///
/// # Errors
/// As [`series`].
pub async fn labels(node: &Node, workspace: &WorkspaceRecord, params: &Params) -> Result<Response, ApiError> {
    texts(node, workspace, params, ReadKind::LabelNames).await
}

/// Values of one label; `U__` names are unescaped.
///
/// # Errors
/// As [`series`]; also 400 for a name that cannot be one.
pub async fn label_values(node: &Node, workspace: &WorkspaceRecord, name: &str, params: &Params) -> Result<Response, ApiError> {
    let label = unescape(name);
    if label.is_empty() {
        return Err(ApiError::bad_data(format!("invalid label name: {}", model::labels::quote(name))));
    }
    texts(node, workspace, params, ReadKind::LabelValues { label }).await
}

async fn texts(node: &Node, workspace: &WorkspaceRecord, params: &Params, kind: ReadKind) -> Result<Response, ApiError> {
    let limit = params.limit("limit")?;
    let mut found: BTreeSet<String> = BTreeSet::new();
    for part in read(node, workspace, params, kind, limit).await? {
        if let Found::Texts(texts) = part {
            found.extend(texts);
        }
    }
    let (shown, warnings) = cut(found.iter().map(String::as_str).collect(), limit);
    Ok(respond::json(strings_body(shown, Annotations { warnings: &warnings, infos: &[] })))
}

async fn read(
    node: &Node,
    workspace: &WorkspaceRecord,
    params: &Params,
    kind: ReadKind,
    limit: Option<usize>,
) -> Result<Vec<Found>, ApiError> {
    let (start_ms, end_ms) = params.interval()?;
    let matcher_sets: Vec<Vec<Matcher>> = params
        .all("match[]")
        .map(|text| promql::parse_selector(text).map_err(|e| ApiError::invalid_parameter("match[]", e)))
        .collect::<Result<_, _>>()?;
    // One more than asked for tells that there is more.
    let limit = limit.map(|l| l.saturating_add(1));
    let spec = ReadSpec { matcher_sets, limit, ..ReadSpec::new(kind, start_ms, end_ms) };
    let cancel = CancelOnDrop::default();
    scatter(node, workspace, spec, Instant::now() + node.config.query.timeout, &cancel.cancelled).await.map_err(read_error)
}

fn cut<T>(mut all: Vec<T>, limit: Option<usize>) -> (Vec<T>, Vec<String>) {
    let limit = limit.unwrap_or(usize::MAX);
    if all.len() <= limit {
        return (all, Vec::new());
    }
    all.truncate(limit);
    (all, vec![TRUNCATED.to_owned()])
}

/// Undoes the `U__` escaping of names that are not plain identifiers; any other name stays as it is.
fn unescape(name: &str) -> String {
    let Some(escaped) = name.strip_prefix("U__") else { return name.to_owned() };
    let mut out = String::new();
    let mut rest = escaped;
    while let Some(at) = rest.find('_') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('_') {
            out.push('_');
            rest = after;
            continue;
        }
        let code = rest.split_once('_').and_then(|(hex, after)| Some((char::from_u32(u32::from_str_radix(hex, 16).ok()?)?, after)));
        let Some((c, after)) = code else { return name.to_owned() };
        out.push(c);
        rest = after;
    }
    out.push_str(rest);
    out
}

/// The version of this binary.
#[must_use]
pub fn build_info() -> Response {
    let mut success = Success::begin();
    let fields = [
        ("version", env!("CARGO_PKG_VERSION")),
        ("revision", option_env!("FLOTILLA_REVISION").unwrap_or("")),
        ("branch", ""),
        ("buildUser", ""),
        ("buildDate", ""),
        ("goVersion", ""),
        ("application", "Flotilla"),
    ];
    for (i, (name, value)) in fields.iter().enumerate() {
        success.out.push(if i == 0 { b'{' } else { b',' });
        write_string(&mut success.out, name);
        success.out.push(b':');
        write_string(&mut success.out, value);
    }
    success.out.push(b'}');
    respond::json(success.finish(Annotations { warnings: &[], infos: &[] }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escaped_label_names_are_read_as_prometheus_reads_them() {
        assert_eq!(unescape("job"), "job");
        assert_eq!(unescape("U__http_2e_status"), "http.status");
        assert_eq!(unescape("U__a__b_3a_c"), "a_b:c");
        assert_eq!(unescape("U__bad_zz_"), "U__bad_zz_");
    }
}
