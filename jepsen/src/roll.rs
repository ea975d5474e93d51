//! Rolling restarts under load (I23): every node in turn is stopped, started again, with another version if there is one, and waited for.
//!
//! The load's senders do what Prometheus does ([`crate::sender`]), so a restart is right if none of their requests fails in the end. What it cost
//! shows in how long requests took with their repetitions.

use crate::admin::{by_group, has_caught_up, highest};
use crate::audit;
use crate::check::Breach;
use crate::client::Client;
use crate::cluster::{Cluster, Ended, Setup};
use crate::history::History;
use crate::load::Shared;
use crate::run::{self, RunError};
use crate::sender::{Delivery, Senders};
use crate::tally::spread;
use crate::workload::Workload;
use model::clock::{Clock, SystemClock};
use parking_lot::Mutex;
use std::fmt::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// Load before the first restart, and between two nodes.
const BETWEEN: Duration = Duration::from_secs(3);
const BACK_MAX: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(50);
/// How long a sender tries; Prometheus itself never gives up.
const PATIENCE: Duration = Duration::from_secs(60);
/// Steps of a lane in one request at most: a sender that was held up sends more at once.
const STEPS_MAX: u64 = 20;
const ERRORS_SHOWN: usize = 5;
const SLOWEST_SHOWN: usize = 10;

/// What to do.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Nodes, binaries, where everything goes, and further flags.
    pub setup: Setup,
    /// How long the load goes on at least; rounds of restarts go on as long.
    pub time: Duration,
    /// Samples a second.
    pub rate: u64,
}

/// One restart.
#[derive(Debug, Clone)]
struct Restart {
    node: usize,
    /// When it began, since the load did.
    at: Duration,
    ended: Option<Ended>,
    /// From the start of the process until it said ready; none if it never did.
    ready: Option<Duration>,
    /// Until every group had all of its replicas, and those what was committed.
    whole: Option<Duration>,
}

/// What the requests of the load came to.
#[derive(Debug)]
struct Deliveries {
    began: Instant,
    acked: u64,
    repeated: u64,
    failed: u64,
    took_ms: Vec<u64>,
    /// The slowest ones: how long, when they ended, and how many attempts they took.
    slowest: Vec<(Duration, Duration, u32)>,
    errors: Vec<String>,
}

impl Deliveries {
    fn new() -> Self {
        let (took_ms, slowest, errors) = (Vec::new(), Vec::new(), Vec::new());
        Self { began: Instant::now(), acked: 0, repeated: 0, failed: 0, took_ms, slowest, errors }
    }

    fn note(&mut self, delivery: &Delivery) {
        self.slowest.push((delivery.took, self.began.elapsed(), delivery.attempts));
        self.slowest.sort_unstable_by(|a, b| b.cmp(a));
        self.slowest.truncate(SLOWEST_SHOWN);
        self.acked += u64::from(delivery.is_acked);
        self.failed += u64::from(!delivery.is_acked);
        self.repeated += u64::from(delivery.attempts > 1);
        self.took_ms.push(delivery.took.as_millis() as u64);
        if let Some(error) = &delivery.error
            && self.errors.len() < ERRORS_SHOWN
        {
            let outcome = if delivery.is_acked { "repeated" } else { "failed" };
            self.errors.push(format!("{outcome} after {} attempts: {error}", delivery.attempts));
        }
    }
}

/// Does rounds of restarts under load and checks everything that was acknowledged; the report, and whether nothing failed.
///
/// # Errors
/// If there can be no verdict.
pub async fn roll(plan: &Plan) -> Result<(String, bool), RunError> {
    let cluster = Arc::new(run::local(plan.setup.clone()).await?);
    let addresses: Vec<String> = cluster.specs().iter().map(|s| s.http.to_string()).collect();
    let path = plan.setup.out.join("history.jsonl");
    let history = History::create(&path).map_err(|source| RunError::File { path, source })?;
    let workload = Workload::plan(plan.setup.seed, plan.rate, SystemClock::default().now_ms());
    let shared = Arc::new(Shared::new(workload, Client::new(&addresses)?, history));
    let deliveries = Arc::new(Mutex::new(Deliveries::new()));
    let senders = Senders::new(shared.client.clone());
    let watcher = tokio::spawn(senders.clone().watch());
    let (stop, stopped) = watch::channel(false);
    let mut load = JoinSet::new();
    for lane in 0..shared.workload.lanes.len() as u32 {
        load.spawn(send(Arc::clone(&shared), senders.clone(), Arc::clone(&deliveries), lane, stopped.clone()));
    }
    let restarts = restart_all(plan, &cluster, &shared).await?;
    stop.send_replace(true);
    load.join_all().await;
    watcher.abort();
    let compared = audit::read_all(&shared, "after the restarts").await;
    cluster.stop_all().await;
    for (node, line) in cluster.panics() {
        shared.findings.note(Breach::Crash, node as u64, i64::MAX, || format!("node-{}: {line}", node + 1));
    }
    let (text, passed) = report(&shared, &deliveries.lock(), &restarts, compared);
    Ok((text, passed))
}

