//! A workspace that gets more and fewer shards under load, beside one with the same samples that does not.

use crate::cluster::{Caller, now_ms, series};
use crate::local::{Up, eventually};
use crate::members::ctl;
use proto::prometheus::TimeSeries;
use reqwest::StatusCode;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const SERIES: usize = 40;

/// What is asked of both.
const QUERIES: [&str; 8] = [
    "sum(rate(moving[7s]))",
    "sum by (group) (increase(moving[20s]))",
    "avg_over_time(moving[5s])",
    "topk(3, moving)",
    "quantile(0.7, moving)",
    "count_over_time(moving[1m]) unless changes(moving[9s]) > 100",
    "moving - moving offset 6s",
    "max_over_time(sum(moving)[15s:2s])",
];

fn rows(t: i64, n: i64) -> Vec<TimeSeries> {
    let one = |i: usize| {
        let labels = [("__name__", "moving"), ("group", ["a", "b", "c"][i % 3]), ("i", &i.to_string())];
        series(&labels, &[(t, (n * n) as f64 + i as f64 / 8.0)])
    };
    (0..SERIES).map(one).collect()
}

/// Writes the present to both workspaces through one node after the other until it is told to stop.
async fn keep_writing(caller: Caller, twin: String, stop: Arc<AtomicBool>) -> i64 {
    let mut last_ms = 0;
    for n in 0.. {
        if stop.load(Ordering::Relaxed) {
            return n;
        }
        let t = now_ms().max(last_ms + 1);
        last_ms = t;
        for path in ["/api/v1/write".to_owned(), format!("/workspaces/{twin}/api/v1/remote_write")] {
            loop {
                let (status, text) = caller.write(n as usize % caller.urls.len(), &path, rows(t, n)).await;
                if status == StatusCode::NO_CONTENT {
                    break;
                }
                assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "a sender never retries another error: {text}");
            }
        }
        tokio::time::sleep(Duration::from_millis(40)).await;
    }
    0
}

async fn answer(caller: &Caller, node: usize, workspace: &str, path: &str, query: &[(&str, &str)]) -> Value {
    let (status, body) = caller.get(node, &format!("/workspaces/{workspace}/api/v1/{path}"), query).await;
    assert_eq!(status, StatusCode::OK, "{path} {query:?}: {body}");
    body["data"].clone()
}

/// Both workspaces answer alike, on every node, up to `end_ms`.
async fn compare(caller: &Caller, twin: &str, begin_ms: i64, end_ms: i64) {
    let seconds = |ms: i64| format!("{}.{:03}", ms / 1000, ms % 1000);
    let (start, end) = (seconds(begin_ms), seconds(end_ms));
    for query in QUERIES {
        let params = [("query", query), ("start", start.as_str()), ("end", end.as_str()), ("step", "0.7")];
        let expected = answer(caller, 0, twin, "query_range", &params).await;
        assert!(expected["result"].as_array().is_some_and(|series| !series.is_empty()), "{query}");
        for node in 0..caller.urls.len() {
            assert_eq!(answer(caller, node, "default", "query_range", &params).await, expected, "{query} on node {node}");
        }
    }
    let all = answer(caller, 1, "default", "series", &[("match[]", "moving")]).await;
    assert_eq!(all, answer(caller, 1, twin, "series", &[("match[]", "moving")]).await);
}

/// Changes the number of shards and waits until the new one holds; answers its first millisecond.
fn scale(url: &str, shards: usize) -> i64 {
    eventually("the change may begin", || match ctl(url, &["scale", "default", "--shards", &shards.to_string()]) {
        Ok(begun) => Some(begun),
        Err(refused) => {
            assert!(refused.contains("too recent"), "{refused}");
            None
        }
    });
    let decided = eventually("the change is decided", || {
        let workspaces = ctl(url, &["workspaces"]).ok()?;
        let default = workspaces.as_array()?.iter().find(|workspace| workspace["id"] == "default")?.clone();
        default["pending"].is_null().then_some(default)
    });
    assert_eq!(decided["shards"], json!(shards), "{decided}");
    let from_ms = decided["generations"].as_array().unwrap().last().unwrap()["from_ms"].as_i64().unwrap();
    eventually("it holds", || (now_ms() > from_ms + 3000).then_some(()));
    from_ms
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c8_a_workspace_grows_and_shrinks_under_load_and_answers_as_one_that_does_not() {
    let dir = tempfile::tempdir().unwrap();
    let mut up = Up::start_with(3, &dir, &["--cluster.scale-lead=2s"]);
    up.wait_ready();
    let caller = Caller::new(&up);
    let made = caller.client.post(format!("{}/workspaces", caller.urls[0])).body("{}").send().await.unwrap();
    let twin = made.json::<Value>().await.unwrap()["workspaceId"].as_str().unwrap().to_owned();
    let url = caller.urls[0].clone();
    eventually("the twin is known everywhere", || {
        caller.urls.iter().all(|url| ctl(url, &["workspaces"]).is_ok_and(|all| all.to_string().contains(&twin))).then_some(())
    });
    let (stop, begin_ms) = (Arc::<AtomicBool>::default(), now_ms());
    let load = tokio::spawn(keep_writing(Caller::new(&up), twin.clone(), Arc::clone(&stop)));

    let grown_ms = scale(&url, 5);
    // Long enough for every window of the queries.
    eventually("there is enough to ask for", || (now_ms() > begin_ms + 10_000).then_some(()));
    compare(&caller, &twin, begin_ms, now_ms() - 1000).await;
    let shrunk_ms = scale(&url, 2);
    assert!(shrunk_ms - grown_ms >= 16_000, "eight leads lie between");
    stop.store(true, Ordering::Relaxed);
    let written = load.await.unwrap();
    compare(&caller, &twin, begin_ms, now_ms()).await;
    let count = caller.result(2, "sum(count_over_time(moving[1h]))", now_ms()).await;
    assert_eq!(count[0]["value"][1], json!((written * SERIES as i64).to_string()), "each sample once");

    for pid in up.node_pids() {
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    }
    let caller = Caller::new(&up);
    eventually("all nodes answer again", || {
        (caller.urls.iter().all(|url| ctl(url, &["status"]).is_ok_and(|s| s["ready"] == true))).then_some(())
    });
    compare(&caller, &twin, begin_ms, now_ms()).await;
}
