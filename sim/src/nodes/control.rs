//! The run: stores, clients, faults, time.

use super::client::{Answered, Ask, Clients, Job};
use super::host::SimHost;
use super::oracle::{Least, SampleOracle};
use super::rest;
use super::samples::{SERIES, SampleId};
use super::wire;
use crate::clock::SimClock;
use crate::disk::LogDisk;
use crate::faults::{Cluster, Faults};
use crate::interposed;
use crate::invariants;
use crate::network::{HTTP_PORT, RPC_PORT, host_of};
use crate::plan::{Fault, Plan};
use crate::random::Random;
use crate::report::Report;
use crate::watch::{Event, Watch};
use clap::{Args as _, FromArgMatches as _};
use model::{ReplicaId, ShardId, StoreId};
use node::config::{Config, FileArgs, Flags};
use node::node::Node;
use node::shard::keeper;
use parking_lot::Mutex;
use raft::GroupStatus;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// Simulated time of one step.
const TICK: Duration = Duration::from_millis(1);
/// Steps between two looks at all replicas.
const LOOK_EVERY: u64 = 4;
/// The name of the clients' host.
const CLIENTS: &str = "clients";
/// Requests that may wait for the clients' host.
const JOBS_WAITING_MAX: usize = 4096;
/// Writes and queries in flight at once.
const IN_FLIGHT_MAX: usize = 24;
/// Replica ids of the meta group's founders are below this.
const FIRST_GIVEN_REPLICA: u64 = 1024;
/// How long founding and the first acknowledged write may take.
const FOUNDING_MAX: Duration = Duration::from_secs(60);

/// Work in a node's own process.
#[derive(Clone, Copy, Debug)]
enum Inside {
    Checkpoint(ShardId),
    Transfer(ShardId, ReplicaId),
}

#[derive(Debug)]
struct Running {
    node: Arc<Node>,
    boot: u64,
    inside: mpsc::Sender<Inside>,
}

/// One store.
struct Store {
    id: StoreId,
    clock: SimClock,
    log: Mutex<Arc<LogDisk>>,
    running: Arc<Mutex<Option<Running>>>,
    fatal: Arc<Mutex<Option<String>>>,
    boots: Mutex<u64>,
    config: Config,
}

impl Store {
    async fn run(self: Arc<Self>) -> turmoil::Result {
        let boot = {
            let mut boots = self.boots.lock();
            *boots += 1;
            *boots
        };
        let log = Arc::clone(&self.log.lock());
        let host = SimHost { clock: self.clock.clone(), log, fatal: Arc::clone(&self.fatal) };
        let running = Arc::clone(&self.running);
        let ready = move |node: Arc<Node>| {
            let (inside, mut queue) = mpsc::channel(16);
            let worker = Arc::clone(&node);
            tokio::spawn(async move {
                while let Some(work) = queue.recv().await {
                    do_inside(&worker, work).await;
                }
            });
            *running.lock() = Some(Running { node, boot, inside });
        };
        Box::pin(node::app::run_on(self.config.clone(), &host, ready)).await?;
        Ok(())
    }
}

async fn do_inside(node: &Node, work: Inside) {
    match work {
        Inside::Checkpoint(shard) if shard == ShardId::META => {
            let machine = node.meta_machine.lock().clone();
            if let Some(machine) = machine {
                keeper::checkpoint_meta(node, &machine).await;
            }
        }
        Inside::Checkpoint(shard) => {
            if let Some(local) = node.shards.get(shard) {
                keeper::checkpoint(&local).await;
            }
        }
        Inside::Transfer(shard, to) => {
            if let Some(group) = node.groups.group(shard) {
                let _ = group.transfer_leader(to).await;
            }
        }
    }
}

/// What the clients wait for.
#[derive(Debug)]
enum Waiting {
    Write { samples: Arc<[SampleId]>, attempts: u64 },
    Points(Least),
    Count(u64),
    Operation,
}

