//! The run: time, clients, and what they are told.

use super::machine::ListMachine;
use super::oracle::{Oracle, Outcome};
use super::rest;
use super::store::{Command, Done, Placed, Process, Store};
use super::work;
use crate::clock::SimClock;
use crate::disk::LogDisk;
use crate::faults::{Cluster, Faults};
use crate::interposed;
use crate::network::host_of;
use crate::plan::{Fault, Plan};
use crate::random::Random;
use crate::report::Report;
use crate::watch::{Event, Watch};
use model::{ReplicaId, ShardId, StoreId};
use parking_lot::Mutex;
use raft::{GroupStatus, RaftConfig};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// Simulated time of one step.
const TICK: Duration = Duration::from_millis(1);
/// Steps between two looks at all replicas.
const LOOK_EVERY: u64 = 4;
/// Replica ids of founders are the group times this plus their place.
const REPLICAS_PER_GROUP: u64 = 1000;
/// Bytes of an operation beside its number, mostly and at most.
const OP_BYTES: [u64; 2] = [64, 40_000];

/// What a client waits for.
#[derive(Clone, Copy, Debug)]
enum Pending {
    Op { shard: ShardId, store: StoreId },
    Read { store: StoreId, least: u64 },
}

/// The whole simulation.
pub(super) struct Control {
    pub(super) sim: turmoil::Sim<'static>,
    pub(super) plan: Plan,
    pub(super) random: Random,
    pub(super) stores: BTreeMap<StoreId, Arc<Store>>,
    pub(super) watch: Watch,
    pub(super) oracle: Oracle,
    /// Where each group's replicas are, as far as was decided.
    pub(super) members: BTreeMap<ShardId, BTreeMap<ReplicaId, StoreId>>,
    /// Groups whose members are being changed, and by which store.
    pub(super) changing: BTreeMap<ShardId, StoreId>,
    pub(super) next_replica: BTreeMap<ShardId, u64>,
    pending: BTreeMap<u64, Pending>,
    next_op: u64,
    next_op_at: Duration,
    steps: u64,
}

impl Control {
    fn new(plan: Plan, keep_trace: bool) -> Self {
        let watch = Watch::new(keep_trace);
        let mut builder = turmoil::Builder::new();
        builder
            .rng_seed(plan.seed)
            .simulation_duration(Duration::from_secs(3600))
            .tick_duration(TICK)
            .min_message_latency(Duration::from_millis(1))
            .max_message_latency(plan.latency_max)
            .tcp_capacity(1 << 14)
            .enable_random_order();
        let mut control = Self {
            sim: builder.build(),
            random: Random::new(plan.seed, "control"),
            stores: BTreeMap::new(),
            watch,
            oracle: Oracle::default(),
            members: BTreeMap::new(),
            changing: BTreeMap::new(),
            next_replica: BTreeMap::new(),
            pending: BTreeMap::new(),
            next_op: 1,
            next_op_at: Duration::ZERO,
            steps: 0,
            plan,
        };
        control.place();
        control.begin();
        control
    }

    /// Makes the stores, and decides where the groups' first replicas are.
    fn place(&mut self) {
        let peers: Vec<StoreId> = (1..=self.plan.stores).map(StoreId).collect();
        let answers = Arc::new(Mutex::new(Vec::new()));
        for store in &peers {
            let pace = Random::new(self.plan.seed, &format!("disk {store}"));
            let log = LogDisk::new(*store, self.watch.clone(), pace, self.plan.sync_ms_max);
            let store = Store {
                id: *store,
                clock: SimClock::default(),
                log: Mutex::new(log),
                placed: Mutex::default(),
                machines: Mutex::default(),
                process: Mutex::default(),
                fatal: Arc::default(),
                boots: Mutex::default(),
                answers: Arc::clone(&answers),
                peers: peers.clone(),
                config: config(&self.plan),
                watch: self.watch.clone(),
            };
            self.stores.insert(store.id, Arc::new(store));
        }
        for shard in (1..=self.plan.groups).map(ShardId) {
            let homes = self.random.shuffled(peers.clone());
            self.next_replica.insert(shard, shard.0 * REPLICAS_PER_GROUP);
            for home in homes.into_iter().take(self.plan.voters) {
                self.add_replica(shard, home);
            }
        }
    }

    /// Gives a store a new replica of a group; it is opened with the store's next start, or by command.
    pub(super) fn add_replica(&mut self, shard: ShardId, home: StoreId) -> ReplicaId {
        let next = self.next_replica.entry(shard).or_default();
        *next += 1;
        let replica = ReplicaId(*next);
        self.watch.with(|watcher| watcher.world.register(replica, shard, home));
        self.members.entry(shard).or_default().insert(replica, home);
        if let Some(store) = self.stores.get(&home) {
            store.placed.lock().insert(shard, Placed::new(replica));
        }
        replica
    }

