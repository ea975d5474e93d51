//! A cluster as its clients see it: remote write in, PromQL out, through every node.

use crate::local::{Up, eventually};
use prost::Message;
use proto::prometheus::{Label, Sample, TimeSeries, WriteRequest};
use reqwest::{Client, StatusCode};
use rustix::process::{Signal, kill_process};
use serde_json::{Value, json};
use std::fs;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const STALE_NAN: u64 = 0x7ff0_0000_0000_0002;

#[allow(clippy::disallowed_methods, reason = "a client has its own clock")]
pub(crate) fn now_ms() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

pub(crate) fn series(labels: &[(&str, &str)], samples: &[(i64, f64)]) -> TimeSeries {
    let label = |(name, value): &(&str, &str)| Label { name: (*name).to_owned(), value: (*value).to_owned() };
    let sample = |(timestamp, value): &(i64, f64)| Sample { value: *value, timestamp: *timestamp };
    TimeSeries { labels: labels.iter().map(label).collect(), samples: samples.iter().map(sample).collect(), exemplars: vec![] }
}

pub(crate) struct Caller {
    pub(crate) client: Client,
    pub(crate) urls: Vec<String>,
}

impl Caller {
    pub(crate) fn new(up: &Up) -> Self {
        Self { client: Client::builder().timeout(Duration::from_secs(30)).build().unwrap(), urls: up.urls() }
    }

    pub(crate) async fn write(&self, node: usize, path: &str, timeseries: Vec<TimeSeries>) -> (StatusCode, String) {
        let body = snap::raw::Encoder::new().compress_vec(&WriteRequest { timeseries, metadata: vec![] }.encode_to_vec()).unwrap();
        let request = self
            .client
            .post(format!("{}{path}", self.urls[node]))
            .header("content-encoding", "snappy")
            .header("content-type", "application/x-protobuf");
        let response = request.body(body).send().await.unwrap();
        (response.status(), response.text().await.unwrap())
    }

    pub(crate) async fn get(&self, node: usize, path: &str, query: &[(&str, &str)]) -> (StatusCode, Value) {
        let response = self.client.get(format!("{}{path}", self.urls[node])).query(query).send().await.unwrap();
        let status = response.status();
        (status, response.json().await.unwrap_or(Value::Null))
    }

    pub(crate) async fn result(&self, node: usize, query: &str, time_ms: i64) -> Value {
        let time = format!("{}.{:03}", time_ms / 1000, time_ms % 1000);
        let (status, body) = self.get(node, "/api/v1/query", &[("query", query), ("time", &time)]).await;
        assert_eq!(status, StatusCode::OK, "{body}");
        body["data"]["result"].clone()
    }
}

