//! The run: time, clients, and what they are told.

use super::machine::ListMachine;
use super::oracle::{Oracle, Outcome};
use super::rest;
use super::store::{Command, Done, Placed, Process, Store};
use super::work;
use crate::clock::SimClock;
use crate::disk::LogDisk;
use crate::faults::Cluster;
use crate::network::host_of;
use crate::plan::{Fault, Plan};
use crate::random::Random;
use crate::report::Report;
use crate::stage::{self, Scenario, Stage, Told};
use crate::watch::{Event, Watch};
use model::{ReplicaId, ShardId, StoreId};
use parking_lot::Mutex;
use raft::{GroupStatus, RaftConfig};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

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
    pub(super) stage: Stage,
    pub(super) random: Random,
    pub(super) stores: BTreeMap<StoreId, Arc<Store>>,
    pub(super) oracle: Oracle,
    /// Where each group's replicas are, as far as was decided.
    pub(super) members: BTreeMap<ShardId, BTreeMap<ReplicaId, StoreId>>,
    /// Groups whose members are being changed, and by which store.
    pub(super) changing: BTreeMap<ShardId, StoreId>,
    pub(super) next_replica: BTreeMap<ShardId, u64>,
    pending: BTreeMap<u64, Pending>,
    next_op: u64,
    next_op_at: Duration,
}

impl Control {
    fn new(plan: Plan, keep_trace: bool) -> Self {
        let mut control = Self {
            random: Random::new(plan.seed, "control"),
            stage: Stage::new(plan, Watch::new(keep_trace)),
            stores: BTreeMap::new(),
            oracle: Oracle::default(),
            members: BTreeMap::new(),
            changing: BTreeMap::new(),
            next_replica: BTreeMap::new(),
            pending: BTreeMap::new(),
            next_op: 1,
            next_op_at: Duration::ZERO,
        };
        control.place();
        control.begin();
        control
    }

    /// Makes the stores, and decides where the groups' first replicas are.
    fn place(&mut self) {
        let peers: Vec<StoreId> = (1..=self.stage.plan.stores).map(StoreId).collect();
        let answers = Arc::new(Mutex::new(Vec::new()));
        for store in &peers {
            let pace = Random::new(self.stage.plan.seed, &format!("disk {store}"));
            let log = LogDisk::new(*store, self.stage.watch.clone(), pace, self.stage.plan.sync_ms_max);
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
                config: config(&self.stage.plan),
                watch: self.stage.watch.clone(),
            };
            self.stores.insert(store.id, Arc::new(store));
        }
        for shard in (1..=self.stage.plan.groups).map(ShardId) {
            let homes = self.random.shuffled(peers.clone());
            self.next_replica.insert(shard, shard.0 * REPLICAS_PER_GROUP);
            for home in homes.into_iter().take(self.stage.plan.voters) {
                self.add_replica(shard, home);
            }
        }
    }

    /// Gives a store a new replica of a group; it is opened with the store's next start, or by command.
    pub(super) fn add_replica(&mut self, shard: ShardId, home: StoreId) -> ReplicaId {
        let next = self.next_replica.entry(shard).or_default();
        *next += 1;
        let replica = ReplicaId(*next);
        self.stage.watch.with(|watcher| watcher.world.register(replica, shard, home));
        self.members.entry(shard).or_default().insert(replica, home);
        if let Some(store) = self.stores.get(&home) {
            store.placed.lock().insert(shard, Placed::new(replica));
        }
        replica
    }

    fn begin(&mut self) {
        for (id, store) in &self.stores {
            let store = Arc::clone(store);
            self.stage.sim.host(host_of(*id), move || Arc::clone(&store).run());
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

    fn look(&self) {
        for store in self.stores.values() {
            let Some(Process { boot, groups, .. }) = store.process.lock().clone() else { continue };
            for group in groups.list() {
                self.stage.watch.see(&Event::Status { boot, status: &group.status() });
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
        if store.process.lock().take().is_none() && !self.stage.sim.is_host_running(host_of(id)) {
            return;
        }
        self.stage.sim.crash(host_of(id));
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
        if !self.stage.sim.is_host_running(host_of(id)) {
            self.stage.sim.bounce(host_of(id));
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
            self.stage.watch.with(|watcher| watcher.trace.line(|| format!("{answer:?}")));
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
                self.stage.watch.fail(violation);
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
        for shard in (1..=self.stage.plan.groups).map(ShardId) {
            self.ask(shard);
        }
    }
}

impl Cluster for Control {
    fn stage(&mut self) -> &mut Stage {
        &mut self.stage
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

impl Scenario for Control {
    fn step(&mut self) {
        self.stage.tick();
        self.take_answers();
        if self.stage.is_time_to_look() {
            self.look();
        }
        self.stage.take_panic();
        self.end_failed_processes();
    }

    /// Mostly proposals, some reads, at whoever is believed to lead or anywhere.
    fn clients(&mut self) {
        while self.stage.elapsed() >= self.next_op_at {
            self.next_op_at += self.random.around(self.stage.plan.op_interval);
            let shard = ShardId(self.random.within(1..=self.stage.plan.groups));
            self.ask(shard);
        }
    }

    fn converge(&mut self) {
        rest::converge(self);
    }

    fn told(&self) -> Told {
        let Oracle { acknowledged_count, unknown_count, reads_count, .. } = self.oracle;
        Told { acknowledged: acknowledged_count, unknown: unknown_count, reads: reads_count }
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
    config.hibernate_after = plan.hibernate_after;
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
    stage::run(&mut Control::new(plan, keep_trace))
}
