//! `metadata`: type, help and unit of metric families.

use super::error::ApiError;
use super::json::{Annotations, Success, write_string};
use super::params::Params;
use super::query_api::read_error;
use super::respond;
use crate::meta::state::WorkspaceRecord;
use crate::node::Node;
use crate::query::CancelOnDrop;
use crate::query::fragment_service::{Found, ReadKind, ReadSpec};
use crate::query::scatter::scatter;
use axum::response::Response;
use std::collections::BTreeMap;
use tokio::time::Instant;
use tsdb::metadata::Known;

/// What is known about the families, or about the one that `metric` names: one entry each, the last written.
///
/// # Errors
/// 400 for a `limit` or `limit_per_metric` that is no number; 503 if a shard is unavailable.
pub async fn metadata(node: &Node, workspace: &WorkspaceRecord, params: &Params) -> Result<Response, ApiError> {
    let limit = limit(params, "limit")?;
    // There is one entry a family, which no limit of entries takes away: 0 and less are no limit.
    self::limit(params, "limit_per_metric")?;
    let family = Some(params.get("metric")).filter(|family| !family.is_empty()).map(str::to_owned);
    let spec = ReadSpec::new(ReadKind::Metadata { family }, i64::MIN, i64::MAX);
    let cancel = CancelOnDrop::default();
    let deadline = Instant::now() + node.config.query.timeout;
    let parts = scatter(node, workspace, spec, deadline, &cancel.cancelled).await.map_err(read_error)?;
    let mut families: BTreeMap<String, Known> = BTreeMap::new();
    for (family, known) in parts.into_iter().filter_map(|part| if let Found::Metadata(found) = part { Some(found) } else { None }).flatten()
    {
        // Shards of several generations may know a family.
        match families.get(&family) {
            Some(other) if other.since_ms >= known.since_ms => {}
            _ => drop(families.insert(family, known)),
        }
    }
    let shown = families.iter().take(limit.unwrap_or(usize::MAX));
    let mut success = Success::begin();
    success.out.push(b'{');
    for (i, (family, known)) in shown.enumerate() {
        if i > 0 {
            success.out.push(b',');
        }
        write_string(&mut success.out, family);
        success.out.push(b':');
        write_known(&mut success.out, known);
    }
    success.out.push(b'}');
    Ok(respond::json(success.finish(Annotations { warnings: &[], infos: &[] })))
}

fn write_known(out: &mut Vec<u8>, known: &Known) {
    for (before, text) in [("[{\"type\":", known.kind.name()), (",\"unit\":", &known.unit), (",\"help\":", &known.help)] {
        out.extend_from_slice(before.as_bytes());
        write_string(out, text);
    }
    out.extend_from_slice(b"}]");
}

/// A number of families; none below 0. As in Prometheus, 0 shows nothing.
fn limit(params: &Params, name: &str) -> Result<Option<usize>, ApiError> {
    let text = params.get(name);
    if text.is_empty() {
        return Ok(None);
    }
    let number: i64 = text.parse().map_err(|_| ApiError::bad_data(format_args!("{name} must be a number")))?;
    Ok(usize::try_from(number).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_as_prometheus_reads_them() {
        let read = |query: &str| limit(&Params::new(query, None).unwrap(), "limit").map_err(|error| error.message);
        assert_eq!(read("limit=0"), Ok(Some(0)));
        assert_eq!(read("limit=12"), Ok(Some(12)));
        assert_eq!((read("limit=-1"), read("limit="), read("")), (Ok(None), Ok(None), Ok(None)));
        assert_eq!(read("limit=x"), Err("limit must be a number".to_owned()));
    }
}
