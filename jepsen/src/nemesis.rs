//! What is done to the cluster, by seed: faults of all classes, and their healing.

mod clock;
mod disk;
mod effect;
pub mod fault;
mod files;
mod membership;
mod network;
mod process;
mod recovery;
mod victim;

pub use fault::{Asked, Class, Fault};
pub use recovery::{GOALS_MS, Recovery};

use crate::client::sum_metric;
use crate::cluster::Cluster;
use crate::dice::Dice;
use crate::history::{Op, Outcome};
use crate::load::Shared;
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::collections::{BTreeMap, VecDeque};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::Instant;

const WARM_UP: Duration = Duration::from_secs(2);
const LEADER_PROBE: Duration = Duration::from_millis(500);
const LEADER_PERCENT: u64 = 60;
const SUPERVISE: Duration = Duration::from_millis(200);
/// After so many faults everything heals, and the recovery is timed.
const ROUND: u64 = 4;
/// A fault that cannot happen now comes again behind so many others.
const RETRY_BEHIND: usize = 4;
const QUIET_MAX: Duration = Duration::from_secs(25);

/// How often and how long.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Milliseconds between two faults, `(least, most)`.
    pub interval_ms: (u64, u64),
    /// Milliseconds that a killed node stays down.
    pub down_ms: (u64, u64),
    /// Milliseconds that a pause or cut lasts.
    pub last_ms: (u64, u64),
}

impl Pace {
    /// The pace for a run of `time`: full faults from a minute on, short ones in a short run.
    #[must_use]
    pub fn of(time: Duration) -> Self {
        if time >= Duration::from_secs(60) {
            Self { interval_ms: (1500, 4000), down_ms: (500, 4000), last_ms: (1000, 7000) }
        } else {
            Self { interval_ms: (1000, 2000), down_ms: (500, 1500), last_ms: (500, 2000) }
        }
    }
}

/// What was done.
#[derive(Debug, Default, Clone)]
pub struct FaultLog {
    /// How many faults of each kind were really installed.
    pub installed: BTreeMap<Fault, u64>,
    /// How many of each kind went through to their end as planned; only those that have such an end.
    pub completed: BTreeMap<Fault, u64>,
    /// Kinds that were asked for and cannot happen here, with the reason.
    pub skipped: BTreeMap<Fault, String>,
    /// How many of them hit the node that led most groups.
    pub leader_hits: u64,
    /// Per heal that no other fault disturbed: how long it took to show.
    pub recoveries_ms: Vec<Recovery>,
    /// What the harness itself could not do: the run has no verdict.
    pub broken: Vec<String>,
    /// `(kind, began, ended, nodes)` of each fault, microseconds since the run began.
    pub bands: Vec<Band>,
}

/// One fault on the time line.
#[derive(Debug, Clone)]
pub struct Band {
    /// Its kind.
    pub fault: Fault,
    /// When it was installed, microseconds since the run began.
    pub began_us: u64,
    /// When it was healed.
    pub ended_us: u64,
}

impl FaultLog {
    /// All faults.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.installed.values().sum()
    }

    /// Faults of one class.
    #[must_use]
    pub fn of_class(&self, class: Class) -> u64 {
        self.installed.iter().filter(|(fault, _)| fault.class() == class).map(|(_, n)| n).sum()
    }
}

/// Ends a fault; an error is the harness's own.
type Heal = Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;

/// How long a fault lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lasts {
    /// As long as a killed node is down.
    Down,
    /// As long as a pause or cut.
    Cut,
    /// Its heal is the fault: a procedure that takes its time, beside which others go on.
    Procedure,
}

/// A fault that was installed.
struct Injected {
    hit: Vec<usize>,
    detail: Value,
    lasts: Lasts,
    heal: Heal,
}

/// A fault that was not.
#[derive(Debug)]
enum NotInjected {
    /// Another time: its target is down, or another such fault goes on.
    NotNow,
    /// It cannot happen here.
    Never(String),
    /// The harness failed.
    Broken(String),
}