/// Writes one lane at the pace of its data, one request at a time.
async fn send(shared: Arc<Shared>, senders: Senders, deliveries: Arc<Mutex<Deliveries>>, lane: u32, mut stop: watch::Receiver<bool>) {
    let (began, step_ms) = (Instant::now(), shared.workload.step_ms as u64);
    let mut next = 0;
    while !*stop.borrow() {
        tokio::select! {
            () = tokio::time::sleep_until(began + Duration::from_millis(next * step_ms)) => {}
            _ = stop.changed() => break,
        }
        let due = began.elapsed().as_millis() as u64 / step_ms + 1;
        let steps = next..due.clamp(next + 1, next + STEPS_MAX);
        shared.ledger.issue(lane, steps.clone());
        let delivery = senders.deliver(shared.workload.request(lane, steps.clone()), PATIENCE).await;
        if delivery.is_acked {
            shared.ledger.ack(lane, steps.clone());
        }
        deliveries.lock().note(&delivery);
        next = steps.end;
    }
}

async fn restart_all(plan: &Plan, cluster: &Cluster, shared: &Shared) -> Result<Vec<Restart>, RunError> {
    let (began, mut restarts) = (Instant::now(), Vec::new());
    while restarts.is_empty() || began.elapsed() < plan.time {
        for node in 0..cluster.specs().len() {
            tokio::time::sleep(BETWEEN).await;
            let at = began.elapsed();
            let ended = cluster.stop(node).await;
            cluster.change_version(node);
            cluster.start(node).await?;
            let started = Instant::now();
            let runs = async || cluster.is_running(node).await && cluster.reap(&shared.findings).await.is_empty();
            let ready = until(started, &runs, async || shared.client.ready(node).await.is_ok()).await;
            let whole = until(started, &runs, async || is_whole(shared).await).await;
            if ready.is_none() || whole.is_none() {
                let state = shared.client.status(node).await;
                shared.findings.note(Breach::NotRecovered, node as u64, 0, || format!("node-{} did not come back: {state:?}", node + 1));
            }
            restarts.push(Restart { node, at, ended, ready, whole });
        }
    }
    tokio::time::sleep(BETWEEN).await;
    Ok(restarts)
}

/// Waits until `is_so`; how long after `started` that was, none if it took too long or the node no longer `runs`.
async fn until(started: Instant, runs: &impl AsyncFn() -> bool, is_so: impl AsyncFn() -> bool) -> Option<Duration> {
    while started.elapsed() < BACK_MAX && runs().await {
        if is_so().await {
            return Some(started.elapsed());
        }
        tokio::time::sleep(POLL).await;
    }
    None
}

/// Whether all nodes say that every group has its replicas and leader, and those have applied what was committed when that was asked.
async fn is_whole(shared: &Shared) -> bool {
    let (mut committed, mut applied) = (Vec::new(), Vec::new());
    for node in 0..shared.client.nodes() {
        let Ok(status) = shared.client.status(node).await else { return false };
        if status.groups_at_target < status.groups || status.changes + status.leaderless + status.silent > 0 {
            return false;
        }
        let Ok(text) = shared.client.metrics(node).await else { return false };
        committed.push(by_group(&text, "flotilla_raft_commit_index"));
    }
    for node in 0..shared.client.nodes() {
        let Ok(text) = shared.client.metrics(node).await else { return false };
        applied.push(by_group(&text, "flotilla_raft_applied_index"));
    }
    has_caught_up(&highest(&committed), &applied)
}