/// The whole simulation.
pub(super) struct Control {
    pub(super) sim: turmoil::Sim<'static>,
    pub(super) plan: Plan,
    random: Random,
    stores: BTreeMap<StoreId, Arc<Store>>,
    pub(super) watch: Watch,
    pub(super) oracle: SampleOracle,
    clients: Arc<Clients>,
    jobs: mpsc::Sender<Job>,
    waiting: BTreeMap<u64, Waiting>,
    /// Writes to be sent again, and when.
    again: Vec<(Duration, Arc<[SampleId]>, u64)>,
    next_number: u64,
    next_sample: BTreeMap<u64, u64>,
    next_ask_at: Duration,
    /// Queries answered, by store: for coming to rest.
    pub(super) answered: BTreeMap<StoreId, u64>,
    asked_of: BTreeMap<u64, StoreId>,
    steps: u64,
}

fn config(data: &Path, id: StoreId, stores: u64) -> Result<Config, String> {
    let founders: Vec<String> = (1..=stores).map(|store| format!("{}:{RPC_PORT}", host_of(StoreId(store)))).collect();
    let arguments = [
        "sim".to_owned(),
        format!("--data={}", data.display()),
        format!("--node-name={}", host_of(id)),
        format!("--web.listen-address=0.0.0.0:{HTTP_PORT}"),
        format!("--rpc.listen-address=0.0.0.0:{RPC_PORT}"),
        format!("--rpc.advertise-address={}:{RPC_PORT}", host_of(id)),
        format!("--initial-nodes={}", founders.join(",")),
        "--storage.memory=64MiB".to_owned(),
        "--storage.min-free=0".to_owned(),
        "--storage.scrub-period=0".to_owned(),
        "--self-metrics.interval=0".to_owned(),
        "--query.max-concurrency=20".to_owned(),
    ];
    let matches = Flags::augment_args(clap::Command::new("sim")).try_get_matches_from(arguments).map_err(|error| error.to_string())?;
    let flags = Flags::from_arg_matches(&matches).map_err(|error| error.to_string())?;
    Config::load(&flags, &FileArgs { path: None, check: false }).map(|(config, _)| config).map_err(|error| error.to_string())
}

impl Control {
    fn new(plan: Plan, directory: &Path, keep_trace: bool) -> Result<Self, String> {
        let watch = Watch::with_invariants(keep_trace, invariants::of_logs());
        let mut builder = turmoil::Builder::new();
        builder
            .rng_seed(plan.seed)
            .simulation_duration(Duration::from_secs(3600))
            .tick_duration(TICK)
            .min_message_latency(Duration::from_millis(1))
            .max_message_latency(plan.latency_max)
            .tcp_capacity(1 << 14)
            .enable_random_order();
        let (jobs, queue) = mpsc::channel(JOBS_WAITING_MAX);
        let clients = Arc::new(Clients { seed: plan.seed, jobs: Mutex::new(Some(queue)), answers: Mutex::default() });
        let mut control = Self {
            sim: builder.build(),
            random: Random::new(plan.seed, "control"),
            stores: BTreeMap::new(),
            watch,
            oracle: SampleOracle::new(plan.seed),
            clients,
            jobs,
            waiting: BTreeMap::new(),
            again: Vec::new(),
            next_number: 1,
            next_sample: BTreeMap::new(),
            next_ask_at: Duration::ZERO,
            answered: BTreeMap::new(),
            asked_of: BTreeMap::new(),
            steps: 0,
            plan,
        };
        control.begin(directory)?;
        Ok(control)
    }

    fn begin(&mut self, directory: &Path) -> Result<(), String> {
        for id in (1..=self.plan.stores).map(StoreId) {
            let running = Arc::<Mutex<Option<Running>>>::default();
            let pace = Random::new(self.plan.seed, &format!("disk {id}"));
            let log = LogDisk::new(id, self.watch.clone(), pace, self.plan.sync_ms_max).with_groups(group_of(Arc::clone(&running)));
            let store = Arc::new(Store {
                id,
                clock: SimClock::default(),
                log: Mutex::new(log),
                running,
                fatal: Arc::default(),
                boots: Mutex::default(),
                config: config(&directory.join(host_of(id)), id, self.plan.stores)?,
            });
            self.stores.insert(id, Arc::clone(&store));
            self.sim.host(host_of(id), move || Arc::clone(&store).run());
        }
        let clients = Arc::clone(&self.clients);
        self.sim.client(CLIENTS, async move { clients.run().await });
        Ok(())
    }

