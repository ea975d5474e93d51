//! Queries that the nodes of a cluster compute together.

use crate::cluster::{Caller, now_ms, series};
use crate::local::Up;
use reqwest::StatusCode;
use rustix::process::{Signal, kill_process};
use serde_json::{Value, json};

const QUERIES: [&str; 12] = [
    "sum(m)",
    "avg by (job) (m)",
    "stddev(m) + count(m)",
    "topk(3, m)",
    "quantile(0.9, m)",
    "count_values(\"v\", m % 5)",
    "sum by (job) (m) / on(job) group_left() max by (job) (m)",
    "absent(nothing{a=\"b\"}) or m",
    "m - m",
    "scalar(m{i=\"7\"}) * m{job=\"1\"}",
    "max_over_time(sum(m)[1m:10s])",
    "label_replace(m, \"job\", \"x$1\", \"i\", \"(.).*\") > 100",
];

#[tokio::test]
async fn every_node_answers_alike_and_a_lost_majority_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let mut up = Up::start(3, &dir);
    up.wait_ready();
    let caller = Caller::new(&up);
    let t = now_ms() / 1000 * 1000;
    let one = |i: usize| {
        let (name, job) = (i.to_string(), (i % 3).to_string());
        series(&[("__name__", "m"), ("i", &name), ("job", &job)], &[(t - 20_000, i as f64), (t - 10_000, i as f64 + 0.5)])
    };
    assert_eq!(caller.write(0, "/api/v1/write", (0..200).map(one).collect()).await.0, StatusCode::NO_CONTENT);
    assert_eq!(caller.result(0, "count(m)", t).await[0]["value"][1], "200");
    assert_eq!(caller.result(1, "sum(m)", t).await[0]["value"][1], "20000");
    for query in QUERIES {
        let expected = caller.result(0, query, t).await;
        assert!(!expected.as_array().unwrap().is_empty(), "{query}");
        for node in 1..3 {
            assert_eq!(caller.result(node, query, t).await, expected, "{query} at node {node}");
        }
    }

    // Two of three nodes stand still: no shard has a majority that could confirm a read.
    for pid in &up.node_pids()[1..] {
        kill_process(*pid, Signal::STOP).unwrap();
    }
    let time = (t / 1000).to_string();
    let ask = |query: &'static str, partial: &'static str| {
        let (caller, time) = (&caller, &time);
        async move {
            caller.get(0, "/api/v1/query", &[("query", query), ("time", time), ("timeout", "4s"), ("partial_response", partial)]).await
        }
    };
    let (status, body) = ask("sum(m)", "false").await;
    assert_eq!((status, &body["errorType"]), (StatusCode::SERVICE_UNAVAILABLE, &json!("unavailable")), "{body}");
    let (status, _) = ask("absent(m)", "true").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "silence proves no absence");
    let (status, body) = ask("sum(m)", "true").await;
    assert_eq!(status, StatusCode::OK, "{body}");
    let warning = body["warnings"][0].as_str().unwrap_or_default();
    assert!(warning.contains("unavailable: result is partial at ") && warning.starts_with("shards ["), "{body}");
    for pid in &up.node_pids()[1..] {
        kill_process(*pid, Signal::CONT).unwrap();
    }
    assert_ne!(body["data"], Value::Null);
}
