//! One run from the first start to the verdict.

use crate::audit;
use crate::availability;
use crate::check::Breach;
use crate::client::{Client, sum_metric};
use crate::cluster::{Cluster, ClusterError, Setup};
use crate::disk::Disk;
use crate::history::History;
use crate::html::{self, Page};
use crate::load::{self, Beside, Shared};
use crate::machine::Machine;
use crate::meta;
use crate::metering;
use crate::nemesis::{Asked, Class, Fault, Nemesis, Pace};
use crate::report::{Figures, Report};
use crate::workload::Workload;
use model::clock::{Clock, SystemClock};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

const START_MAX: Duration = Duration::from_secs(90);
const RECOVER_MAX: Duration = Duration::from_secs(120);
const READY_POLL: Duration = Duration::from_millis(100);
/// From this length on every kind of fault must have happened.
const COVERED_FROM: Duration = Duration::from_secs(60);
/// Free space that a node with a small disk wants.
const MIN_FREE: &str = "256MiB";
/// Silence after which a node is replaced, longer than any fault that it comes back from.
const REPLACE_AFTER: &str = "20s";
/// How far ahead a workspace's new number of shards holds: within the run.
const SCALE_LEAD: &str = "10s";
/// Time in which the cluster has every replica again after the last heal.
const WHOLE_MAX: Duration = Duration::from_secs(60);
/// The least share of the asked rate that must have been acknowledged, one in so many.
const ACKED_SHARE: u64 = 20;

/// What to run.
#[derive(Debug, Clone)]
pub struct Options {
    /// Number of nodes.
    pub nodes: usize,
    /// How long load and faults go on.
    pub time: Duration,
    /// Seed of everything.
    pub seed: u64,
    /// Samples a second.
    pub rate: u64,
    /// The node's binary.
    pub binary: PathBuf,
    /// Another version of it, which rolling restarts put in place of the first and back.
    pub new_binary: Option<PathBuf>,
    /// Where everything goes; exists.
    pub out: PathBuf,
    /// Workloads beside the samples.
    pub beside: Beside,
    /// The faults that are asked for.
    pub nemesis: Asked,
    /// What there is to cause them with.
    pub machine: Machine,
}

impl Options {
    /// What the nodes stand on, for the faults that are asked for.
    fn setup(&self) -> Setup {
        let has = |class| self.nemesis.has(class);
        let disks = has(Class::Disk) && self.machine.disks.is_ok();
        let changes = has(Class::Disk) || has(Class::Files) || has(Class::Membership);
        let flag = |on: bool, name: &str, value: &str| on.then(|| [name.to_string(), value.to_string()]);
        let scales = has(Class::Membership);
        let scale = [flag(scales, "--cluster.scale-lead", SCALE_LEAD)];
        let deletes = self.beside.deletes.then(|| "--web.enable-admin-api=true".to_string());
        let flags = [flag(disks, "--storage.min-free", MIN_FREE), flag(changes, "--cluster.replace-after", REPLACE_AFTER)];
        Setup {
            nodes: self.nodes,
            binary: self.binary.clone(),
            new_binary: self.new_binary.clone(),
            out: self.out.clone(),
            seed: self.seed,
            switched: self.machine.tun.is_ok(),
            direct: false,
            disks,
            clocks: has(Class::Clock) && self.machine.clocks.is_ok(),
            flags: flags.into_iter().chain(scale).flatten().flatten().chain(deletes).collect(),
        }
    }

    /// The line that runs this again.
    fn line(&self) -> String {
        let (nodes, time, seed, rate) = (self.nodes, self.time.as_secs(), self.seed, self.rate);
        format!(
            "jepsen run --nodes {nodes} --time {time}s --seed {seed} --rate {rate} --workload {} --nemesis {}",
            self.beside, self.nemesis.text
        )
    }
}