    fn begin(&mut self) {
        for (id, store) in &self.stores {
            let store = Arc::clone(store);
            self.sim.host(host_of(*id), move || Arc::clone(&store).run());
        }
        for _ in 0..20 {
            self.step();
        }
        for (shard, members) in self.members.clone() {
            if let Some(home) = members.values().next() {
                self.send(*home, Command::Initialize(shard, members.clone()));
            }
        }
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
        self.end_failed_processes();
    }

    fn look(&self) {
        for store in self.stores.values() {
            let Some(Process { boot, groups, .. }) = store.process.lock().clone() else { continue };
            for group in groups.list() {
                self.watch.see(&Event::Status { boot, status: &group.status() });
            }
        }
    }

    /// A process that no longer knows what is durable stops itself.
    fn end_failed_processes(&mut self) {
        let failed: Vec<StoreId> = self.stores.iter().filter(|(_, store)| store.fatal.lock().is_some()).map(|(id, _)| *id).collect();
        for store in failed {
            self.cut_power(store);
            self.bounce(store);
        }
    }

    /// Cuts a store's power.
    fn cut_power(&mut self, id: StoreId) {
        let Some(store) = self.stores.get(&id).cloned() else { return };
        if store.process.lock().take().is_none() && !self.sim.is_host_running(host_of(id)) {
            return;
        }
        self.sim.crash(host_of(id));
        let after = store.log.lock().crash();
        *store.log.lock() = after;
        store.machines.lock().clear();
        *store.fatal.lock() = None;
        self.changing.retain(|_, by| *by != id);
        // What it was asked, and has not answered, nobody will.
        self.take_answers();
        let lost: Vec<u64> = self.pending.iter().filter(|(_, pending)| pending.store() == id).map(|(op, _)| *op).collect();
        for op in lost {
            if let Some(Pending::Op { shard, .. }) = self.pending.remove(&op) {
                let _ = self.oracle.answer(shard, op, &Outcome::Unknown("the store lost its power".to_owned()));
            }
        }
    }

    /// Starts a store that is down.
    fn bounce(&mut self, id: StoreId) {
        if !self.sim.is_host_running(host_of(id)) {
            self.sim.bounce(host_of(id));
        }
    }

    /// Whether a store's process takes commands.
    pub(super) fn is_up(&self, id: StoreId) -> bool {
        self.stores.get(&id).is_some_and(|store| store.process.lock().is_some())
    }

    pub(super) fn send(&self, id: StoreId, command: Command) -> bool {
        let Some(store) = self.stores.get(&id) else { return false };
        store.process.lock().as_ref().is_some_and(|process| process.commands.try_send(command).is_ok())
    }

    /// Who a group's replicas take for the leader, if one of them is: the one of the highest term.
    pub(super) fn leader(&self, shard: ShardId) -> Option<(StoreId, GroupStatus)> {
        let statuses = self.stores.iter().filter_map(|(id, store)| {
            let groups = Arc::clone(&store.process.lock().as_ref()?.groups);
            Some((*id, groups.group(shard)?.status()))
        });
        statuses.filter(|(_, status)| status.is_leader).max_by_key(|(_, status)| status.term)
    }

    /// An open replica's state.
    pub(super) fn machine(&self, shard: ShardId, store: StoreId) -> Option<Arc<ListMachine>> {
        self.stores.get(&store)?.machines.lock().get(&shard).cloned()
    }

    fn take_answers(&mut self) {
        let Some(answers) = self.stores.values().next().map(|store| std::mem::take(&mut *store.answers.lock())) else { return };
        for answer in answers {
            self.watch.with(|watcher| watcher.trace.line(|| format!("{answer:?}")));
            let checked = match answer {
                // One that the store's end left without an answer has been counted already.
                Done::Proposed(op, shard, outcome) if self.pending.remove(&op).is_some() => self.oracle.answer(shard, op, &outcome),
                Done::Read(read, shard, outcome) => match (self.pending.remove(&read), outcome) {
                    (Some(Pending::Read { least, .. }), Ok(seen)) => self.oracle.end_read(shard, least, seen),
                    _ => Ok(()),
                },
                Done::Changed(shard, outcome) => {
                    self.changing.remove(&shard);
                    if let Ok(left) = outcome {
                        self.destroy_others(shard, &left);
                    }
                    Ok(())
                }
                Done::Proposed(..) | Done::Destroyed(_) => Ok(()),
            };
            if let Err(violation) = checked {
                self.watch.fail(violation);
            }
        }
    }