impl From<crate::tool::ToolError> for NotInjected {
    fn from(error: crate::tool::ToolError) -> Self {
        Self::Broken(error.to_string())
    }
}

type Attempt = Result<Injected, NotInjected>;

/// Injects faults.
pub struct Nemesis {
    shared: Arc<Shared>,
    cluster: Arc<Cluster>,
    asked: Vec<Fault>,
    log: Mutex<FaultLog>,
    injected: AtomicU64,
    active: AtomicU64,
    /// Held while what one node stored may be lost.
    fragile: Arc<Semaphore>,
    /// Held by faults that need the disk or process of a node for themselves.
    busy: Vec<Arc<Semaphore>>,
}

impl std::fmt::Debug for Nemesis {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Nemesis").finish_non_exhaustive()
    }
}

/// Whom a fault is aimed at.
struct Target {
    node: usize,
    /// All nodes but the target, in random order.
    others: Vec<usize>,
    leader: Option<usize>,
}

impl Nemesis {
    /// A nemesis that has done nothing yet, for the kinds `asked`.
    #[must_use]
    pub fn new(shared: Arc<Shared>, cluster: Arc<Cluster>, asked: &Asked) -> Arc<Self> {
        let nodes = cluster.specs().len();
        let asked = asked.kinds.iter().copied().filter(|fault| fault.nodes_min() <= nodes).collect();
        let busy = (0..nodes).map(|_| Arc::new(Semaphore::new(1))).collect();
        let fragile = Arc::new(Semaphore::new(1));
        let (injected, active) = (AtomicU64::new(0), AtomicU64::new(0));
        Arc::new(Self { shared, cluster, asked, log: Mutex::default(), injected, active, fragile, busy })
    }

    /// Works until `end`; returns when all of its faults are healed and every node runs.
    ///
    /// One fault of each class comes first, then each kind once, in random order and aimed at the leader where it can be, before any comes again.
    pub async fn run(self: &Arc<Self>, end: Instant, pace: Pace) -> FaultLog {
        let mut dice = Dice::new(self.shared.workload.seed, u64::from_be_bytes(*b"nemesis!"));
        let mut due = self.first_round(&mut dice);
        let (mut heals, mut procedures) = (JoinSet::new(), JoinSet::new());
        let supervisor = tokio::spawn(Arc::clone(self).supervise());
        let mut at = Instant::now() + WARM_UP;
        let mut in_round = 0;
        while at < end {
            tokio::time::sleep_until(at).await;
            let Some(fault) = self.next(&mut due).or_else(|| self.any(&mut dice)) else { break };
            let Some((injected, began)) = self.inject(fault, &mut dice, !due.is_empty()).await else {
                // Soon again: a kind that waits for its moment must not come last every time.
                due.insert(due.len().min(RETRY_BEHIND), fault);
                at = Instant::now() + SUPERVISE;
                continue;
            };
            let (low, high) = if injected.lasts == Lasts::Down { pace.down_ms } else { pace.last_ms };
            let lasts = Duration::from_millis(dice.between(low, high));
            let tasks = if injected.lasts == Lasts::Procedure { &mut procedures } else { &mut heals };
            tasks.spawn(Arc::clone(self).heal_after(lasts, injected, fault, began));
            if fault.is_alone() {
                self.until_quiet().await;
            }
            in_round += 1;
            at = Instant::now() + Duration::from_millis(dice.between(pace.interval_ms.0, pace.interval_ms.1));
            if in_round == ROUND {
                in_round = 0;
                let all_healed = async { while heals.join_next().await.is_some() {} };
                let _slow = tokio::time::timeout(QUIET_MAX, all_healed).await;
                at = at.max(Instant::now());
            }
        }
        heals.join_all().await;
        procedures.join_all().await;
        supervisor.abort();
        let _aborted = supervisor.await;
        self.log.lock().clone()
    }

