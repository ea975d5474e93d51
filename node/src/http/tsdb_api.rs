//! `status/tsdb`: what the series in memory consist of, over all shards of a workspace.

use super::error::{ApiError, ErrorType};
use super::json::{Annotations, Success, write_list, write_string};
use super::params::{Params, parse_int};
use super::query_api::read_error;
use super::respond;
use crate::meta::state::WorkspaceRecord;
use crate::node::Node;
use crate::query::CancelOnDrop;
use crate::query::fragment_service::{Found, ReadKind, ReadSpec};
use crate::query::scatter::{scatter, shards_in_range};
use axum::response::Response;
use tokio::time::Instant;
use tsdb::cardinality::{Cardinality, Count};

const LIMIT_DEFAULT: usize = 10;
const LIMIT_MAX: usize = 10_000;

/// Figures about the series in memory and the largest of each kind, as Prometheus shows them of its head. Exact, whatever the number of
/// shards.
///
/// # Errors
/// 400 for a `limit` that is no number from 1 to 10,000; 503 if a shard is unavailable.
pub async fn status(node: &Node, workspace: &WorkspaceRecord, params: &Params) -> Result<Response, ApiError> {
    let limit = limit(params)?;
    let shards = shards_in_range(workspace, i64::MIN, i64::MAX).len();
    let spec = ReadSpec { limit: Some(limit), ..ReadSpec::new(ReadKind::Cardinality { shards }, i64::MIN, i64::MAX) };
    let cancel = CancelOnDrop::default();
    let deadline = Instant::now() + node.config.query.timeout;
    let told = scatter(node, workspace, spec, deadline, &cancel.cancelled).await.map_err(read_error)?;
    let internal = |error: &dyn std::fmt::Display| ApiError::new(ErrorType::Internal, error);
    let merged = node.compute(move || {
        let told = told.iter().filter_map(|found| if let Found::Cardinality(told) = found { Some(told.as_slice()) } else { None });
        Cardinality::merge(told, limit)
    });
    let merged = merged.await.map_err(|error| internal(&error))?.map_err(|error| internal(&error))?;
    Ok(respond::json(body(&merged)))
}

fn limit(params: &Params) -> Result<usize, ApiError> {
    let text = params.get("limit");
    if text.is_empty() {
        return Ok(LIMIT_DEFAULT);
    }
    match parse_int(text).ok().and_then(|number| usize::try_from(number).ok()) {
        None | Some(0) => Err(ApiError::bad_data("limit must be a positive number")),
        Some(limit) if limit > LIMIT_MAX => Err(ApiError::bad_data(format_args!("limit must not exceed {LIMIT_MAX}"))),
        Some(limit) => Ok(limit),
    }
}

fn body(of: &Cardinality) -> Vec<u8> {
    // Without samples Prometheus's head has the bounds of nothing.
    let (min_time, max_time) = of.times_ms.unwrap_or((i64::MAX, i64::MIN));
    let mut success = Success::begin();
    let Cardinality { series, label_pairs, chunks, .. } = of;
    let head = format!(
        r#"{{"headStats":{{"numSeries":{series},"numLabelPairs":{label_pairs},"chunkCount":{chunks},"minTime":{min_time},"maxTime":{max_time}}}"#
    );
    success.out.extend_from_slice(head.as_bytes());
    let lists = [
        ("seriesCountByMetricName", &of.series_by_metric),
        ("labelValueCountByLabelName", &of.values_by_name),
        ("memoryInBytesByLabelName", &of.bytes_by_name),
        ("seriesCountByLabelValuePair", &of.series_by_pair),
    ];
    for (name, counts) in lists {
        success.out.extend_from_slice(format!(",\"{name}\":").as_bytes());
        write_list(&mut success.out, counts, |out, Count { name, count }| {
            out.extend_from_slice(b"{\"name\":");
            write_string(out, name);
            out.extend_from_slice(format!(",\"value\":{count}}}").as_bytes());
        });
    }
    success.out.push(b'}');
    success.finish(Annotations::default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_judged_in_prometheus_words() {
        let read = |query: &str| limit(&Params::new(query, None).unwrap()).map_err(|error| error.message);
        assert_eq!((read(""), read("limit="), read("limit=1"), read("limit=10000")), (Ok(10), Ok(10), Ok(1), Ok(10_000)));
        for refused in ["0", "-1", "x", "99999999999999999999"] {
            assert_eq!(read(&format!("limit={refused}")), Err("limit must be a positive number".to_owned()));
        }
        assert_eq!(read("limit=10001"), Err("limit must not exceed 10000".to_owned()));
    }

    #[test]
    fn figures_stand_in_prometheus_shape() {
        let one = |name: &str, count| vec![Count { name: name.to_owned(), count }];
        let of = Cardinality {
            series: 2,
            label_pairs: 3,
            chunks: 4,
            times_ms: Some((5, 6)),
            series_by_metric: one("up", 2),
            values_by_name: one("job", 2),
            bytes_by_name: one("job", 12),
            series_by_pair: one("job=\"", 1),
        };
        let expected = concat!(
            r#"{"status":"success","data":{"headStats":{"numSeries":2,"numLabelPairs":3,"chunkCount":4,"minTime":5,"maxTime":6},"#,
            r#""seriesCountByMetricName":[{"name":"up","value":2}],"labelValueCountByLabelName":[{"name":"job","value":2}],"#,
            r#""memoryInBytesByLabelName":[{"name":"job","value":12}],"seriesCountByLabelValuePair":[{"name":"job=\"","value":1}]}}"#,
        );
        assert_eq!(String::from_utf8(body(&of)).unwrap(), expected);
        let empty = String::from_utf8(body(&Cardinality::default())).unwrap();
        assert!(
            empty.contains(r#""minTime":9223372036854775807,"maxTime":-9223372036854775808},"seriesCountByMetricName":[],"#),
            "{empty}"
        );
    }
}