    /// Replicas that no longer belong to a group go.
    pub(super) fn destroy_others(&mut self, shard: ShardId, left: &BTreeSet<ReplicaId>) {
        let members = self.members.entry(shard).or_default();
        let gone: Vec<(ReplicaId, StoreId)> =
            members.iter().filter(|(replica, _)| !left.contains(replica)).map(|(replica, home)| (*replica, *home)).collect();
        for (replica, home) in gone {
            if self.send(home, Command::Destroy(shard, replica))
                && let Some(members) = self.members.get_mut(&shard)
            {
                members.remove(&replica);
            }
        }
    }

    /// Clients act: mostly proposals, some reads, at whoever is believed to lead or anywhere.
    fn clients(&mut self) {
        while self.sim.elapsed() >= self.next_op_at {
            self.next_op_at += self.random.around(self.plan.op_interval);
            let shard = ShardId(self.random.within(1..=self.plan.groups));
            self.ask(shard);
        }
    }

    fn ask(&mut self, shard: ShardId) {
        let homes: Vec<StoreId> = self.members.get(&shard).into_iter().flatten().map(|(_, home)| *home).collect();
        let anywhere = self.random.pick(&homes).copied();
        let led = self.leader(shard).map(|(leader, _)| leader);
        let is_read = self.random.chance(40);
        let Some(store) = (if is_read || self.random.chance(10) { anywhere } else { led.or(anywhere) }) else { return };
        let op = self.next_op;
        self.next_op += 1;
        if is_read {
            let pending = Pending::Read { store, least: self.oracle.begin_read(shard) };
            if self.send(store, Command::Read(op, shard)) {
                self.pending.insert(op, pending);
            }
            return;
        }
        let most = OP_BYTES[usize::from(self.random.chance(3))];
        let bytes = self.random.within(0..=most);
        let in_term = self.random.chance(50);
        self.oracle.ask(shard, op);
        if self.send(store, Command::Propose(op, shard, usize::try_from(bytes).unwrap_or(0), in_term)) {
            self.pending.insert(op, Pending::Op { shard, store });
        }
    }

    /// One more acknowledged operation is wanted of each group: asks until it is there.
    pub(super) fn probe(&mut self) {
        for shard in (1..=self.plan.groups).map(ShardId) {
            self.ask(shard);
        }
    }

    pub(super) fn has_failed(&self) -> bool {
        self.watch.with(|watcher| watcher.violation.is_some())
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

    fn crash(&mut self, store: StoreId) {
        self.cut_power(store);
    }

    fn start(&mut self, store: StoreId) {
        self.bounce(store);
    }

    fn work(&mut self, kind: Fault, random: &mut Random) -> bool {
        match kind {
            Fault::Transfer => work::transfer(self, random),
            Fault::Membership => work::replace(self, random),
            _ => work::checkpoint(self, random),
        }
    }
}

impl Pending {
    fn store(&self) -> StoreId {
        match self {
            Self::Op { store, .. } | Self::Read { store, .. } => *store,
        }
    }
}

fn config(plan: &Plan) -> RaftConfig {
    let mut config = RaftConfig { apply_threads: 1, tail_cache_bytes: 64 << 10, lag_bytes: 64 << 10, ..RaftConfig::default() };
    if plan.is_hasty {
        config.heartbeat = Duration::from_millis(60);
        config.election_min = Duration::from_millis(300);
        config.election_max = Duration::from_millis(600);
        config.restart_election_min = Duration::from_millis(20);
        config.restart_election_max = Duration::from_millis(100);
    }
    config
}

/// Runs a plan to its end, or to the first broken rule.
#[must_use]
pub fn run(plan: Plan, keep_trace: bool) -> Report {
    let mut control = Control::new(plan, keep_trace);
    let mut faults = Faults::new(&control.plan);
    while control.sim.elapsed() < control.plan.storm && !control.has_failed() {
        control.step();
        control.clients();
        faults.act(&mut control);
    }
    if !control.has_failed() {
        faults.heal_all(&mut control);
        rest::converge(&mut control);
    }
    let simulated = control.sim.elapsed();
    let counts = faults.counts().clone();
    control.watch.with(|watcher| Report {
        seed: control.plan.seed,
        trace: watcher.trace.digest(),
        simulated,
        acknowledged: control.oracle.acknowledged_count,
        unknown: control.oracle.unknown_count,
        reads: control.oracle.reads_count,
        faults: counts,
        violation: watcher.violation.clone(),
        lines: watcher.trace.lines().to_vec(),
    })
}