    /// Lets one tick pass, and looks at what came of it.
    pub(super) fn step(&mut self) {
        if let Err(error) = self.sim.step() {
            self.watch.fail(format!("a store's process ended: {error}"));
        }
        interposed::advance_to(self.sim.elapsed());
        self.steps += 1;
        self.take_answers();
        if self.steps.is_multiple_of(LOOK_EVERY) {
            self.look();
        }
        if let Some(panic) = crate::panics::take() {
            self.watch.fail(panic);
        }
        let failed: Vec<StoreId> = self.stores.values().filter(|store| store.fatal.lock().is_some()).map(|store| store.id).collect();
        for store in failed {
            self.crash(store);
            self.start(store);
        }
    }

    fn statuses(&self) -> Vec<(u64, GroupStatus)> {
        let running = self.stores.values().filter_map(|store| {
            let running = store.running.lock();
            let running = running.as_ref()?;
            Some(running.node.groups.list().iter().map(|group| (running.boot, group.status())).collect::<Vec<_>>())
        });
        running.flatten().collect()
    }

    /// Shows what the groups tell of themselves, where it agrees with their disks: what a node tells is a moment old, and a replica may have
    /// applied what its slow disk does not have yet, so what it applied cannot be read from there. The oracle judges what clients see.
    fn look(&mut self) {
        for (boot, status) in self.statuses() {
            let vote = self.watch.with(|watcher| watcher.world.replica(status.replica).and_then(|seen| seen.live.vote));
            if vote.is_some_and(|vote| vote.term == status.term) {
                self.watch.see(&Event::Status { boot, status: &status });
            }
        }
    }

    fn send(&mut self, store: StoreId, ask: Ask, waiting: Waiting) {
        let number = self.next_number;
        self.next_number += 1;
        if self.jobs.try_send((number, store, ask)).is_ok() {
            self.waiting.insert(number, waiting);
            self.asked_of.insert(number, store);
        }
    }

    fn some_store(&mut self) -> StoreId {
        StoreId(self.random.within(1..=self.plan.stores))
    }

    fn take_answers(&mut self) {
        let answers = std::mem::take(&mut *self.clients.answers.lock());
        for Answered { number, status, body } in answers {
            let store = self.asked_of.remove(&number).unwrap_or_default();
            let Some(waiting) = self.waiting.remove(&number) else { continue };
            self.watch
                .with(|watcher| watcher.trace.line(|| format!("store {store} answered {number} with {status}, {} bytes", body.len())));
            if let Err(violation) = self.judge(store, waiting, status, &body) {
                self.watch.fail(format!("request {number} to store {store}: {violation}"));
            }
        }
    }

    fn judge(&mut self, store: StoreId, waiting: Waiting, status: u16, body: &[u8]) -> Result<(), String> {
        let text = || String::from_utf8_lossy(&body[..body.len().min(300)]).into_owned();
        match (waiting, status) {
            (Waiting::Write { samples, .. }, 200 | 204) => {
                self.oracle.acknowledge(&samples);
                // Senders repeat what they believe lost: it must change nothing.
                if self.random.chance(15) {
                    self.write_again(samples, 1);
                }
            }
            // Until the cluster has made its first workspace there is none to write into.
            (Waiting::Write { samples, attempts }, 404) if self.oracle.acknowledged_count == 0 => self.write_again(samples, attempts + 1),
            // A sender drops what it is told to be wrong: nothing of ours is.
            (Waiting::Write { .. }, 400..=499) => return Err(format!("a right write is refused with {status}: {}", text())),
            (Waiting::Write { samples, attempts }, _) => {
                self.oracle.unknown_count += 1;
                self.write_again(samples, attempts + 1);
            }
            (Waiting::Points(least), 200) => {
                let points = wire::matrix(body).ok_or_else(|| format!("not a matrix: {}", text()))?;
                self.oracle.check_points(&least, &points)?;
                *self.answered.entry(store).or_default() += 1;
            }
            (Waiting::Count(least), 200) => {
                let count = wire::scalar(body).ok_or_else(|| format!("not a number: {}", text()))?;
                self.oracle.check_count(least, count)?;
            }
            (Waiting::Points(_) | Waiting::Count(_), 400..=499) => {
                return Err(format!("a right query is refused with {status}: {}", text()));
            }
            (Waiting::Points(_) | Waiting::Count(_) | Waiting::Operation, _) => {}
        }
        Ok(())
    }

