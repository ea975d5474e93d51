//! What is done to the cluster, by seed: kills, pauses, cuts, and their healing.

use crate::client::sum_metric;
use crate::cluster::Cluster;
use crate::dice::Dice;
use crate::history::{Op, Outcome};
use crate::load::{self, Shared};
use crate::proxy::{CutId, Link};
use parking_lot::Mutex;
use serde_json::json;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::Instant;

const WARM_UP: Duration = Duration::from_secs(2);
const LEADER_PROBE: Duration = Duration::from_millis(500);
const LEADER_PERCENT: u64 = 60;
const RECOVERY_MAX: Duration = Duration::from_secs(60);
const RECOVERY_POLL: Duration = Duration::from_millis(50);
const SUPERVISE: Duration = Duration::from_millis(200);

/// The kinds of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// SIGKILL of one node, started again later.
    KillOne,
    /// SIGKILL of a majority at once.
    KillMajority,
    /// SIGKILL of all nodes at once.
    KillAll,
    /// SIGSTOP of one node, SIGCONT later.
    Pause,
    /// One node neither reaches the others nor is reached.
    Isolate,
    /// One node does not reach the others but is reached, or the reverse.
    OneWay,
}

impl Fault {
    /// All kinds that make sense with `nodes` nodes.
    #[must_use]
    pub fn all(nodes: usize) -> Vec<Self> {
        let alone = vec![Self::KillOne, Self::Pause];
        let cut = vec![Self::KillMajority, Self::KillAll, Self::Isolate, Self::OneWay];
        if nodes > 1 { [alone, cut].concat() } else { alone }
    }
}

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
            Self { interval_ms: (3000, 8000), down_ms: (1000, 5000), last_ms: (1000, 8000) }
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
    /// How many of them hit the node that led most groups.
    pub leader_hits: u64,
    /// Per heal that no other fault disturbed: milliseconds until the node was ready and took a write.
    pub recoveries_ms: Vec<Recovery>,
}

impl FaultLog {
    /// All faults.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.installed.values().sum()
    }
}

/// How long one heal took to show.
#[derive(Debug, Clone, Copy)]
pub struct Recovery {
    /// Until every node that was hit said ready.
    pub ready_ms: u64,
    /// Until every node that was hit had acknowledged a write begun after the heal.
    pub write_ms: u64,
}

/// Injects faults.
pub struct Nemesis {
    shared: Arc<Shared>,
    cluster: Arc<Cluster>,
    log: Mutex<FaultLog>,
    injected: AtomicU64,
    active: AtomicU64,
}

impl std::fmt::Debug for Nemesis {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Nemesis").finish_non_exhaustive()
    }
}

enum Heal {
    Start(Vec<usize>),
    Resume(usize),
    Mend(usize, CutId),
}

impl Nemesis {
    /// A nemesis that has done nothing yet.
    #[must_use]
    pub fn new(shared: Arc<Shared>, cluster: Arc<Cluster>) -> Arc<Self> {
        Arc::new(Self { shared, cluster, log: Mutex::default(), injected: AtomicU64::new(0), active: AtomicU64::new(0) })
    }

    /// Works until `end`; returns when all of its faults are healed and every node runs.
    ///
    /// Each kind of fault comes once, in random order and aimed at the leader where it can be, before any comes again.
    pub async fn run(self: &Arc<Self>, end: Instant, pace: Pace) -> FaultLog {
        let nodes = self.cluster.specs().len();
        let mut dice = Dice::new(self.shared.workload.seed, u64::from_be_bytes(*b"nemesis!"));
        let mut first_round: Vec<Fault> = Fault::all(nodes);
        dice.shuffle(&mut first_round);
        let mut due = VecDeque::from(first_round);
        let mut heals = JoinSet::new();
        let supervisor = tokio::spawn(Arc::clone(self).supervise());
        let mut at = Instant::now() + WARM_UP;
        while at < end {
            tokio::time::sleep_until(at).await;
            let fault = due.front().copied().unwrap_or_else(|| Fault::all(nodes)[dice.index(Fault::all(nodes).len())]);
            if let Some(heal) = self.inject(fault, &mut dice, !due.is_empty()).await {
                due.pop_front();
                let (low, high) = if matches!(heal, Heal::Start(_)) { pace.down_ms } else { pace.last_ms };
                let lasts = Duration::from_millis(dice.between(low, high));
                heals.spawn(Arc::clone(self).heal_after(lasts, heal, fault));
                at += Duration::from_millis(dice.between(pace.interval_ms.0, pace.interval_ms.1));
            } else {
                at += SUPERVISE;
            }
        }
        heals.join_all().await;
        supervisor.abort();
        let _aborted = supervisor.await;
        self.log.lock().clone()
    }

    /// Starts nodes again that ended by themselves; each is a finding.
    async fn supervise(self: Arc<Self>) {
        loop {
            tokio::time::sleep(SUPERVISE).await;
            for node in self.cluster.reap(&self.shared.findings).await {
                tokio::time::sleep(Duration::from_secs(1)).await;
                self.start(node).await;
            }
        }
    }

