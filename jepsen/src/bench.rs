//! The load generator: writes and queries against one server after another, and what both took.

use crate::client::{Client, QueryAnswer};
use crate::dice::Dice;
use crate::history::Outcome;
use crate::workload::Workload;
use hdrhistogram::Histogram;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// Milliseconds between two samples of a series.
const STEP_MS: i64 = 100;
/// The first sample is so much older than the clock: data time runs ahead of it under full load.
const HEAD_START_MS: i64 = 50 * 60_000;
/// Latencies up to a minute, in microseconds with three digits.
const LATENCY_MAX_US: u64 = 60_000_000;
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(50);

/// What to send.
#[derive(Debug, Clone)]
pub struct Load {
    /// Series written.
    pub series: u32,
    /// Writers, each with its share of the series, one request under way.
    pub writers: u32,
    /// Readers, each with one query under way.
    pub readers: u32,
    /// Samples a second; 0 for as many as go.
    pub rate: u64,
    /// How long.
    pub time: Duration,
    /// Fixes the data and the order of queries.
    pub seed: u64,
    /// The clock when it begins, milliseconds.
    pub now_ms: i64,
}

/// A server to measure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// What the table calls it.
    pub name: String,
    /// `host:port`, of each node.
    pub addresses: Vec<String>,
}

impl std::str::FromStr for Target {
    type Err = String;

    /// `[NAME=]http://HOST:PORT[,HOST:PORT...]`.
    fn from_str(text: &str) -> Result<Self, String> {
        let (name, url) = text.split_once('=').map_or((text, text), |(name, url)| (name, url));
        let rest = url.strip_prefix("http://").ok_or_else(|| format!("{url:?} does not begin with http://"))?;
        let addresses: Vec<String> = rest.split(',').map(|a| a.trim_end_matches('/').to_string()).collect();
        if addresses.iter().any(String::is_empty) {
            Err(format!("{text:?} names no host"))
        } else {
            Ok(Self { name: name.to_string(), addresses })
        }
    }
}

/// What one server did.
#[derive(Debug)]
pub struct Measured {
    name: String,
    samples: u64,
    failed: u64,
    elapsed: Duration,
    /// By kind of request, microseconds.
    latencies: BTreeMap<&'static str, Histogram<u64>>,
    first_error: Option<String>,
}

struct Bench {
    client: Client,
    workload: Workload,
    load: Load,
    began: Instant,
    steps: Vec<AtomicU64>,
    samples: AtomicU64,
    failed: AtomicU64,
    latencies: Mutex<BTreeMap<&'static str, Histogram<u64>>>,
    first_error: Mutex<Option<String>>,
}

/// Sends the load to one server.
///
/// # Errors
/// If the HTTP client cannot be built.
pub async fn measure(target: &Target, load: &Load) -> Result<Measured, reqwest::Error> {
    let share = (load.series / load.writers.max(1)).max(1);
    let lanes = vec![share; load.writers as usize];
    let workload = Workload { seed: load.seed, t0_ms: load.now_ms - HEAD_START_MS, step_ms: STEP_MS, lanes };
    let bench = Arc::new(Bench {
        client: Client::new(&target.addresses)?,
        workload,
        load: load.clone(),
        began: Instant::now(),
        steps: (0..load.writers).map(|_| AtomicU64::new(0)).collect(),
        samples: AtomicU64::new(0),
        failed: AtomicU64::new(0),
        latencies: Mutex::default(),
        first_error: Mutex::default(),
    });
    let mut tasks = JoinSet::new();
    for lane in 0..load.writers {
        tasks.spawn(Arc::clone(&bench).write(lane));
    }
    for reader in 0..load.readers {
        tasks.spawn(Arc::clone(&bench).read(reader));
    }
    tasks.join_all().await;
    Ok(Measured {
        name: target.name.clone(),
        samples: bench.samples.load(Relaxed),
        failed: bench.failed.load(Relaxed),
        elapsed: bench.began.elapsed(),
        latencies: bench.latencies.lock().clone(),
        first_error: bench.first_error.lock().clone(),
    })
}

impl Bench {
    async fn write(self: Arc<Self>, lane: u32) {
        let series = u64::from(self.workload.lanes[lane as usize]);
        let every = self.load.rate.checked_div(u64::from(self.load.writers)).filter(|share| *share > 0);
        let every = every.map_or(Duration::ZERO, |share| Duration::from_secs_f64(series as f64 / share as f64));
        let nodes = self.client.nodes();
        let (mut step, mut due) = (0u64, self.began);
        while self.began.elapsed() < self.load.time {
            tokio::time::sleep_until(due).await;
            due = (due + every).max(Instant::now() - every);
            let body = self.workload.request(lane, step..step + 1);
            let began = Instant::now();
            let answer = self.client.write((lane as usize + step as usize) % nodes, &body).await;
            if answer.outcome == Outcome::Ok {
                self.note("write", began);
                self.samples.fetch_add(series, Relaxed);
                step += 1;
                self.steps[lane as usize].store(step, Relaxed);
            } else {
                self.fail(format!("{} {}", answer.code, answer.text)).await;
            }
        }
    }

