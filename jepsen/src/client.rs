//! HTTP to one node: remote write, queries, readiness and metrics.

use crate::check::SeriesPoints;
use crate::history::Outcome;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// Longest wait for a write's answer; shorter than most pauses, so that unknown outcomes occur.
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(5);
const QUERY_TIMEOUT: Duration = Duration::from_secs(15);
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);
const CALL_TIMEOUT: Duration = Duration::from_secs(3);
const IDLE_CONNECTIONS: usize = 16;
const TEXT_MAX: usize = 300;

/// Talks to the nodes of a cluster, numbered from 0.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    bases: Vec<String>,
}

/// How a write ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriteAnswer {
    /// `ok` for 2xx, `fail` if provably nothing was applied, else `info`.
    pub outcome: Outcome,
    /// HTTP status, 0 without an answer.
    pub code: u16,
    /// The beginning of the body, or the transport's error.
    pub text: String,
    /// When to come back, seconds, if the answer says so.
    pub retry_after: Option<u64>,
}

/// How a query ended.
#[derive(Debug)]
pub enum QueryAnswer {
    /// 200 with a result; `flagged` if it came with warnings.
    Rows {
        /// The series.
        rows: Vec<SeriesPoints>,
        /// Whether the answer says that something is missing.
        flagged: bool,
    },
    /// Any other status, or no answer (0).
    Error {
        /// HTTP status.
        code: u16,
        /// The error.
        text: String,
    },
}

#[derive(Deserialize)]
struct Envelope {
    status: String,
    #[serde(default)]
    data: Option<Data>,
    #[serde(default)]
    warnings: Vec<String>,
}

#[derive(Deserialize)]
struct Data {
    result: Vec<Row>,
}

#[derive(Deserialize)]
struct Row {
    metric: BTreeMap<String, String>,
    #[serde(default)]
    values: Vec<(f64, String)>,
    #[serde(default)]
    value: Option<(f64, String)>,
}

impl Client {
    /// A client for nodes that listen for HTTP at `addresses` (`host:port`).
    ///
    /// # Errors
    /// If the HTTP client cannot be built.
    pub fn new(addresses: &[String]) -> Result<Self, reqwest::Error> {
        Self::with_connections(addresses, IDLE_CONNECTIONS)
    }

    /// [`Client::new`] that keeps up to `idle` connections to each node for later requests.
    ///
    /// # Errors
    /// If the HTTP client cannot be built.
    pub fn with_connections(addresses: &[String], idle: usize) -> Result<Self, reqwest::Error> {
        let http = reqwest::Client::builder().no_proxy().connect_timeout(PROBE_TIMEOUT).pool_max_idle_per_host(idle).build()?;
        Ok(Self { http, bases: addresses.iter().map(|a| format!("http://{a}")).collect() })
    }

    /// How many nodes there are.
    #[must_use]
    pub fn nodes(&self) -> usize {
        self.bases.len()
    }

    /// Sends one remote write 1.0 body.
    pub async fn write(&self, node: usize, body: &[u8]) -> WriteAnswer {
        self.write_within(node, body.to_vec(), WRITE_TIMEOUT).await
    }

    /// Sends one remote write 1.0 body and waits no longer than `patience` for its answer.
    pub async fn write_within(&self, node: usize, body: impl Into<reqwest::Body>, patience: Duration) -> WriteAnswer {
        let sent = self
            .http
            .post(format!("{}/api/v1/write", self.bases[node]))
            .timeout(patience)
            .header("Content-Type", "application/x-protobuf")
            .header("Content-Encoding", "snappy")
            .header("X-Prometheus-Remote-Write-Version", "0.1.0")
            .body(body)
            .send()
            .await;
        match sent {
            Ok(response) => {
                let code = response.status().as_u16();
                let header = |name: &str| response.headers().get(name).and_then(|v| v.to_str().ok()).map(str::to_string);
                let nothing_applied = header("X-Write-Applied").is_some_and(|v| v == "none");
                let retry_after = header("Retry-After").and_then(|v| v.parse().ok());
                let text = excerpt(&response.text().await.unwrap_or_default());
                WriteAnswer { outcome: classify(code, nothing_applied), code, text, retry_after }
            }
            Err(e) => WriteAnswer { outcome: Outcome::Info, code: 0, text: chain(&e), retry_after: None },
        }
    }