    /// Sends a write again, a while later, as Prometheus does.
    fn write_again(&mut self, samples: Arc<[SampleId]>, attempts: u64) {
        let pause = self.random.millis(10, 100 * attempts.min(20));
        self.again.push((self.sim.elapsed() + pause, samples, attempts));
    }

    /// Sends what is due again.
    pub(super) fn resend(&mut self) {
        let now = self.sim.elapsed();
        let (due, later) = std::mem::take(&mut self.again).into_iter().partition(|(at, ..)| *at <= now);
        self.again = later;
        for (_, samples, attempts) in due {
            let store = self.some_store();
            self.send(store, Ask::Write(Arc::clone(&samples)), Waiting::Write { samples, attempts });
        }
    }

    /// Whether every write was acknowledged.
    pub(super) fn is_all_written(&self) -> bool {
        self.again.is_empty() && !self.waiting.values().any(|waiting| matches!(waiting, Waiting::Write { .. }))
    }

    /// Clients act: new writes, and queries.
    fn clients(&mut self) {
        self.resend();
        while self.sim.elapsed() >= self.next_ask_at {
            self.next_ask_at = self.sim.elapsed() + self.random.around(self.plan.op_interval * 2);
            if self.waiting.len() >= IN_FLIGHT_MAX {
                continue;
            }
            let store = self.some_store();
            match self.random.within(0..=99) {
                0..=5 => self.query_points(store),
                6..=20 => {
                    let least = self.oracle.least_count();
                    self.send(store, Ask::Count, Waiting::Count(least));
                }
                _ => self.write(store),
            }
        }
    }

    /// Writes some new samples.
    pub(super) fn write(&mut self, store: StoreId) {
        let mut samples = Vec::new();
        for _ in 0..self.random.within(1..=6) {
            let series = self.random.within(1..=SERIES);
            let next = self.next_sample.entry(series).or_default();
            for _ in 0..self.random.within(1..=3) {
                samples.push(SampleId { series, number: *next });
                *next += 1;
            }
        }
        self.oracle.issue(&samples);
        let samples: Arc<[SampleId]> = samples.into();
        self.send(store, Ask::Write(Arc::clone(&samples)), Waiting::Write { samples, attempts: 1 });
    }

    /// Asks a store for everything.
    pub(super) fn query_points(&mut self, store: StoreId) {
        let least = self.oracle.least();
        self.send(store, Ask::Points, Waiting::Points(least));
    }

    pub(super) fn has_failed(&self) -> bool {
        self.watch.with(|watcher| watcher.violation.is_some())
    }

    /// Steps until the cluster is founded and has acknowledged a write.
    fn found(&mut self) {
        let mut next = Duration::ZERO;
        while self.oracle.acknowledged_count == 0 && !self.has_failed() {
            self.step();
            self.resend();
            if self.sim.elapsed() >= next && self.waiting.is_empty() && self.again.is_empty() {
                next = self.sim.elapsed() + Duration::from_millis(250);
                let store = self.some_store();
                self.write(store);
            }
            if self.sim.elapsed() > FOUNDING_MAX {
                self.watch.fail(format!("liveness: no write was acknowledged within {} s", FOUNDING_MAX.as_secs()));
            }
        }
    }

    fn inside(&self, id: StoreId, work: Inside) -> bool {
        let Some(store) = self.stores.get(&id) else { return false };
        store.running.lock().as_ref().is_some_and(|running| running.inside.try_send(work).is_ok())
    }

    /// A shard, or the meta group, with its leader's view.
    fn some_led(&self, random: &mut Random) -> Option<GroupStatus> {
        let led: Vec<GroupStatus> = self.statuses().into_iter().map(|(_, status)| status).filter(|status| status.is_leader).collect();
        random.pick(&led).cloned()
    }

    /// Moves a replica to a store that has none of the shard.
    fn change(&mut self, random: &mut Random) -> bool {
        let Some(status) = self.some_led(random) else { return false };
        let homes: Vec<StoreId> = status.voters.values().copied().collect();
        let free: Vec<StoreId> = self.stores.keys().copied().filter(|store| !homes.contains(store)).collect();
        let (Some(from), Some(to)) = (random.pick(&homes).copied(), random.pick(&free).copied()) else { return false };
        let path = format!("/cluster/shards/{}/move", status.shard);
        let store = self.some_store();
        self.send(store, Ask::Operate("POST", path, format!("from={from}&to={to}")), Waiting::Operation);
        true
    }
}