/// The report in words, and whether every promise was kept.
fn report(shared: &Shared, deliveries: &Deliveries, restarts: &[Restart], compared: u64) -> (String, bool) {
    let ms = |pick: &dyn Fn(&Restart) -> Option<Duration>| {
        let all: Vec<u64> = restarts.iter().filter_map(pick).map(|d| d.as_millis() as u64).collect();
        spread(&all)
    };
    let unclean = restarts.iter().filter(|r| r.ended.is_none_or(|ended| ended.code != Some(0))).count();
    let findings = &shared.findings;
    let (missing, wrong, phantom) = (findings.count(Breach::Missing), findings.count(Breach::Wrong), findings.count(Breach::Phantom));
    let passed = findings.is_clean() && deliveries.failed == 0 && unclean == 0 && deliveries.acked > 0;
    let mut text = String::new();
    for Restart { node, at, ended, ready, whole } in restarts {
        let _infallible = writeln!(text, "{at:.1?}: node-{}: {ended:.1?}, ready after {ready:.1?}, whole after {whole:.1?}", node + 1);
    }
    for (took, at, attempts) in &deliveries.slowest {
        let _infallible = writeln!(text, "{at:.1?}: a request ended that took {took:.1?} and {attempts} attempts");
    }
    let _infallible = write!(
        text,
        "restarts: {}, {unclean} of them did not end with 0 by themselves\n\
         stopped within {}\nready after {}\nwhole after {}\n\
         requests: {} acknowledged, {} of all were repeated, {} failed\n\
         a request with its repetitions took {}\n\
         samples: {} acknowledged, {compared} points compared\n",
        restarts.len(),
        ms(&|r| r.ended.map(|ended| ended.took)),
        ms(&|r| r.ready),
        ms(&|r| r.whole),
        deliveries.acked,
        deliveries.repeated,
        deliveries.failed,
        spread(&deliveries.took_ms),
        shared.acked(),
    );
    for line in deliveries.errors.iter().chain(&findings.evidence()) {
        let _infallible = writeln!(text, "{line}");
    }
    let verdict = if passed { "OK" } else { "FAILED" };
    let _infallible = write!(
        text,
        "{verdict} restarts={} failed={} unclean={unclean} missing={missing} wrong={wrong} phantom={phantom}",
        restarts.len(),
        deliveries.failed
    );
    (text, passed)
}

/// The directory of a plan that names none.
#[must_use]
pub fn scratch(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("jepsen-{name}-{}", std::process::id()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(failed: u64, code: Option<i32>, lost: bool) -> (String, bool) {
        let dir = tempfile::tempdir().unwrap();
        let workload = Workload { seed: 9, t0_ms: 0, step_ms: 100, lanes: vec![50, 60] };
        let history = History::create(&dir.path().join("h")).unwrap();
        let shared = Shared::new(workload, Client::new(&["127.0.0.1:1".into()]).unwrap(), history);
        if lost {
            shared.findings.note(Breach::Missing, 0, 0, || "x".into());
        }
        let second = Duration::from_secs(1);
        let restart = Restart { node: 0, at: second, ended: Some(Ended { code, took: second }), ready: Some(second), whole: Some(second) };
        let mut deliveries = Deliveries::new();
        let delivery = Delivery { is_acked: true, attempts: 2, took: second, error: Some("503 no leader".into()) };
        deliveries.note(&delivery);
        (0..failed).for_each(|_| deliveries.note(&Delivery { is_acked: false, ..delivery.clone() }));
        report(&shared, &deliveries, &[restart], 7)
    }

    #[test]
    fn i23_a_failed_request_an_unclean_end_and_a_lost_sample_fail_a_rolling_restart() {
        let (text, passed) = told(0, Some(0), false);
        assert!(passed && text.ends_with("OK restarts=1 failed=0 unclean=0 missing=0 wrong=0 phantom=0"), "{text}");
        assert!(text.contains("repeated after 2 attempts: 503 no leader") && text.contains("1 of all were repeated"), "{text}");
        assert!(!told(1, Some(0), false).1 && !told(0, Some(1), false).1 && !told(0, None, false).1 && !told(0, Some(0), true).1);
    }
}
