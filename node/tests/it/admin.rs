//! Deletes as clients ask for them: through any node, seen by every node, also after all of them were killed.

use crate::cluster::{Caller, now_ms, series};
use crate::local::Up;
use proto::prometheus::TimeSeries;
use reqwest::{Method, StatusCode};
use rustix::process::{Signal, kill_process};
use serde_json::{Value, json};

const ADMIN: &str = "/api/v1/admin/tsdb";

async fn admin(caller: &Caller, node: usize, method: Method, path: &str, form: &[(&str, &str)]) -> (StatusCode, Value) {
    let request = caller.client.request(method, format!("{}{path}", caller.urls[node])).form(form);
    let response = request.send().await.unwrap();
    let status = response.status();
    (status, response.json().await.unwrap_or(Value::Null))
}

fn many(t: i64, value: f64) -> Vec<TimeSeries> {
    let samples: Vec<(i64, f64)> = (0..10).map(|i| (t - 100_000 + i * 10_000, value)).collect();
    (0..30).map(|i| series(&[("__name__", "m"), ("i", &i.to_string()), ("odd", &(i % 2).to_string())], &samples)).collect()
}

async fn count(caller: &Caller, node: usize, selector: &str, t: i64) -> u64 {
    let result = caller.result(node, &format!("sum(count_over_time({selector}[1h]))"), t).await;
    result[0]["value"][1].as_str().map_or(0, |text| text.parse().unwrap())
}

async fn names(caller: &Caller, node: usize) -> Value {
    caller.get(node, "/api/v1/label/odd/values", &[]).await.1["data"].clone()
}

#[tokio::test]
async fn c14_series_deleted_through_one_node_are_gone_on_every_node_and_come_back_with_new_samples() {
    let dir = tempfile::tempdir().unwrap();
    let mut up = Up::start_with(3, &dir, &["--web.enable-admin-api=true"]);
    up.wait_ready();
    let caller = Caller::new(&up);
    let t = now_ms() / 1000 * 1000;
    assert_eq!(caller.write(0, "/api/v1/write", many(t, 1.0)).await.0, StatusCode::NO_CONTENT);
    for node in 0..3 {
        assert_eq!(count(&caller, node, "m", t).await, 300);
    }
    // A span of all series, then all of some series.
    let (start, end) = (((t - 100_000) / 1000).to_string(), ((t - 60_000) / 1000).to_string());
    let span = [("match[]", "m"), ("start", start.as_str()), ("end", end.as_str())];
    assert_eq!(admin(&caller, 1, Method::POST, &format!("{ADMIN}/delete_series"), &span).await, (StatusCode::NO_CONTENT, Value::Null));
    let odd = [("match[]", "{odd=\"1\",i=~\"1.*\"}"), ("match[]", "m{odd=\"1\"}")];
    let path = "/workspaces/default/api/v1/admin/tsdb/delete_series";
    assert_eq!(admin(&caller, 2, Method::PUT, path, &odd).await, (StatusCode::NO_CONTENT, Value::Null));
    for node in 0..3 {
        assert_eq!((count(&caller, node, "m", t).await, count(&caller, node, "m{odd=\"1\"}", t).await), (75, 0), "node {node}");
        assert_eq!(names(&caller, node).await, json!(["0"]), "node {node}");
    }
    // What was deleted may be written again, also at the very same times.
    let again = vec![series(&[("__name__", "m"), ("i", "1"), ("odd", "1")], &[(t - 50_000, 7.0), (t, 8.0)])];
    assert_eq!(caller.write(0, "/api/v1/write", again.clone()).await.0, StatusCode::NO_CONTENT);
    let cleaned = admin(&caller, 0, Method::POST, &format!("{ADMIN}/clean_tombstones"), &[]).await;
    assert_eq!(cleaned, (StatusCode::NO_CONTENT, Value::Null));
    for round in 0..2 {
        let caller = Caller::new(&up);
        for node in 0..3 {
            assert_eq!((count(&caller, node, "m", t).await, count(&caller, node, "m{odd=\"1\"}", t).await), (77, 2), "{round} {node}");
            let one = caller.result(node, "m{i=\"1\"}[1h]", t).await;
            assert_eq!(one[0]["values"], json!([[(t - 50_000) / 1000, "7"], [t / 1000, "8"]]), "round {round} node {node}");
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
    let caller = Caller::new(&up);
    assert_eq!(caller.write(0, "/api/v1/write", again).await.0, StatusCode::NO_CONTENT, "a retry of what is there is a success");
}

#[tokio::test]
async fn admin_requests_are_refused_as_prometheus_refuses_them() {
    let dir = tempfile::tempdir().unwrap();
    let mut up = Up::start(1, &dir);
    up.wait_ready();
    let caller = Caller::new(&up);
    for path in ["delete_series", "clean_tombstones"] {
        let (status, body) = admin(&caller, 0, Method::POST, &format!("{ADMIN}/{path}"), &[("match[]", "m")]).await;
        let expected = json!({"status": "error", "errorType": "unavailable", "error": "admin APIs disabled"});
        assert_eq!((status, body), (StatusCode::SERVICE_UNAVAILABLE, expected));
    }
    drop(up);
    let enabled = tempfile::tempdir().unwrap();
    let mut up = Up::start_with(1, &enabled, &["--web.enable-admin-api=true"]);
    up.wait_ready();
    let caller = Caller::new(&up);
    let refused = [
        (vec![], "no match[] parameter provided"),
        (vec![("match[]", "m{")], "invalid parameter \"match[]\""),
        (vec![("match[]", "m"), ("start", "x")], "invalid parameter \"start\""),
    ];
    for (form, text) in refused {
        let (status, body) = admin(&caller, 0, Method::POST, &format!("{ADMIN}/delete_series"), &form).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{body}");
        assert!(body["error"].as_str().unwrap().contains(text), "{body}");
    }
    let (status, _) = admin(&caller, 0, Method::GET, &format!("{ADMIN}/delete_series"), &[]).await;
    assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED);
}
