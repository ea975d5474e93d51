//! Cardinality over HTTP: any node counts over all shards as one plain count does.

use crate::cluster::{Caller, now_ms, series};
use crate::local::Up;
use reqwest::StatusCode;
use serde_json::{Value, json};
use std::cmp::Reverse;
use std::collections::BTreeMap;

const SERIES: usize = 600;

fn labels(n: usize) -> [(&'static str, String); 5] {
    [
        ("__name__", format!("metric_{}", n * n % 37 % 23)),
        ("instance", format!("host-{}", n / 20)),
        ("job", format!("job-{}", n % 4)),
        ("pod", format!("pod-{n}-{}", "x".repeat(n % 9))),
        ("zone", "a".to_owned()),
    ]
}

type Counts = Vec<(String, u64)>;

fn largest(mut counts: Counts, limit: usize) -> Value {
    counts.sort_by(|a, b| (Reverse(a.1), &a.0).cmp(&(Reverse(b.1), &b.0)));
    counts.into_iter().take(limit).map(|(name, value)| json!({"name": name, "value": value})).collect()
}

/// What a plain count over all series says.
fn counted(limit: usize) -> Value {
    let mut pairs: BTreeMap<(&str, String), u64> = BTreeMap::new();
    (0..SERIES).flat_map(labels).for_each(|pair| *pairs.entry(pair).or_default() += 1);
    let (mut values, mut bytes): (BTreeMap<&str, u64>, BTreeMap<&str, u64>) = Default::default();
    for ((name, value), series) in &pairs {
        *values.entry(*name).or_default() += 1;
        *bytes.entry(*name).or_default() += value.len() as u64 * series;
    }
    let by_name = |counts: BTreeMap<&str, u64>| largest(counts.into_iter().map(|(name, n)| (name.to_owned(), n)).collect(), limit);
    let metrics = pairs.iter().filter(|((name, _), _)| *name == "__name__").map(|((_, value), n)| (value.clone(), *n)).collect();
    json!({
        "seriesCountByMetricName": largest(metrics, limit),
        "labelValueCountByLabelName": by_name(values),
        "memoryInBytesByLabelName": by_name(bytes),
        "seriesCountByLabelValuePair": largest(pairs.iter().map(|((n, v), c)| (format!("{n}={v}"), *c)).collect(), limit),
    })
}

#[tokio::test]
async fn every_node_counts_the_series_of_all_shards_exactly() {
    let dir = tempfile::tempdir().unwrap();
    let mut up = Up::start(3, &dir);
    up.wait_ready();
    let caller = Caller::new(&up);
    let empty = caller.get(0, "/api/v1/status/tsdb", &[]).await;
    assert_eq!(empty.0, StatusCode::OK);
    assert_eq!(empty.1["data"]["headStats"]["numSeries"], 0);
    assert_eq!(empty.1["data"]["seriesCountByMetricName"], json!([]));

    let t = now_ms();
    let one = |n| {
        let labels = labels(n);
        let labels: Vec<(&str, &str)> = labels.iter().map(|(name, value)| (*name, value.as_str())).collect();
        series(&labels, &[(t - 1000 - n as i64, 1.0), (t, 2.0)])
    };
    assert_eq!(caller.write(0, "/api/v1/write", (0..SERIES).map(one).collect()).await.0, StatusCode::NO_CONTENT);
    let pairs: std::collections::BTreeSet<(&str, String)> = (0..SERIES).flat_map(labels).collect();
    let head = json!({
        "numSeries": SERIES, "numLabelPairs": pairs.len(), "chunkCount": SERIES, "minTime": t - 1000 - (SERIES as i64 - 1), "maxTime": t,
    });
    for node in 0..3 {
        for (limit, path) in
            [(10, "/api/v1/status/tsdb"), (3, "/workspaces/default/api/v1/status/tsdb"), (5000, "/prometheus/api/v1/status/tsdb")]
        {
            let asked = limit.to_string();
            let query: &[(&str, &str)] = if limit == 10 { &[] } else { &[("limit", &asked)] };
            let (status, mut body) = caller.get(node, path, query).await;
            assert_eq!(status, StatusCode::OK, "{body}");
            assert_eq!(body["data"]["headStats"].take(), head, "node {node}");
            let mut expected = counted(limit);
            expected["headStats"] = Value::Null;
            assert_eq!(body["data"], expected, "node {node} limit {limit}");
        }
    }
    let refused = caller.get(1, "/api/v1/status/tsdb", &[("limit", "0")]).await;
    let expected = json!({"status": "error", "errorType": "bad_data", "error": "limit must be a positive number"});
    assert_eq!(refused, (StatusCode::BAD_REQUEST, expected));
}