    /// Deletes what the series of `selector` hold from `start_ms` to `end_ms`, both included; status and text of the answer.
    ///
    /// # Errors
    /// The transport's error.
    pub async fn delete_series(&self, node: usize, selector: &str, start_ms: i64, end_ms: i64) -> Result<(u16, String), String> {
        let seconds = |ms: i64| format!("{}.{:03}", ms.div_euclid(1000), ms.rem_euclid(1000));
        let query = [("match[]", selector.to_string()), ("start", seconds(start_ms)), ("end", seconds(end_ms))];
        let url = format!("{}/api/v1/admin/tsdb/delete_series", self.bases[node]);
        let response = self.http.post(url).query(&query).timeout(WRITE_TIMEOUT).send().await.map_err(|e| chain(&e))?;
        let code = response.status().as_u16();
        Ok((code, excerpt(&response.text().await.unwrap_or_default())))
    }

    /// Evaluates an instant query; `time` in seconds.
    pub async fn query(&self, node: usize, expr: &str, time: &str) -> QueryAnswer {
        let form = [("query", expr), ("time", time)];
        let sent = self.http.post(format!("{}/api/v1/query", self.bases[node])).timeout(QUERY_TIMEOUT).form(&form).send().await;
        let (code, body) = match sent {
            Ok(response) => (response.status().as_u16(), response.bytes().await),
            Err(e) => return QueryAnswer::Error { code: 0, text: chain(&e) },
        };
        match body {
            Ok(body) if code == 200 => parse(&body).unwrap_or_else(|text| QueryAnswer::Error { code, text }),
            Ok(body) => QueryAnswer::Error { code, text: excerpt(&String::from_utf8_lossy(&body)) },
            Err(e) => QueryAnswer::Error { code: 0, text: chain(&e) },
        }
    }

    /// Whether the node says that it is ready; otherwise what it says instead.
    ///
    /// # Errors
    /// The status and body, or the transport's error.
    pub async fn ready(&self, node: usize) -> Result<(), String> {
        self.get(node, "/-/ready").await.map(|_| ())
    }

    /// The node's own metrics as text.
    ///
    /// # Errors
    /// The status and body, or the transport's error.
    pub async fn metrics(&self, node: usize) -> Result<String, String> {
        self.get(node, "/metrics").await
    }

    /// Sends a request with or without a JSON body; the status and the JSON of the answer (null if it is none).
    ///
    /// # Errors
    /// The transport's error.
    pub async fn call(
        &self,
        node: usize,
        method: reqwest::Method,
        path: &str,
        body: Option<&serde_json::Value>,
    ) -> Result<(u16, serde_json::Value), String> {
        let mut request = self.http.request(method, format!("{}{path}", self.bases[node])).timeout(CALL_TIMEOUT);
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = request.send().await.map_err(|e| chain(&e))?;
        let code = response.status().as_u16();
        let bytes = response.bytes().await.map_err(|e| chain(&e))?;
        Ok((code, serde_json::from_slice(&bytes).unwrap_or_default()))
    }

    async fn get(&self, node: usize, path: &str) -> Result<String, String> {
        let sent = self.http.get(format!("{}{path}", self.bases[node])).timeout(PROBE_TIMEOUT).send().await;
        let response = sent.map_err(|e| chain(&e))?;
        let status = response.status();
        let text = response.text().await.map_err(|e| chain(&e))?;
        if status.is_success() { Ok(text) } else { Err(format!("{status}: {}", excerpt(&text))) }
    }
}

/// Sums a metric over all its label sets in a text exposition.
#[must_use]
pub fn sum_metric(text: &str, name: &str) -> f64 {
    text.lines()
        .filter_map(|line| line.strip_prefix(name))
        .filter(|rest| rest.starts_with(['{', ' ']))
        .filter_map(|rest| rest.rsplit_once('}').map_or(Some(rest), |(_, value)| Some(value)))
        .filter_map(|value| value.split_whitespace().next()?.parse::<f64>().ok())
        .sum()
}