#[tokio::test]
async fn what_is_acknowledged_is_read_on_every_node_also_after_all_were_killed() {
    let dir = tempfile::tempdir().unwrap();
    let mut up = Up::start(3, &dir);
    up.wait_ready();
    let caller = Caller::new(&up);
    let t = now_ms() / 1000 * 1000;
    // No -0.0: prost leaves out a field that equals zero. The decoder's own tests and the harness write it.
    let values = [1.5, -2.25, f64::INFINITY, f64::from_bits(1), f64::MAX];
    let samples: Vec<(i64, f64)> = values.iter().enumerate().map(|(i, v)| (t - 10_000 + i as i64 * 1000, *v)).collect();
    let many: Vec<TimeSeries> = (0..50).map(|i| series(&[("__name__", "m"), ("i", &i.to_string())], &samples)).collect();
    assert_eq!(caller.write(0, "/api/v1/write", many.clone()).await.0, StatusCode::NO_CONTENT);
    // The same bytes again, through another node and another name of the route: nothing changes.
    assert_eq!(caller.write(1, "/workspaces/default/api/v1/remote_write", many).await.0, StatusCode::NO_CONTENT);

    let expected: Vec<Value> = ["1.5", "-2.25", "+Inf", "5e-324", "1.7976931348623157e+308"]
        .iter()
        .zip(&samples)
        .map(|(v, (t, _))| json!([t / 1000, v]))
        .collect();
    for round in 0..2 {
        // The nodes that were killed took their connections along.
        let caller = Caller::new(&up);
        for node in 0..3 {
            let all = caller.result(node, "count_over_time(m[1m])", t).await;
            assert_eq!(all.as_array().unwrap().len(), 50, "round {round} node {node}");
            assert!(all.as_array().unwrap().iter().all(|r| r["value"][1] == "5"), "{all}");
            let one = caller.result(node, "m{i=\"7\"}[1m]", t).await;
            assert_eq!(one[0]["values"], Value::Array(expected.clone()), "round {round} node {node}");
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
async fn verdicts_reach_the_sender_as_prometheus_words_them() {
    let dir = tempfile::tempdir().unwrap();
    let mut up = Up::start(1, &dir);
    up.wait_ready();
    let caller = Caller::new(&up);
    let t = now_ms();
    let hour = 3_600_000;
    let up_series = |samples: &[(i64, f64)]| vec![series(&[("__name__", "up"), ("job", "a")], samples)];
    assert_eq!(caller.write(0, "/api/v1/write", up_series(&[(t, 1.0)])).await.0, StatusCode::NO_CONTENT);
    let refused = [
        (up_series(&[(t, 2.0)]), "duplicate sample for timestamp"),
        (up_series(&[(t + 11 * 60_000, 1.0)]), "too far in the future"),
        (up_series(&[(t - 2 * hour, 1.0)]), "too old sample"),
        (vec![series(&[("job", "a")], &[(t, 1.0)])], "invalid metric name or labels"),
        (vec![series(&[("__name__", "x"), ("a", "1"), ("a", "2")], &[(t, 1.0)])], "duplicated label a"),
        (up_series(&[(t - 200 * 24 * hour, 1.0)]), "is older than the retention"),
    ];
    for (request, text) in refused {
        let (status, body) = caller.write(0, "/api/v1/write", request).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{text}: {body}");
        assert!(body.contains(text), "{text}: {body}");
    }
    // What is good in a refused request stays; the first error in request order is told.
    let mixed = vec![series(&[("__name__", "good")], &[(t, 7.0)]), series(&[("__name__", "up"), ("job", "a")], &[(t, 3.0)])];
    assert_eq!(caller.write(0, "/api/v1/write", mixed).await.0, StatusCode::BAD_REQUEST);
    assert_eq!(caller.result(0, "good", t).await[0]["value"][1], "7");
    assert_eq!(caller.result(0, "up", t).await[0]["value"][1], "1");
    // Within the out-of-order window an older sample is taken; a stale marker ends a series.
    assert_eq!(caller.write(0, "/api/v1/write", up_series(&[(t - 30_000, 5.0)])).await.0, StatusCode::NO_CONTENT);
    assert_eq!(caller.write(0, "/api/v1/write", up_series(&[(t + 1000, f64::from_bits(STALE_NAN))])).await.0, StatusCode::NO_CONTENT);
    assert_eq!(caller.result(0, "up", t + 1000).await, json!([]));
    assert_eq!(caller.result(0, "count_over_time(up[1m])", t + 1000).await[0]["value"][1], "2");
}

#[tokio::test]
async fn workspaces_are_created_isolated_and_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let mut up = Up::start(3, &dir);
    up.wait_ready();
    let caller = Caller::new(&up);
    let create = |token: &'static str| {
        caller.client.post(format!("{}/workspaces", caller.urls[1])).json(&json!({"alias": "team", "clientToken": token})).send()
    };
    let created: Value = create("t1").await.unwrap().json().await.unwrap();
    let again: Value = create("t1").await.unwrap().json().await.unwrap();
    let id = created["workspaceId"].as_str().unwrap();
    assert!(id.starts_with("ws-"));
    assert_eq!(created["workspaceId"], again["workspaceId"]);

    let t = now_ms();
    let path = format!("/workspaces/{id}/api/v1/remote_write");
    let one = || vec![series(&[("__name__", "secret"), ("a", "b")], &[(t, 1.0)])];
    let written = eventually_async("the workspace takes writes", || async {
        let (status, _) = caller.write(0, &path, one()).await;
        (status == StatusCode::NO_CONTENT).then_some(())
    });
    written.await;
    let (status, body) = caller.get(2, &format!("/workspaces/{id}/api/v1/label/a/values"), &[]).await;
    assert_eq!((status, &body["data"]), (StatusCode::OK, &json!(["b"])));
    assert_eq!(caller.result(0, "secret", t).await, json!([]), "the default workspace sees nothing of it");

    let (status, body) = caller.get(0, "/workspaces/ws-00000000-0000-0000-0000-000000000000/api/v1/query", &[("query", "1")]).await;
    assert_eq!((status, &body["resourceType"]), (StatusCode::NOT_FOUND, &json!("workspace")));
    let (status, list) = caller.get(0, "/workspaces", &[("alias", "te")]).await;
    assert_eq!((status, list["workspaces"].as_array().unwrap().len()), (StatusCode::OK, 1));
    let deleted = caller.client.delete(format!("{}/workspaces/{id}", caller.urls[0])).send().await.unwrap();
    assert_eq!(deleted.status(), StatusCode::ACCEPTED);
    eventually_async("all nodes know that it is gone", || async {
        let (status, _) = caller.get(2, &format!("/workspaces/{id}"), &[]).await;
        (status == StatusCode::NOT_FOUND).then_some(())
    })
    .await;
}

#[tokio::test]
async fn metadata_endpoints_answer_in_prometheus_shapes() {
    let dir = tempfile::tempdir().unwrap();
    let mut up = Up::start(1, &dir);
    up.wait_ready();
    let caller = Caller::new(&up);
    let t = now_ms();
    let request =
        vec![series(&[("__name__", "up"), ("job", "a")], &[(t, 1.0)]), series(&[("__name__", "down"), ("job", "b")], &[(t, 1.0)])];
    assert_eq!(caller.write(0, "/api/v1/push", request).await.0, StatusCode::NO_CONTENT);
    let data = |path: &'static str, query: &'static [(&'static str, &'static str)]| {
        let caller = &caller;
        async move { caller.get(0, path, query).await.1["data"].clone() }
    };
    assert_eq!(data("/api/v1/labels", &[]).await, json!(["__name__", "job"]));
    assert_eq!(data("/prometheus/api/v1/label/job/values", &[("match[]", "up")]).await, json!(["a"]));
    assert_eq!(
        data("/api/v1/series", &[("match[]", "{job=~\"a|b\"}")]).await,
        json!([{"__name__": "down", "job": "b"}, {"__name__": "up", "job": "a"}])
    );
    assert_eq!(data("/api/v1/metadata", &[]).await, json!({}));
    assert_eq!(data("/api/v1/status/buildinfo", &[]).await["application"], "Flotilla");
    // Grafana's health check asks at the beginning of time.
    let (_, body) = caller.get(0, "/api/v1/query", &[("query", "1+1"), ("time", "4")]).await;
    assert_eq!(body, json!({"status": "success", "data": {"resultType": "scalar", "result": [4, "2"]}}));
    let (status, body) = caller.get(0, "/api/v1/query", &[("query", "sum(")]).await;
    assert_eq!((status, &body["errorType"]), (StatusCode::BAD_REQUEST, &json!("bad_data")));
    let range = [("query", "up"), ("start", "0"), ("end", "12000"), ("step", "1")];
    let (status, body) = caller.get(0, "/api/v1/query_range", &range).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(body["error"].as_str().unwrap().starts_with("exceeded maximum resolution of 11,000 points per timeseries."), "{body}");
}

#[tokio::test]
async fn c12_a_node_that_lost_its_disk_joins_anew_and_the_cluster_stays_one() {
    let dir = tempfile::tempdir().unwrap();
    let mut up = Up::start(3, &dir);
    up.wait_ready();
    let caller = Caller::new(&up);
    let t = now_ms();
    assert_eq!(caller.write(0, "/api/v1/write", vec![series(&[("__name__", "kept")], &[(t, 1.0)])]).await.0, StatusCode::NO_CONTENT);
    let identity = |number: u16| -> Value {
        serde_json::from_slice(&fs::read(up.data.join(format!("node-{number}/identity.json"))).unwrap()).unwrap()
    };
    let cluster = identity(1)["membership"]["cluster_id"].clone();
    let pid = up.node_pid(3);
    kill_process(pid, Signal::KILL).unwrap();
    fs::remove_dir_all(up.data.join("node-3")).unwrap();
    let joined = eventually("node 3 has joined", || {
        let bytes = fs::read(up.data.join("node-3/identity.json")).ok()?;
        let identity: Value = serde_json::from_slice(&bytes).ok()?;
        identity["membership"]["store_id"].as_u64().map(|store| (store, identity["membership"]["cluster_id"].clone()))
    });
    assert!(joined.0 >= 1024, "it has a new store id: {joined:?}");
    assert_eq!(joined.1, cluster);
    // It holds no replica, and still answers by asking the others.
    let answer = eventually_async("the node without replicas answers", || async {
        let (status, body) = caller.get(2, "/api/v1/query", &[("query", "kept")]).await;
        (status == StatusCode::OK).then_some(body["data"]["result"][0]["value"][1].clone())
    });
    assert_eq!(answer.await, "1");
}

#[tokio::test]
async fn c12_a_full_disk_refuses_writes_and_goes_on_reading_also_on_other_ports() {
    let dir = tempfile::tempdir().unwrap();
    let mut up = Up::start(3, &dir);
    up.wait_ready();
    let t = now_ms();
    let written = Caller::new(&up).write(1, "/api/v1/write", vec![series(&[("__name__", "kept")], &[(t, 1.0)])]).await;
    assert_eq!(written.0, StatusCode::NO_CONTENT);
    kill_process(up.pid(), Signal::TERM).unwrap();
    assert_eq!(up.wait_exit().code(), Some(0));

    let mut up = Up::start_with(3, &dir, &["--storage.min-free=4096TiB"]);
    up.wait_ready();
    let caller = Caller::new(&up);
    for node in 0..3 {
        assert_eq!(caller.result(node, "kept", t).await[0]["value"][1], "1");
    }
    let (status, body) = caller.write(0, "/api/v1/write", vec![series(&[("__name__", "new")], &[(t, 1.0)])]).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{body}");
    assert_eq!(caller.result(0, "new", t).await, json!([]));
}

async fn eventually_async<T, F: Future<Output = Option<T>>>(what: &str, mut ask: impl FnMut() -> F) -> T {
    for _ in 0..600 {
        if let Some(answer) = ask().await {
            return answer;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("within 60 s: {what}");
}
