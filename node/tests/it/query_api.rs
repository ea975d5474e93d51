//! The query API over HTTP: texts and codes of errors, what is busy and how it is stopped, results that are kept.

use crate::cluster::{Caller, now_ms, series};
use crate::local::Up;
use reqwest::StatusCode;
use serde_json::{Value, json};
use std::time::Duration;

fn seconds(ms: i64) -> String {
    format!("{}.{:03}", ms / 1000, ms % 1000)
}

/// Endpoint, form, and what is said to it.
const REFUSED: &[(&str, &str, &str)] = &[
    ("query", "query=up&time=x", r#"invalid parameter "time": invalid time value for 'time': cannot parse "x" to a valid timestamp"#),
    ("query", "query=up&limit=-1", r#"invalid parameter "limit": limit must be non-negative"#),
    ("query", "query=up&limit=x&time=x", r#"invalid parameter "limit": strconv.Atoi: parsing "x": invalid syntax"#),
    ("query", "query=up&timeout=x", r#"invalid parameter "timeout": cannot parse "x" to a valid duration"#),
    ("query", "query=up&lookback_delta=x", r#"error parsing lookback delta duration: cannot parse "x" to a valid duration"#),
    ("query", "query=", r#"invalid parameter "query": unknown position: parse error: no expression found in input"#),
    ("query", "query=up()", r#"invalid parameter "query": 1:1: parse error: unknown function with name "up""#),
    ("query_range", "query=up&start=0&end=-1&step=1", r#"invalid parameter "end": end timestamp must not be before start time"#),
    (
        "query_range",
        "query=up&start=0&end=1&step=0",
        r#"invalid parameter "step": zero or negative query resolution step widths are not accepted. Try a positive integer"#,
    ),
    (
        "query_range",
        "query=up&start=0&end=11001&step=1",
        "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)",
    ),
    (
        "query_range",
        "query=up[5m]&start=0&end=1&step=1",
        r#"invalid parameter "query": invalid expression type "range vector" for range query, must be Scalar or instant Vector"#,
    ),
    ("query_exemplars", "query=up&start=2&end=1", "end timestamp must not be before start timestamp"),
    (
        "query_exemplars",
        "query=up&start=x",
        r#"invalid parameter "start": invalid time value for 'start': cannot parse "x" to a valid timestamp"#,
    ),
    ("query_exemplars", "query=", "unknown position: parse error: no expression found in input"),
    ("format_query", "query=", r#"invalid parameter "query": unknown position: parse error: no expression found in input"#),
];

#[tokio::test]
async fn parameters_are_judged_in_prometheus_words() {
    let dir = tempfile::tempdir().unwrap();
    let mut up = Up::start_with(1, &dir, &["--enable-feature=promql-experimental-functions"]);
    up.wait_ready();
    let caller = Caller::new(&up);
    for (path, query, expected) in REFUSED {
        let url = format!("{}/api/v1/{path}", caller.urls[0]);
        let form: Vec<(String, String)> =
            query.split('&').filter_map(|p| p.split_once('=')).map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
        for request in [caller.client.get(&url).query(&form), caller.client.post(&url).form(&form)] {
            let answer = request.send().await.unwrap();
            assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{path}?{query}");
            let body: Value = answer.json().await.unwrap();
            assert_eq!(body, json!({"status": "error", "errorType": "bad_data", "error": expected}), "{path}?{query}");
        }
    }
    assert_eq!(
        caller.get(0, "/api/v1/query_range", &[("query", "1"), ("start", "0"), ("end", "11000"), ("step", "1")]).await.0,
        StatusCode::OK
    );
    let get = async |path: &str, query: &[(&str, &str)]| caller.get(0, path, query).await;
    assert_eq!(get("/api/v1/query_exemplars", &[("query", "1 + 1")]).await.0, StatusCode::NO_CONTENT);
    // Grafana asks with milliseconds.
    let grafana = [("query", "test"), ("start", "1700000000000"), ("end", "1800000000000")];
    assert_eq!(get("/api/v1/query_exemplars", &grafana).await, (StatusCode::OK, json!({"status": "success", "data": []})));
    let formatted = get("/api/v1/format_query", &[("query", "sum by(a)(rate(x[5m]))")]).await;
    assert_eq!(formatted, (StatusCode::OK, json!({"status": "success", "data": "sum by (a) (rate(x[5m]))"})));
    let features = get("/prometheus/api/v1/features", &[]).await.1;
    assert_eq!((&features["data"]["promql_functions"]["info"], &features["data"]["promql"]["smoothed"]), (&json!(true), &json!(false)));

    let t = now_ms();
    let three: Vec<_> = (0..3).map(|i| series(&[("__name__", "m"), ("i", &i.to_string())], &[(t - 1000, 1.0)])).collect();
    assert_eq!(caller.write(0, "/api/v1/write", three).await.0, StatusCode::NO_CONTENT);
    let now = seconds(t);
    let limited = get("/api/v1/query", &[("query", "m"), ("time", &now), ("limit", "2"), ("stats", "yes")]).await.1;
    assert_eq!(limited["data"]["result"].as_array().unwrap().len(), 2);
    let deprecated =
        r#"value "yes" for parameter "stats" is deprecated and will be rejected in the next major release, use "true" or "all""#;
    assert_eq!(limited["warnings"], json!(["results truncated due to limit", deprecated]));
    assert_eq!(limited["data"]["stats"]["samples"]["totalQueryableSamples"], 3);
    assert!(limited["data"]["stats"]["timings"]["execTotalTime"].as_f64().unwrap() > 0.0);
    let whole = get("/api/v1/query", &[("query", "m"), ("time", &now), ("limit", "3")]).await.1;
    assert_eq!(
        (whole["data"]["result"].as_array().unwrap().len(), &whole["warnings"], &whole["data"]["stats"]),
        (3, &Value::Null, &Value::Null)
    );
}

/// Processor time that a node has used so far.
fn cpu_seconds(up: &Up) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", up.node_pid(1).as_raw_nonzero())).unwrap();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    let ticks = |i: usize| fields[i].parse::<f64>().unwrap();
    (ticks(11) + ticks(12)) / 100.0
}

/// After a query was stopped nothing of it goes on.
async fn assert_idle(up: &Up) {
    let before = cpu_seconds(up);
    tokio::time::sleep(Duration::from_secs(2)).await;
    let used = cpu_seconds(up) - before;
    assert!(used < 0.6, "{used} s of processor time in 2 s although no query runs");
}

#[tokio::test(flavor = "multi_thread")]
async fn queries_are_listed_wait_in_turn_and_stop_when_cancelled_or_left() {
    let dir = tempfile::tempdir().unwrap();
    let mut up = Up::start_with(1, &dir, &["--query.max-concurrency=1"]);
    up.wait_ready();
    let caller = Caller::new(&up);
    let t = now_ms();
    let many: Vec<_> = (0..400).map(|i| series(&[("__name__", "m"), ("i", &i.to_string())], &[(t - 5_000_000, 1.0)])).collect();
    assert_eq!(caller.write(0, "/api/v1/write", many).await.0, StatusCode::NO_CONTENT);
    // Half a minute of work, in short pieces.
    let (start, end) = (seconds(t - 3_000_000), seconds(t));
    let slow = |url: &str| {
        let form =
            [("query", "quantile_over_time(0.9, m[1h:1s])"), ("lookback_delta", "3h"), ("start", &start), ("end", &end), ("step", "1")];
        caller.client.post(format!("{url}/api/v1/query_range")).form(&form)
    };
    let list = async |path: &str| caller.get(0, path, &[]).await.1["data"].as_array().unwrap().clone();
    let in_state = async |state: &str| {
        for _ in 0..600 {
            let listed = list("/api/v1/status/active_queries").await;
            if let Some(found) = listed.iter().find(|q| q["state"] == state) {
                return found.clone();
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("no query is {state}: {:?}", list("/admin/queries").await);
    };

    let asked = tokio::spawn(slow(&caller.urls[0]).send());
    let running = in_state("running").await;
    assert_eq!((&running["workspace"], &running["step"], &running["end"]), (&json!("default"), &json!(1000), &json!(t)));
    assert!(running["client"].as_str().unwrap().starts_with("127.0.0.1:"));
    // The only place is taken.
    let waited = caller.get(0, "/api/v1/query", &[("query", "1"), ("timeout", "100ms")]).await;
    let expected = json!({"status": "error", "errorType": "timeout", "error": "query timed out in query queue"});
    assert_eq!(waited, (StatusCode::SERVICE_UNAVAILABLE, expected));
    let queued = tokio::spawn(slow(&caller.urls[0]).send());
    let waiting = in_state("queued").await;
    let cancel = async |prefix: &str, id: &Value| {
        let url = format!("{}{prefix}/admin/queries/{}/cancel", caller.urls[0], id.as_str().unwrap());
        caller.client.post(url).send().await.unwrap().status()
    };
    assert_eq!(cancel("/workspaces/system/api/v1", &waiting["id"]).await, StatusCode::NOT_FOUND, "it is another workspace's");
    assert_eq!(cancel("/workspaces/default/api/v1", &waiting["id"]).await, StatusCode::NO_CONTENT);
    let answer = queued.await.unwrap().unwrap();
    assert_eq!(answer.status().as_u16(), 499);
    let expected = json!({"status": "error", "errorType": "canceled", "error": "query was canceled in query queue"});
    assert_eq!(answer.json::<Value>().await.unwrap(), expected);

    assert_eq!(cancel("", &running["id"]).await, StatusCode::NO_CONTENT);
    let answer = asked.await.unwrap().unwrap();
    assert_eq!(answer.status().as_u16(), 499);
    let expected = json!({"status": "error", "errorType": "canceled", "error": "query was canceled in expression evaluation"});
    assert_eq!(answer.json::<Value>().await.unwrap(), expected);
    assert_eq!(cancel("", &running["id"]).await, StatusCode::NOT_FOUND);
    assert_idle(&up).await;

    // A client of its own, so that dropping the request closes its connection.
    let leaving = reqwest::Client::new();
    let request = slow(&caller.urls[0]).build().unwrap();
    let left = tokio::spawn(async move { leaving.execute(request).await });
    in_state("running").await;
    left.abort();
    for _ in 0..250 {
        if list("/admin/queries").await.is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(list("/admin/queries").await, Vec::<Value>::new());
    assert_idle(&up).await;
}

fn cached_slices(metrics: &str, outcome: &str) -> u64 {
    let prefix = format!("flotilla_query_cache_slices_total{{outcome=\"{outcome}\"}} ");
    metrics.lines().find_map(|line| line.strip_prefix(&prefix)).map_or(0, |count| count.parse().unwrap())
}

#[tokio::test]
async fn a_kept_result_is_used_until_something_is_written_into_its_time() {
    let dir = tempfile::tempdir().unwrap();
    let mut up = Up::start_with(3, &dir, &["--limits.out-of-order-window=0s", "--query.cache-min-time=0s"]);
    up.wait_ready();
    let caller = Caller::new(&up);
    let t = now_ms() / 60_000 * 60_000;
    let samples: Vec<(i64, f64)> = (0..160).map(|i| (t - 150 * 60_000 + i * 60_000 - 7_000, i as f64)).take_while(|s| s.0 <= t).collect();
    let some: Vec<_> = (0..20).map(|i| series(&[("__name__", "m"), ("i", &i.to_string())], &samples)).collect();
    assert_eq!(caller.write(0, "/api/v1/write", some).await.0, StatusCode::NO_CONTENT);
    let (start, end) = (seconds(t - 120 * 60_000), seconds(t - 20 * 60_000));
    let ask = async |extra: &[(&str, &str)]| {
        let form = [&[("query", "sum by (i) (m)"), ("start", &*start), ("end", &*end), ("step", "60")], extra].concat();
        let (status, body) = caller.get(1, "/api/v1/query_range", &form).await;
        assert_eq!(status, StatusCode::OK, "{body}");
        body["data"]["result"].clone()
    };
    let slices = async || {
        let text = caller.client.get(format!("{}/metrics", caller.urls[1])).send().await.unwrap().text().await.unwrap();
        ["hit", "partial", "miss"].map(|outcome| cached_slices(&text, outcome))
    };
    let form = [("query", "sum by (i) (m)"), ("start", &*start), ("end", &*end), ("step", "60"), ("explain", "analyze")];
    let explain = caller.get(2, "/api/v1/query_range", &form).await.1["data"]["explain"].clone();
    assert_eq!((&explain["plan"]["operator"], &explain["plan"]["text"]), (&json!("aggregate sum"), &json!("sum by (i) (m)")));
    assert_eq!(explain["plan"]["inputs"][0]["reads"]["matchers"], json!(["__name__=\"m\""]));
    let shards = explain["shards"].as_array().unwrap();
    assert_eq!(shards.iter().map(|shard| shard["series"].as_u64().unwrap()).sum::<u64>(), 20, "{explain}");
    assert!(shards.iter().all(|shard| shard["node"].as_str().unwrap().starts_with("node-")), "{explain}");
    assert!(shards.iter().all(|shard| shard["evalTime"].as_f64().is_some()), "{explain}");
    let refused = caller.get(2, "/api/v1/query", &[("query", "1"), ("explain", "x")]).await.1;
    assert_eq!(refused["error"], r#"invalid parameter "explain": not supported value "x""#);

    let whole = ask(&[("nocache", "1")]).await;
    assert_eq!(whole.as_array().unwrap().len(), 20);
    assert_eq!(slices().await, [0, 0, 0]);
    assert_eq!(ask(&[]).await, whole);
    let [hits, partial, misses] = slices().await;
    assert_eq!((hits, partial), (0, 0));
    assert!((1..=2).contains(&misses), "one or two days");
    assert_eq!(ask(&[]).await, whole);
    assert_eq!(slices().await, [misses, 0, misses], "all of it was kept");

    // A series whose first sample is an hour old: accepted, and in the middle of what is kept.
    let late = series(&[("__name__", "m"), ("i", "late")], &[(t - 60 * 60_000, 1.0)]);
    assert_eq!(caller.write(2, "/api/v1/write", vec![late]).await.0, StatusCode::NO_CONTENT);
    let seen = ask(&[]).await;
    assert_eq!(seen.as_array().unwrap().len(), 21);
    assert_eq!(seen, ask(&[("nocache", "1")]).await);
    let [hits, partial, misses_now] = slices().await;
    assert!(partial + misses_now > misses, "{hits} {partial} {misses_now}");
    assert_eq!(ask(&[]).await, seen);
}