/// The value of a metric whose label set holds `label`, such as `workspace="default"`, summed over all such; none if there is none.
#[must_use]
pub fn labelled_metric(text: &str, name: &str, label: &str) -> Option<f64> {
    let lines = text.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix('{')?.rsplit_once("} "));
    let held = lines.filter(|(labels, _)| labels.split(',').any(|l| l == label));
    held.filter_map(|(_, value)| value.split_whitespace().next()?.parse::<f64>().ok()).reduce(|a, b| a + b)
}

fn classify(code: u16, nothing_applied: bool) -> Outcome {
    match code {
        200..=299 => Outcome::Ok,
        401 | 403 | 404 | 405 | 413 | 415 | 429 => Outcome::Fail,
        _ if nothing_applied => Outcome::Fail,
        _ => Outcome::Info,
    }
}

fn parse(body: &[u8]) -> Result<QueryAnswer, String> {
    let envelope: Envelope = serde_json::from_slice(body).map_err(|e| format!("not the query API's JSON: {e}"))?;
    let data = envelope.data.filter(|_| envelope.status == "success").ok_or("200 without a result")?;
    let rows = data
        .result
        .into_iter()
        .map(|row| SeriesPoints {
            labels: row.metric.into_iter().collect(),
            points: row.values.into_iter().chain(row.value).map(|(t, v)| ((t * 1000.0).round() as i64, v)).collect(),
        })
        .collect();
    Ok(QueryAnswer::Rows { rows, flagged: !envelope.warnings.is_empty() })
}

fn excerpt(text: &str) -> String {
    text.trim().chars().take(TEXT_MAX).collect()
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(e) = cause {
        text.push_str(&format!(": {e}"));
        cause = e.source();
    }
    excerpt(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_answers_that_prove_it_count_as_not_applied() {
        assert_eq!([200, 202, 204].map(|c| classify(c, false)), [Outcome::Ok; 3]);
        assert_eq!([401, 404, 413, 415, 429].map(|c| classify(c, false)), [Outcome::Fail; 5]);
        assert_eq!([400, 408, 500, 503, 0].map(|c| classify(c, false)), [Outcome::Info; 5]);
        assert_eq!(classify(503, true), Outcome::Fail);
    }

    #[test]
    fn matrices_and_vectors_parse_and_warnings_flag() {
        let body = br#"{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"a":"b"},"values":[[1700000000.123,"-0"],[1700000001,"NaN"]]}]},"warnings":["shard 2 is missing"]}"#;
        let QueryAnswer::Rows { rows, flagged } = parse(body).unwrap() else { panic!("rows expected") };
        assert!(flagged);
        assert_eq!(rows[0].labels, vec![("a".to_string(), "b".to_string())]);
        assert_eq!(rows[0].points, vec![(1_700_000_000_123, "-0".to_string()), (1_700_000_001_000, "NaN".to_string())]);
        let body = br#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[5,"7"]}]}}"#;
        let QueryAnswer::Rows { rows, flagged } = parse(body).unwrap() else { panic!("rows expected") };
        assert!(!flagged && rows[0].points == vec![(5000, "7".to_string())]);
        assert!(parse(b"<html>").is_err() && parse(br#"{"status":"error"}"#).is_err());
    }

    #[test]
    fn sum_metric_adds_label_sets_of_exactly_that_name() {
        let text = "# HELP m x\nm{group=\"a b\"} 1\nm{group=\"c\"} 1 1700000000000\nm_other 5\nm 2\nmm{a=\"b\"} 9\n";
        assert!((sum_metric(text, "m") - 4.0).abs() < 1e-9);
        assert!((sum_metric(text, "absent")).abs() < 1e-9);
        assert_eq!(labelled_metric(text, "m", "group=\"a b\""), Some(1.0));
        assert_eq!((labelled_metric(text, "m", "group=\"b\""), labelled_metric(text, "absent", "a=\"b\"")), (None, None));
    }
}