    fn first_round(&self, dice: &mut Dice) -> VecDeque<Fault> {
        let mut kinds = self.asked.clone();
        dice.shuffle(&mut kinds);
        // What waits for the cluster to be whole comes before what may delay that, and stands for its class only if nothing else can.
        kinds.sort_by_key(|fault| fault.is_destructive());
        let is_first = |i: usize| kinds[..i].iter().all(|earlier| earlier.class() != kinds[i].class());
        let (mut first, mut rest): (Vec<usize>, Vec<usize>) = (0..kinds.len()).partition(|i| is_first(*i));
        first.sort_by_key(|i| !kinds[*i].is_destructive());
        dice.shuffle(&mut rest);
        first.into_iter().chain(rest).map(|i| kinds[i]).collect()
    }

    /// Waits until no fault goes on.
    async fn until_quiet(&self) {
        let deadline = Instant::now() + QUIET_MAX;
        while self.active.load(Ordering::SeqCst) > 0 && Instant::now() < deadline {
            tokio::time::sleep(SUPERVISE).await;
        }
    }

    /// The next fault that is due: one that must be alone as soon as it can be.
    fn next(&self, due: &mut VecDeque<Fault>) -> Option<Fault> {
        let is_quiet = self.active.load(Ordering::SeqCst) == 0;
        let alone = due.iter().position(|fault| is_quiet && fault.is_alone()).unwrap_or(0);
        due.remove(alone)
    }

    fn any(&self, dice: &mut Dice) -> Option<Fault> {
        let skipped: Vec<Fault> = self.log.lock().skipped.keys().copied().collect();
        let possible: Vec<Fault> = self.asked.iter().copied().filter(|fault| !skipped.contains(fault)).collect();
        (!possible.is_empty()).then(|| possible[dice.index(possible.len())])
    }

    /// Starts nodes again that ended by themselves; each is a finding.
    async fn supervise(self: Arc<Self>) {
        loop {
            tokio::time::sleep(SUPERVISE).await;
            for node in self.cluster.reap(&self.shared.findings).await {
                tokio::time::sleep(Duration::from_secs(1)).await;
                self.start(node).await;
            }
            if let Err(why) = self.cluster.replace_refused().await {
                self.log.lock().broken.push(why);
            }
        }
    }

    /// Installs one fault; none if it has to come another time or never.
    async fn inject(self: &Arc<Self>, fault: Fault, dice: &mut Dice, aim: bool) -> Option<(Injected, u64)> {
        let target = self.target(dice, aim).await;
        let began = self.shared.history.now_us();
        let attempt = match fault.class() {
            Class::Process => self.inject_process(fault, dice, &target).await,
            Class::Network => self.inject_network(fault, dice, &target).await,
            Class::Disk => self.inject_disk(fault, dice, &target).await,
            Class::Clock => self.inject_clock(fault, dice, &target),
            Class::Files => self.inject_files(fault, dice, &target).await,
            Class::Membership => self.inject_membership(fault, dice, &target).await,
        };
        match attempt {
            Ok(injected) => {
                if injected.lasts != Lasts::Procedure {
                    self.injected.fetch_add(1, Ordering::SeqCst);
                    self.active.fetch_add(1, Ordering::SeqCst);
                }
                let leader_hit = target.leader.is_some_and(|l| injected.hit.contains(&l));
                let mut log = self.log.lock();
                *log.installed.entry(fault).or_default() += 1;
                log.leader_hits += u64::from(leader_hit);
                drop(log);
                let v = json!({"nodes": names(&injected.hit), "how": injected.detail, "leader_hit": leader_hit});
                self.record(began, &format!("{fault:?}"), v);
                Some((injected, began))
            }
            Err(NotInjected::NotNow) => None,
            Err(NotInjected::Never(why)) => {
                self.log.lock().skipped.insert(fault, why);
                None
            }
            Err(NotInjected::Broken(why)) => {
                self.log.lock().broken.push(format!("{fault:?}: {why}"));
                None
            }
        }
    }

