//! Remote write of both versions with all that it can carry, read back on every node, and again after all were killed.

use crate::cluster::{Caller, now_ms, series};
use crate::local::Up;
use crate::wire::*;
use prost::Message;
use proto::prometheus::{Exemplar, Label, MetricMetadata};
use reqwest::StatusCode;
use reqwest::header::HeaderMap;
use rustix::process::{Signal, kill_process};
use serde_json::{Value, json};

const V1: &str = "application/x-protobuf";
const V2: &str = "application/x-protobuf;proto=io.prometheus.write.v2.Request";

async fn send(caller: &Caller, node: usize, content_type: &str, body: &[u8]) -> (StatusCode, HeaderMap, String) {
    let block = snap::raw::Encoder::new().compress_vec(body).unwrap();
    let request = caller.client.post(format!("{}/api/v1/write", caller.urls[node]));
    let request = request.header("content-encoding", "snappy").header("content-type", content_type);
    let response = request.body(block).send().await.unwrap();
    (response.status(), response.headers().clone(), response.text().await.unwrap())
}

/// Samples, histograms and exemplars that the answer says are written.
fn written(headers: &HeaderMap) -> Option<[u64; 3]> {
    let count = |what: &str| headers.get(format!("x-prometheus-remote-write-{what}-written"))?.to_str().ok()?.parse().ok();
    Some([count("samples")?, count("histograms")?, count("exemplars")?])
}

fn label(name: &str, value: &str) -> Label {
    Label { name: name.into(), value: value.into() }
}

fn request_1(t: i64) -> Request1 {
    let histograms = (0..4).map(|n| whole_histogram(t - 60_000 + i64::from(n) * 15_000, 4 + n)).collect();
    let exemplar = Exemplar { labels: vec![label("trace_id", "one")], value: 0.5, timestamp: t - 15_000 };
    let series =
        Series1 { labels: vec![label("__name__", "h"), label("job", "a")], exemplars: vec![exemplar], histograms, ..Series1::default() };
    let metadata = |family: &str, kind, help: &str| MetricMetadata {
        r#type: kind,
        metric_family_name: family.into(),
        help: help.into(),
        unit: String::new(),
    };
    Request1 { timeseries: vec![series], metadata: vec![metadata("h", 3, "A histogram."), metadata("up", 2, "Whether it answers.")] }
}