/// The group of a replica that a store writes for.
fn group_of(running: Arc<Mutex<Option<Running>>>) -> impl Fn(ReplicaId) -> ShardId + Send + Sync {
    move |replica| {
        if replica.0 < FIRST_GIVEN_REPLICA {
            return ShardId::META;
        }
        let running = running.lock();
        let groups = running.iter().flat_map(|running| running.node.groups.list());
        groups.into_iter().find(|group| group.replica() == replica).map_or(ShardId(u64::MAX), |group| group.shard())
    }
}

impl Cluster for Control {
    fn sim(&mut self) -> &mut turmoil::Sim<'static> {
        &mut self.sim
    }

    fn plan(&self) -> &Plan {
        &self.plan
    }

    fn watch(&self) -> &Watch {
        &self.watch
    }

    fn stores(&self) -> Vec<StoreId> {
        self.stores.keys().copied().collect()
    }

    fn parts(&self, store: StoreId) -> Option<(Arc<LogDisk>, SimClock)> {
        self.stores.get(&store).map(|store| (Arc::clone(&store.log.lock()), store.clock.clone()))
    }

    fn crash(&mut self, id: StoreId) {
        let Some(store) = self.stores.get(&id).cloned() else { return };
        if !self.sim.is_host_running(host_of(id)) {
            return;
        }
        drop(store.running.lock().take());
        self.sim.crash(host_of(id));
        let after = store.log.lock().crash();
        *store.log.lock() = after;
        *store.fatal.lock() = None;
    }

    fn start(&mut self, id: StoreId) {
        if !self.sim.is_host_running(host_of(id)) {
            self.sim.bounce(host_of(id));
        }
    }

    fn work(&mut self, kind: Fault, random: &mut Random) -> bool {
        match kind {
            Fault::Membership => self.change(random),
            Fault::Transfer => self.some_led(random).is_some_and(|status| {
                let others: Vec<ReplicaId> = status.voters.keys().copied().filter(|replica| *replica != status.replica).collect();
                let home = status.voters.get(&status.replica).copied();
                let to = random.pick(&others).copied();
                home.zip(to).is_some_and(|(home, to)| self.inside(home, Inside::Transfer(status.shard, to)))
            }),
            _ => {
                let statuses = self.statuses();
                let some = random.pick(&statuses).map(|(_, status)| status.clone());
                some.is_some_and(|status| {
                    let homes = status.voters.values().copied();
                    homes.map(|home| self.inside(home, Inside::Checkpoint(status.shard))).fold(false, |any, sent| any | sent)
                })
            }
        }
    }
}

/// Where the databases of chunks of a process are: in memory where that can be had.
#[must_use]
pub fn directory(process: u32, seed: u64) -> PathBuf {
    let memory = Path::new("/dev/shm");
    let base = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
    base.join(format!("sim-{process}-{seed}"))
}

/// Runs a plan to its end, or to the first broken rule.
#[must_use]
pub fn run(plan: Plan, keep_trace: bool) -> Report {
    let directory = directory(std::process::id(), plan.seed);
    let mut control = match Control::new(plan.clone(), &directory, keep_trace) {
        Ok(control) => control,
        Err(reason) => {
            return Report { seed: plan.seed, violation: Some(format!("no node could be configured: {reason}")), ..Report::default() };
        }
    };
    control.found();
    let mut faults = Faults::new(&control.plan);
    let until = control.sim.elapsed() + control.plan.storm;
    while control.sim.elapsed() < until && !control.has_failed() {
        control.step();
        control.clients();
        faults.act(&mut control);
    }
    if !control.has_failed() {
        faults.heal_all(&mut control);
        rest::converge(&mut control);
    }
    let simulated = control.sim.elapsed();
    let report = control.watch.with(|watcher| Report {
        seed: plan.seed,
        trace: watcher.trace.digest(),
        simulated,
        acknowledged: control.oracle.acknowledged_count,
        unknown: control.oracle.unknown_count,
        reads: control.oracle.queries_count,
        faults: faults.counts().clone(),
        violation: watcher.violation.clone(),
        lines: watcher.trace.lines().to_vec(),
    });
    // The process ends without closing what is open.
    let _ = std::fs::remove_dir_all(&directory);
    report
}