    async fn target(&self, dice: &mut Dice, aim: bool) -> Target {
        let leader = self.leader().await;
        let nodes = self.cluster.specs().len();
        let node = match leader {
            Some(leader) if aim || dice.percent(LEADER_PERCENT) => leader,
            _ => dice.index(nodes),
        };
        let mut others: Vec<usize> = (0..nodes).filter(|n| *n != node).collect();
        dice.shuffle(&mut others);
        Target { node, others, leader }
    }

    /// Takes a node for a fault that nobody else may disturb; it must run.
    async fn take(&self, node: usize) -> Result<OwnedSemaphorePermit, NotInjected> {
        let permit = Arc::clone(&self.busy[node]).try_acquire_owned().map_err(|_| NotInjected::NotNow)?;
        if self.cluster.is_running(node).await { Ok(permit) } else { Err(NotInjected::NotNow) }
    }

    /// Takes the right to destroy what one node stored: every group must have all of its replicas.
    async fn take_fragile(&self) -> Result<OwnedSemaphorePermit, NotInjected> {
        let permit = Arc::clone(&self.fragile).try_acquire_owned().map_err(|_| NotInjected::NotNow)?;
        for node in 0..self.cluster.specs().len() {
            if let Ok(status) = self.shared.client.status(node).await {
                let whole = status.groups_at_target == status.groups && status.changes == 0 && status.silent == 0;
                return if whole { Ok(permit) } else { Err(NotInjected::NotNow) };
            }
        }
        Err(NotInjected::NotNow)
    }

    /// The node that leads most groups, by the nodes' own metrics.
    async fn leader(&self) -> Option<usize> {
        let mut probes = JoinSet::new();
        for node in 0..self.cluster.specs().len() {
            let client = self.shared.client.clone();
            probes.spawn(async move {
                let text = tokio::time::timeout(LEADER_PROBE, client.metrics(node)).await.ok()?.ok()?;
                Some((sum_metric(&text, "flotilla_raft_leader") as u64, node))
            });
        }
        probes.join_all().await.into_iter().flatten().filter(|(groups, _)| *groups > 0).max().map(|(_, node)| node)
    }

    async fn heal_after(self: Arc<Self>, lasts: Duration, injected: Injected, fault: Fault, began_us: u64) {
        let is_procedure = injected.lasts == Lasts::Procedure;
        if !is_procedure {
            tokio::time::sleep(lasts).await;
        }
        let began = self.shared.history.now_us();
        if let Err(why) = injected.heal.await {
            self.log.lock().broken.push(format!("heal of {fault:?}: {why}"));
        }
        self.log.lock().bands.push(Band { fault, began_us, ended_us: self.shared.history.now_us() });
        self.record(began, &format!("Heal{fault:?}"), json!({"nodes": names(&injected.hit)}));
        if !is_procedure && self.active.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.measure(fault, &injected.hit).await;
        }
    }

    async fn start(&self, node: usize) {
        if let Err(e) = self.cluster.start(node).await {
            self.shared.findings.note(crate::check::Breach::NotRecovered, node as u64, 2, || format!("node-{}: {e}", node + 1));
        }
    }

    /// Notes that a fault with an end of its own reached it.
    fn complete(&self, fault: Fault) {
        *self.log.lock().completed.entry(fault).or_default() += 1;
    }

    /// Notes that something happens to a node in the middle of a fault.
    fn disturb(&self, node: usize, what: &str) {
        self.record(self.shared.history.now_us(), "Disturb", json!({"node": node + 1, "what": what}));
    }

    fn record(&self, began: u64, f: &str, v: Value) {
        let t = [began, self.shared.history.now_us()];
        self.shared.history.record(&Op { t, p: -1, n: 0, f, v, outcome: Outcome::Info, code: 0 });
    }
}

fn names(nodes: &[usize]) -> Vec<String> {
    nodes.iter().map(|n| format!("node-{}", n + 1)).collect()
}