fn request_2(t: i64) -> Request2 {
    let symbols = ["", "__name__", "requests_total", "job", "a", "trace_id", "two", "How many.", "bytes", "h2"];
    let samples = (0..4).map(|n| Sample {
        value: 10.0 * f64::from(n + 1),
        timestamp: t - 60_000 + i64::from(n) * 15_000,
        start_timestamp: t - 600_000,
    });
    let counter = Series2 {
        labels_refs: vec![1, 2, 3, 4],
        samples: samples.collect(),
        exemplars: vec![Exemplar2 { labels_refs: vec![5, 6], value: 3.0, timestamp: t - 20_000 }],
        metadata: Some(Metadata2 { r#type: 1, help_ref: 7, unit_ref: 8 }),
        ..Series2::default()
    };
    let float = Histogram {
        count: Some(Count::Float(3.5)),
        zero_count: Some(ZeroCount::Float(0.5)),
        sum: 7.0,
        schema: 0,
        zero_threshold: 0.5,
        positive_spans: vec![BucketSpan { offset: 1, length: 2 }],
        positive_counts: vec![1.0, 2.0],
        reset_hint: 3,
        timestamp: t - 15_000,
        ..Histogram::default()
    };
    let histogram = Series2 { labels_refs: vec![1, 9, 3, 4], histograms: vec![float], ..Series2::default() };
    Request2 { symbols: symbols.map(str::to_owned).to_vec(), timeseries: vec![counter, histogram] }
}

fn seconds(ms: i64) -> String {
    format!("{}.{:03}", ms / 1000, ms % 1000)
}

/// Everything that a reader sees of what was written.
async fn seen(caller: &Caller, node: usize, t: i64) -> Value {
    let mut all = Vec::new();
    for query in [
        "h",
        "h[2m]",
        "h2",
        "requests_total[2m]",
        "histogram_count(h)",
        "histogram_quantile(0.5, h)",
        "histogram_count(rate(h[1m]))",
        "increase(requests_total[1m])",
        "sum(h)",
    ] {
        all.push(caller.result(node, query, t - 15_000).await);
    }
    let range = [("query", "h or requests_total"), ("start", &seconds(t - 120_000)), ("end", &seconds(t))];
    let (status, exemplars) = caller.get(node, "/api/v1/query_exemplars", &range).await;
    assert_eq!(status, StatusCode::OK, "{exemplars}");
    all.push(exemplars["data"].clone());
    all.push(caller.get(node, "/api/v1/metadata", &[]).await.1["data"].clone());
    Value::Array(all)
}

#[tokio::test]
async fn all_that_remote_write_carries_is_read_on_every_node_also_after_all_were_killed() {
    let dir = tempfile::tempdir().unwrap();
    let mut up = Up::start(3, &dir);
    up.wait_ready();
    let caller = Caller::new(&up);
    let t = now_ms() / 1000 * 1000;
    let one = request_1(t).encode_to_vec();
    let two = request_2(t).encode_to_vec();
    let (status, headers, text) = send(&caller, 0, V1, &one).await;
    assert_eq!((status, written(&headers), text.as_str()), (StatusCode::NO_CONTENT, None, ""));
    // The second time, through another node, nothing changes and the counts are the same.
    for node in [1, 2] {
        let (status, headers, text) = send(&caller, node, V2, &two).await;
        assert_eq!((status, written(&headers), text.as_str()), (StatusCode::NO_CONTENT, Some([4, 1, 1]), ""));
        assert_eq!(send(&caller, node, V1, &one).await.0, StatusCode::NO_CONTENT);
    }

    let expected = seen(&caller, 0, t).await;
    let buckets = json!([
        [3, "-0.001", "0.001", "7"],
        [0, "0.7071067811865475", "1", "7"],
        [0, "1", "1.414213562373095", "8"],
        [0, "2", "2.82842712474619", "7"]
    ]);
    assert_eq!(expected[0][0]["histogram"][1], json!({"count": "29", "sum": "18.5", "buckets": buckets}));
    assert_eq!(expected[1][0]["histograms"].as_array().map(Vec::len), Some(4));
    assert_eq!(expected[2][0]["histogram"][1]["count"], "3.5");
    assert_eq!(expected[3][0]["values"].as_array().map(Vec::len), Some(4));
    assert_eq!(expected[4][0]["value"][1], "29");
    assert!(expected[6][0]["value"][1].as_str().unwrap().parse::<f64>().unwrap() > 0.0, "{expected}");
    let exemplar = |name: &str, trace: &str, value: &str, at: i64| {
        json!({
            "seriesLabels": {"__name__": name, "job": "a"},
            "exemplars": [{"labels": {"trace_id": trace}, "value": value, "timestamp": (t + at) / 1000}]
        })
    };
    assert_eq!(expected[9], json!([exemplar("h", "one", "0.5", -15_000), exemplar("requests_total", "two", "3", -20_000)]));
    let known = |kind: &str, unit: &str, help: &str| json!([{"type": kind, "unit": unit, "help": help}]);
    assert_eq!(
        expected[10],
        json!({
            "h": known("histogram", "", "A histogram."),
            "requests_total": known("counter", "bytes", "How many."),
            "up": known("gauge", "", "Whether it answers."),
        })
    );
    for round in 0..2 {
        let caller = Caller::new(&up);
        for node in 0..3 {
            assert_eq!(seen(&caller, node, t).await, expected, "round {round} node {node}");
        }
        if round == 0 {
            for pid in up.node_pids() {
                kill_process(pid, Signal::KILL).unwrap();
            }
            for number in 1..=3 {
                up.line(&format!("node-{number}: died"));
                up.line(&format!("node-{number}: ready"));
                up.line(&format!("node-{number}: ready"));
            }
        }
    }
}

#[tokio::test]
async fn version_2_tells_what_is_written_whatever_the_status() {
    let dir = tempfile::tempdir().unwrap();
    let mut up = Up::start(1, &dir);
    up.wait_ready();
    let caller = Caller::new(&up);
    let t = now_ms();
    let sample = |value| vec![Sample { value, timestamp: t, start_timestamp: 0 }];
    let series = |labels_refs: &[u32], value| Series2 { labels_refs: labels_refs.to_vec(), samples: sample(value), ..Series2::default() };
    let encode = |timeseries| {
        let symbols = ["", "__name__", "up", "a", "trace_id"].map(str::to_owned).to_vec();
        Request2 { symbols, timeseries }.encode_to_vec()
    };
    let good = series(&[1, 2], 1.0);
    let late = |ago| Exemplar2 { labels_refs: vec![4, 3], value: 1.0, timestamp: t - ago };
    let bad_histogram = Histogram { schema: 77, ..whole_histogram(t, 1) };
    let cases = [
        (encode(vec![good.clone()]), StatusCode::NO_CONTENT, [1, 0, 0], ""),
        (encode(vec![]), StatusCode::NO_CONTENT, [0, 0, 0], ""),
        (
            encode(vec![good.clone(), series(&[1, 2], 2.0)]),
            StatusCode::BAD_REQUEST,
            [1, 0, 0],
            "duplicate sample for timestamp for series {__name__=\"up\"}",
        ),
        (encode(vec![series(&[3, 3], 1.0), series(&[1, 3], 1.0)]), StatusCode::BAD_REQUEST, [1, 0, 0], "invalid metric name or labels"),
        (
            encode(vec![Series2 { exemplars: vec![late(5), late(10), late(5)], ..good.clone() }]),
            StatusCode::NO_CONTENT,
            // The second is older than the first and passed over; the third is the newest again.
            [1, 0, 2],
            "",
        ),
        (
            encode(vec![Series2 { labels_refs: vec![1, 4], histograms: vec![bad_histogram, whole_histogram(t, 1)], ..Series2::default() }]),
            StatusCode::BAD_REQUEST,
            [0, 1, 0],
            "histogram has an invalid schema",
        ),
        (vec![0x2a, 0x7f], StatusCode::BAD_REQUEST, [0, 0, 0], "malformed remote write request"),
    ];
    for (body, status, counts, text) in cases {
        let (found, headers, body) = send(&caller, 0, V2, &body).await;
        assert_eq!((found, written(&headers)), (status, Some(counts)), "{body}");
        assert!(body.starts_with(text), "{body}");
    }
    for (content_type, text) in
        [("application/json", "expected application/x-protobuf"), ("application/x-protobuf;proto=x", "got application")]
    {
        let (status, headers, body) = send(&caller, 0, content_type, &encode(vec![])).await;
        assert_eq!((status, written(&headers)), (StatusCode::UNSUPPORTED_MEDIA_TYPE, None));
        assert!(body.starts_with(text), "{body}");
    }
    // Whatever was refused, the rest is there.
    assert_eq!(caller.result(0, "count({__name__=~\".+\"})", t).await[0]["value"][1], "3");
}

#[tokio::test]
async fn metadata_is_answered_within_its_limits() {
    let dir = tempfile::tempdir().unwrap();
    let mut up = Up::start(1, &dir);
    up.wait_ready();
    let caller = Caller::new(&up);
    let metadata = |query: &'static [(&'static str, &'static str)]| {
        let caller = &caller;
        async move { caller.get(0, "/api/v1/metadata", query).await }
    };
    let request = Request1 {
        timeseries: vec![],
        metadata: ["b", "a", "c"]
            .map(|family| MetricMetadata { r#type: 1, metric_family_name: family.into(), help: String::new(), unit: String::new() })
            .to_vec(),
    };
    assert_eq!(send(&caller, 0, V1, &request.encode_to_vec()).await.0, StatusCode::NO_CONTENT);
    let entry = json!([{"type": "counter", "unit": "", "help": ""}]);
    for (query, expected) in [
        (&[][..], json!({"a": entry, "b": entry, "c": entry})),
        (&[("limit", "2")], json!({"a": entry, "b": entry})),
        (&[("metric", "c"), ("limit_per_metric", "1")], json!({"c": entry})),
        (&[("metric", "none")], json!({})),
    ] {
        assert_eq!(metadata(query).await.1["data"], expected, "{query:?}");
    }
    let (status, body) = metadata(&[("limit", "x")]).await;
    assert_eq!((status, &body["error"]), (StatusCode::BAD_REQUEST, &json!("limit must be a number")));
}

/// A router knows a series by its labels as soon as it sent them, whatever the shard made of its samples; one that the shard refused is
/// not known there. Rows with labels fill more parts than those without.
#[tokio::test]
async fn c7_shards_that_lack_a_series_get_its_labels_and_every_sample() {
    const SERIES: usize = 12_000;
    let dir = tempfile::tempdir().unwrap();
    let mut up = Up::start(1, &dir);
    up.wait_ready();
    let caller = Caller::new(&up);
    let now = now_ms();
    let padding = ["a".repeat(700), "b".repeat(700)];
    let request = |t: i64| {
        let one =
            |n: usize| series(&[("__name__", "known"), ("n", &n.to_string()), ("x", &padding[0]), ("y", &padding[1])], &[(t, n as f64)]);
        (0..SERIES).map(one).collect()
    };
    let (status, text) = caller.write(0, "/api/v1/write", request(now - 48 * 3_600_000)).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{text}");
    assert_eq!(caller.write(0, "/api/v1/write", request(now)).await.0, StatusCode::NO_CONTENT);
    let time = (now / 1000 + 1).to_string();
    for (query, value) in [("count(known)", SERIES), ("sum(known)", SERIES * (SERIES - 1) / 2)] {
        let (_, found) = caller.get(0, "/api/v1/query", &[("query", query), ("time", &time)]).await;
        assert_eq!(found["data"]["result"][0]["value"][1], value.to_string(), "{query}: {found}");
    }
    let metrics = reqwest::get(format!("{}/metrics", caller.urls[0])).await.unwrap().text().await.unwrap();
    let recognised: f64 = metrics
        .lines()
        .filter(|line| line.starts_with("flotilla_ingest_series_lookup_total") && !line.contains("\"new\""))
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        .sum();
    assert!(recognised >= SERIES as f64, "no labels went with the first try: {recognised}");
}