    async fn inject(&self, fault: Fault, dice: &mut Dice, aim: bool) -> Option<Heal> {
        let nodes = self.cluster.specs().len();
        let leader = self.leader().await;
        let target = match leader {
            Some(leader) if aim || dice.percent(LEADER_PERCENT) => leader,
            _ => dice.index(nodes),
        };
        let mut others: Vec<usize> = (0..nodes).filter(|n| *n != target).collect();
        dice.shuffle(&mut others);
        let began = self.shared.history.now_us();
        let (hit, mode, heal) = match fault {
            Fault::KillOne | Fault::KillMajority | Fault::KillAll => {
                let wanted = match fault {
                    Fault::KillOne => 1,
                    Fault::KillMajority => nodes / 2 + 1,
                    _ => nodes,
                };
                let victims: Vec<usize> = std::iter::once(target).chain(others).take(wanted).collect();
                if !self.all_running(&victims).await {
                    return None;
                }
                self.count(fault);
                let killed = self.cluster.kill_together(&victims).await;
                (killed.clone(), "kill", Heal::Start(killed))
            }
            Fault::Pause => {
                if !self.cluster.pause(target).await {
                    return None;
                }
                self.count(fault);
                (vec![target], "stop", Heal::Resume(target))
            }
            Fault::Isolate | Fault::OneWay => {
                if !self.cluster.is_running(target).await {
                    return None;
                }
                self.count(fault);
                let out = others.iter().map(|n| (target, *n));
                let inward = others.iter().map(|n| (*n, target));
                let pairs: Vec<_> = match (fault, dice.percent(50)) {
                    (Fault::Isolate, _) => out.chain(inward).collect(),
                    (_, true) => out.collect(),
                    (_, false) => inward.collect(),
                };
                let (mode, name) = [(Link::Refused, "refuse"), (Link::BlackHole, "black-hole"), (Link::Stalled, "stall")][dice.index(3)];
                (vec![target], name, Heal::Mend(target, self.cluster.links.cut(pairs, mode)))
            }
        };
        let leader_hit = leader.is_some_and(|l| hit.contains(&l));
        self.log.lock().leader_hits += u64::from(leader_hit);
        self.record(began, &format!("{fault:?}"), json!({"nodes": names(&hit), "mode": mode, "leader_hit": leader_hit}));
        Some(heal)
    }

    fn count(&self, fault: Fault) {
        self.injected.fetch_add(1, Ordering::SeqCst);
        self.active.fetch_add(1, Ordering::SeqCst);
        *self.log.lock().installed.entry(fault).or_default() += 1;
    }

    async fn all_running(&self, nodes: &[usize]) -> bool {
        for node in nodes {
            if !self.cluster.is_running(*node).await {
                return false;
            }
        }
        true
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

    async fn heal_after(self: Arc<Self>, lasts: Duration, heal: Heal, fault: Fault) {
        tokio::time::sleep(lasts).await;
        let began = self.shared.history.now_us();
        let hit = match heal {
            Heal::Start(nodes) => {
                for node in &nodes {
                    self.start(*node).await;
                }
                nodes
            }
            Heal::Resume(node) => {
                self.cluster.resume(node).await;
                vec![node]
            }
            Heal::Mend(node, cut) => {
                self.cluster.links.heal(cut);
                vec![node]
            }
        };
        let left = self.active.fetch_sub(1, Ordering::SeqCst) - 1;
        self.record(began, &format!("Heal{fault:?}"), json!({"nodes": names(&hit)}));
        if left == 0 {
            self.measure(&hit).await;
        }
    }

    async fn start(&self, node: usize) {
        if let Err(e) = self.cluster.start(node).await {
            self.shared.findings.note(crate::check::Breach::NotRecovered, node as u64, 2, || format!("node-{}: {e}", node + 1));
        }
    }

    /// Waits until the nodes are ready and take writes; another fault in between makes the figure worthless, so it is dropped.
    async fn measure(self: &Arc<Self>, hit: &[usize]) {
        let (epoch, began) = (self.injected.load(Ordering::SeqCst), Instant::now());
        let mut probes = JoinSet::new();
        for node in hit.iter().copied() {
            let nemesis = Arc::clone(self);
            probes.spawn(async move {
                let disturbed = || began.elapsed() >= RECOVERY_MAX || nemesis.injected.load(Ordering::SeqCst) != epoch;
                let write = async { load::canary(&nemesis.shared, node, disturbed).await.then(|| began.elapsed()) };
                let (ready, write) = tokio::join!(nemesis.first_ready(node, began, disturbed), write);
                Some((ready?, write?))
            });
        }
        let probes: Option<Vec<(Duration, Duration)>> = probes.join_all().await.into_iter().collect();
        let ms = |d: Duration| d.as_millis() as u64;
        if let Some(((ready, _), (_, write))) = probes.and_then(|p| Some((*p.iter().max_by_key(|p| p.0)?, *p.iter().max_by_key(|p| p.1)?)))
        {
            self.log.lock().recoveries_ms.push(Recovery { ready_ms: ms(ready), write_ms: ms(write) });
        }
    }

    async fn first_ready(&self, node: usize, began: Instant, give_up: impl Fn() -> bool) -> Option<Duration> {
        while !give_up() {
            if self.shared.client.ready(node).await.is_ok() {
                return Some(began.elapsed());
            }
            tokio::time::sleep(RECOVERY_POLL).await;
        }
        None
    }

    fn record(&self, began: u64, f: &str, v: serde_json::Value) {
        let t = [began, self.shared.history.now_us()];
        self.shared.history.record(&Op { t, p: -1, n: 0, f, v, outcome: Outcome::Info, code: 0 });
    }
}

fn names(nodes: &[usize]) -> Vec<String> {
    nodes.iter().map(|n| format!("node-{}", n + 1)).collect()
}