/// Why there is no verdict.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A file or program.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Building the node failed.
    #[error("cargo build of flotilla: {status}")]
    Build {
        /// Cargo's status.
        status: std::process::ExitStatus,
    },
    /// Setting up the nodes failed.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// The HTTP client cannot be built.
    #[error(transparent)]
    Http(#[from] reqwest::Error),
    /// The fresh cluster did not come up.
    #[error("{0}")]
    NotStarted(String),
    /// Somebody stopped the run.
    #[error("stopped by {0}")]
    Interrupted(&'static str),
    /// The run was too easy to mean anything.
    #[error("{0}")]
    NotCovered(String),
    /// The harness itself failed.
    #[error("the harness failed: {0}")]
    Harness(String),
    /// A system program that the harness needs.
    #[error(transparent)]
    Tool(#[from] crate::tool::ToolError),
}

/// Runs, checks, and reports. The nodes are gone when this returns.
///
/// # Errors
/// When there can be no verdict: nothing to run, a cluster that never started, or too little happened.
pub async fn run(options: Options) -> Result<Report, RunError> {
    let cluster = Arc::new(Cluster::prepare(options.setup()).await?);
    let addresses: Vec<String> = cluster.specs().iter().map(|s| s.http.to_string()).collect();
    let client = Client::new(&addresses)?;
    start_all(&cluster).await?;
    first_ready(&cluster, &client).await?;
    let path = options.out.join("history.jsonl");
    let history = History::create(&path).map_err(|source| RunError::File { path: path.clone(), source })?;
    let workload = Workload::plan(options.seed, options.rate, SystemClock::default().now_ms());
    let mut shared = Shared::new(workload, client, history);
    shared.beside = options.beside;
    let shared = Arc::new(shared);
    let mut figures = drive(&options, &cluster, &shared).await?;
    shared.history.flush();
    let judged = availability::judge(&path, options.nodes);
    figures.availability = judged.map_err(|source| RunError::File { path, source })?;
    for (place, text) in (0..).zip(figures.availability.breaches()) {
        shared.findings.note(Breach::Unavailable, place, 0, || text);
    }
    if let Some(broken) = figures.faults.broken.first() {
        return Err(RunError::Harness(broken.clone()));
    }
    for (node, line) in cluster.panics() {
        shared.findings.note(Breach::Crash, node as u64, i64::MAX, || format!("node-{}: {line}", node + 1));
    }
    let report = Report::new(&shared, &figures);
    let leaders = shared.watch.samples();
    let page =
        Page { text: report.text(), repeat: &figures.repeat, bands: &figures.faults.bands, promises: report.promises(), leaders: &leaders };
    let path = options.out.join("report.html");
    let written = html::page(&options.out.join("history.jsonl"), &page).and_then(|html| std::fs::write(&path, html));
    written.map_err(|source| RunError::File { path, source })?;
    if report.passed() {
        assert_covered(&options, &shared, &figures)?;
    }
    Ok(report)
}

/// Starts a cluster with everything below `setup.out`, which is made, and waits until it is ready. Nothing breaks it.
///
/// # Errors
/// If it cannot be set up or does not come up.
pub async fn local(setup: Setup) -> Result<Cluster, RunError> {
    std::fs::create_dir_all(&setup.out).map_err(|source| RunError::File { path: setup.out.clone(), source })?;
    let cluster = Cluster::prepare(Setup { direct: true, ..setup }).await?;
    let addresses: Vec<String> = cluster.specs().iter().map(|s| s.http.to_string()).collect();
    start_all(&cluster).await?;
    first_ready(&cluster, &Client::new(&addresses)?).await?;
    Ok(cluster)
}

async fn drive(options: &Options, cluster: &Arc<Cluster>, shared: &Arc<Shared>) -> Result<Figures, RunError> {
    let (stop, stopped) = watch::channel(false);
    let load = load::start(shared, &stopped);
    let nemesis = Nemesis::new(Arc::clone(shared), Arc::clone(cluster), &options.nemesis);
    let end = Instant::now() + options.time;
    let faults = nemesis.run(end, Pace::of(options.time)).await;
    tokio::time::sleep_until(end).await;

    let healed = Instant::now();
    cluster.links.heal_all();
    stop.send_replace(true);
    start_all(cluster).await?;
    let mut figures = Figures { faults, repeat: options.line(), ..Figures::default() };
    let ready = all_ready(cluster, shared, "after the last heal").await;
    figures.final_recovery = healed.elapsed();
    load.join_all().await;
    figures.meta = meta::examine(shared);
    figures.erased = shared.erasures.figures();
    figures.final_whole = if ready { whole(shared, healed).await } else { None };
    if ready && examine(cluster, shared, &mut figures).await? {
        figures.metered = metering::check(shared).await;
        figures.probed = audit::probe_nans(shared).await;
        check_invariants(shared).await;
    }
    cluster.reap(&shared.findings).await;
    cluster.stop_all().await;
    figures.version_changes = cluster.version_changes();
    figures.excused_ends = (0..options.nodes).map(|node| cluster.excused_ends(node)).sum();
    Ok(figures)
}

/// Waits until every group has all of its replicas; how long after the heal that was.
async fn whole(shared: &Shared, healed: Instant) -> Option<Duration> {
    let deadline = Instant::now() + WHOLE_MAX;
    loop {
        let status = shared.client.status(0).await;
        match status {
            Ok(status) if status.groups_at_target == status.groups && status.changes == 0 => return Some(healed.elapsed()),
            _ if Instant::now() >= deadline => {
                shared.findings.note(Breach::NotRecovered, u64::MAX, 1, || {
                    format!("{WHOLE_MAX:?} after the last heal not every group has its replicas: {status:?}")
                });
                return None;
            }
            _ => tokio::time::sleep(READY_POLL).await,
        }
    }
}

/// Reads everything back: as it is, after a SIGKILL of all nodes, and after a graceful stop of all, which ends in checkpoints.
///
/// False if the cluster did not come back in between.
async fn examine(cluster: &Cluster, shared: &Shared, figures: &mut Figures) -> Result<bool, RunError> {
    check_invariants(shared).await;
    figures.points_audited += audit::read_all(shared, "at the end").await;

    cluster.reap(&shared.findings).await;
    let nodes: Vec<usize> = (0..cluster.specs().len()).collect();
    let has_disks = cluster.disk(0).is_some();
    let stage = if has_disks { "after a power loss of all nodes" } else { "after a kill of all nodes" };
    let cut = nodes.iter().filter_map(|node| cluster.disk(*node)).try_for_each(Disk::cut_power);
    cluster.kill_together(&nodes).await;
    cut?;
    nodes.iter().filter_map(|node| cluster.disk(*node)).try_for_each(Disk::remount)?;
    figures.final_power_losses = u64::from(has_disks);
    let Some(took) = restart(cluster, shared, stage).await? else { return Ok(false) };
    figures.restart_killed = took;
    figures.points_audited += audit::read_all(shared, stage).await;

    cluster.reap(&shared.findings).await;
    figures.slow_stops = cluster.stop_all().await.len();
    let Some(took) = restart(cluster, shared, "after a graceful stop").await? else { return Ok(false) };
    figures.restart_stopped = took;
    figures.points_audited += audit::read_all(shared, "after a graceful stop").await;
    Ok(true)
}

/// Starts all nodes; how long it took until they were ready, none if they never were.
async fn restart(cluster: &Cluster, shared: &Shared, stage: &str) -> Result<Option<Duration>, ClusterError> {
    let began = Instant::now();
    start_all(cluster).await?;
    Ok(all_ready(cluster, shared, stage).await.then(|| began.elapsed()))
}

async fn start_all(cluster: &Cluster) -> Result<(), ClusterError> {
    for node in 0..cluster.specs().len() {
        cluster.start(node).await?;
        cluster.resume(node).await;
    }
    Ok(())
}

/// Waits for a fresh cluster: if it does not come up there is nothing to test.
async fn first_ready(cluster: &Cluster, client: &Client) -> Result<(), RunError> {
    let findings = crate::check::Findings::default();
    let waited = wait_ready(client, START_MAX, async || {
        cluster.reap(&findings).await;
        findings.evidence().into_iter().next()
    })
    .await;
    waited.map_err(RunError::NotStarted)
}

async fn all_ready(cluster: &Cluster, shared: &Shared, stage: &str) -> bool {
    let waited = wait_ready(&shared.client, RECOVER_MAX, async || {
        for node in cluster.reap(&shared.findings).await {
            // A node that cannot even be started again shows as one that never becomes ready.
            let _reported = cluster.start(node).await;
        }
        cluster.replace_refused().await.err()
    })
    .await;
    if let Err(missing) = &waited {
        shared.findings.note(Breach::NotRecovered, u64::MAX, 0, || format!("{stage}: {missing}"));
    }
    waited.is_ok()
}

/// Polls until all nodes say ready; `give_up` may end the wait early with a reason.
async fn wait_ready(client: &Client, patience: Duration, give_up: impl AsyncFn() -> Option<String>) -> Result<(), String> {
    let deadline = Instant::now() + patience;
    for node in 0..client.nodes() {
        while let Err(answer) = client.ready(node).await {
            if let Some(reason) = give_up().await {
                return Err(reason);
            }
            if Instant::now() >= deadline {
                return Err(format!("node-{} was not ready within {} s: {answer}", node + 1, patience.as_secs()));
            }
            tokio::time::sleep(READY_POLL).await;
        }
    }
    Ok(())
}

/// The nodes count broken invariants themselves; there must be none.
async fn check_invariants(shared: &Shared) {
    for node in 0..shared.client.nodes() {
        let Ok(text) = shared.client.metrics(node).await else { continue };
        let violations = sum_metric(&text, "flotilla_invariant_violations_total");
        if violations > 0.0 {
            shared.findings.note(Breach::Crash, node as u64, i64::MAX - 1, || {
                let lines: Vec<&str> = text.lines().filter(|l| l.starts_with("flotilla_invariant_violations_total")).collect();
                format!("node-{} counts broken invariants: {}", node + 1, lines.join("; "))
            });
        }
    }
}

/// A run in which too little happened says nothing, so it must not say OK.
fn assert_covered(options: &Options, shared: &Shared, figures: &Figures) -> Result<(), RunError> {
    let (stats, acked, faults) = (&shared.stats, shared.acked(), &figures.faults);
    let mut lacks = Vec::new();
    let least = options.rate * options.time.as_secs() / ACKED_SHARE;
    if acked < least {
        lacks.push(format!("{acked} samples acknowledged, at least {least} needed"));
    }
    if stats.reads_ok.load(Relaxed) == 0 {
        lacks.push("no complete read while faults went on".to_string());
    }
    if options.beside.meta && figures.meta.known == 0 {
        lacks.push("no answer about a workspace".to_string());
    }
    if options.beside.deletes && figures.erased.deleted == 0 {
        lacks.push("no delete was acknowledged".to_string());
    }
    if options.new_binary.is_some() && figures.version_changes == 0 {
        lacks.push("no node was given the other binary".to_string());
    }
    if faults.total() == 0 {
        lacks.push("no fault happened".to_string());
    }
    if options.time >= COVERED_FROM {
        let possible = |fault: &&Fault| fault.nodes_min() <= options.nodes && !faults.skipped.contains_key(fault);
        let classes: BTreeSet<Class> = options.nemesis.kinds.iter().filter(possible).map(|fault| fault.class()).collect();
        let never = classes.into_iter().filter(|class| faults.of_class(*class) == 0);
        lacks.extend(never.map(|class| format!("no fault of the class {} happened", class.name())));
        if faults.leader_hits == 0 {
            lacks.push("no fault hit a leader".to_string());
        }
    }
    if lacks.is_empty() { Ok(()) } else { Err(RunError::NotCovered(lacks.join("; "))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn covered(time: u64, acked: u64, kinds: &[Fault], leader_hits: u64) -> Result<(), RunError> {
        let time = Duration::from_secs(time);
        let machine = Machine::probe(Err("no".to_string()), std::path::Path::new("/"));
        let nemesis = "process,network".parse().unwrap();
        let (binary, new_binary, out) = (PathBuf::new(), None, PathBuf::new());
        let beside = Beside::default();
        let options = Options { nodes: 3, time, seed: 1, rate: 100, binary, new_binary, out, beside, nemesis, machine };
        let directory = tempfile::tempdir().unwrap();
        let workload = Workload { seed: 1, t0_ms: 0, step_ms: 100, lanes: vec![1] };
        let history = History::create(&directory.path().join("history")).unwrap();
        let shared = Shared::new(workload, Client::new(&["127.0.0.1:1".into()]).unwrap(), history);
        shared.stats.reads_ok.store(1, Relaxed);
        shared.ledger.ack(0, 0..acked);
        let mut figures = Figures::default();
        figures.faults.installed = kinds.iter().map(|k| (*k, 1)).collect();
        figures.faults.leader_hits = leader_hits;
        assert_covered(&options, &shared, &figures)
    }

    #[test]
    fn a_run_in_which_too_little_happened_has_no_verdict() {
        let all = [Fault::KillOne, Fault::OneWay];
        assert!(covered(60, 300, &all, 1).is_ok());
        assert!(covered(60, 299, &all, 1).is_err());
        assert!(covered(60, 300, &all, 0).is_err());
        assert!(covered(60, 300, &all[1..], 1).unwrap_err().to_string().contains("no fault of the class process happened"));
        assert!(covered(12, 60, &[Fault::Pause], 0).is_ok());
        assert!(covered(12, 60, &[], 0).is_err());
    }
}