    async fn read(self: Arc<Self>, reader: u32) {
        let mut dice = Dice::new(self.load.seed, 4000 + u64::from(reader));
        while self.began.elapsed() < self.load.time {
            let lane = dice.index(self.steps.len());
            let written = self.steps[lane].load(Relaxed);
            if written == 0 {
                tokio::time::sleep(PAUSE_AFTER_ERROR).await;
                continue;
            }
            let run = self.workload.run();
            let series = dice.below(u64::from(self.workload.lanes[lane]));
            let (kind, expr) = match dice.below(3) {
                0 => ("query count", format!("count(jepsen_sample{{run=\"{run}\"}})")),
                1 => ("query rate", format!("sum by (lane) (rate(jepsen_sample{{run=\"{run}\",lane=\"{lane}\"}}[1m]))")),
                _ => ("query one", format!("jepsen_sample{{run=\"{run}\",lane=\"{lane}\",series=\"{series}\"}}[1m]")),
            };
            let began = Instant::now();
            match self.client.query(dice.index(self.client.nodes()), &expr, &self.workload.query_time(&(written - 1..written))).await {
                QueryAnswer::Rows { .. } => self.note(kind, began),
                QueryAnswer::Error { code, text } => self.fail(format!("{expr}: {code} {text}")).await,
            }
        }
    }

    fn note(&self, kind: &'static str, began: Instant) {
        let us = (began.elapsed().as_micros() as u64).clamp(1, LATENCY_MAX_US);
        let mut all = self.latencies.lock();
        if !all.contains_key(kind)
            && let Ok(empty) = Histogram::new_with_bounds(1, LATENCY_MAX_US, 3)
        {
            all.insert(kind, empty);
        }
        if let Some(histogram) = all.get_mut(kind) {
            histogram.saturating_record(us);
        }
    }

    async fn fail(&self, text: String) {
        self.failed.fetch_add(1, Relaxed);
        self.first_error.lock().get_or_insert(text);
        tokio::time::sleep(PAUSE_AFTER_ERROR).await;
    }
}

/// One table of all servers.
#[must_use]
pub fn table(all: &[Measured]) -> String {
    let mut text = format!(
        "{:<16} {:<12} {:>9} {:>11} {:>9} {:>9} {:>9} {:>9}\n",
        "server", "request", "count", "samples/s", "p50 ms", "p90 ms", "p99 ms", "max ms"
    );
    for server in all {
        for (kind, histogram) in &server.latencies {
            let ms = |us: u64| us as f64 / 1000.0;
            let rate =
                if *kind == "write" { format!("{:.0}", server.samples as f64 / server.elapsed.as_secs_f64()) } else { String::new() };
            let quantile = |q| ms(histogram.value_at_quantile(q));
            let _infallible = writeln!(
                text,
                "{:<16} {kind:<12} {:>9} {rate:>11} {:>9.2} {:>9.2} {:>9.2} {:>9.2}",
                server.name,
                histogram.len(),
                quantile(0.5),
                quantile(0.9),
                quantile(0.99),
                ms(histogram.max()),
            );
        }
        if let Some(error) = &server.first_error {
            let _infallible = writeln!(text, "{:<16} {} requests failed, the first with: {error}", server.name, server.failed);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_have_a_name_and_addresses() {
        let target: Target = "prom=http://127.0.0.1:9090/".parse().unwrap();
        assert_eq!(target, Target { name: "prom".to_string(), addresses: vec!["127.0.0.1:9090".to_string()] });
        let cluster: Target = "http://a:1,b:2".parse().unwrap();
        assert_eq!((cluster.name.as_str(), cluster.addresses.len()), ("http://a:1,b:2", 2));
        assert!("https://a".parse::<Target>().is_err() && "x=http://".parse::<Target>().is_err());
    }

    #[test]
    fn the_table_has_a_row_for_each_kind_of_request_and_names_errors() {
        let mut histogram = Histogram::new_with_bounds(1, LATENCY_MAX_US, 3).unwrap();
        (1..=100).for_each(|ms| histogram.record(ms * 1000).unwrap());
        let latencies = BTreeMap::from([("write", histogram.clone()), ("query one", histogram)]);
        let (samples, elapsed) = (5000, Duration::from_secs(2));
        let server = Measured { name: "x".to_string(), samples, failed: 3, elapsed, latencies, first_error: Some("503 full".to_string()) };
        let text = table(&[server]);
        assert_eq!(text.lines().count(), 4);
        assert!(text.contains("2500") && text.contains("50.") && text.contains("3 requests failed, the first with: 503 full"));
    }
}
