//! The run: stores, clients, faults, time.

use super::agreement;
use super::requests::Requests;
use super::rest;
use super::store::{Inside, Store};
use super::work;
use crate::clock::SimClock;
use crate::disk::LogDisk;
use crate::faults::Cluster;
use crate::invariants;
use crate::network::host_of;
use crate::plan::{Fault, Plan};
use crate::random::Random;
use crate::report::Report;
use crate::stage::{self, Scenario, Stage, Told};
use crate::watch::{Event, Watch};
use model::StoreId;
use raft::GroupStatus;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// The name of the clients' host.
const CLIENTS: &str = "clients";
/// How long founding and the first acknowledged write may take.
const FOUNDING_MAX: Duration = Duration::from_secs(60);

/// The whole simulation.
pub(super) struct Control {
    pub(super) stage: Stage,
    pub(super) stores: BTreeMap<StoreId, Arc<Store>>,
    pub(super) requests: Requests,
}

impl Control {
    fn new(plan: Plan, directory: &Path, keep_trace: bool) -> Result<Self, String> {
        let requests = Requests::new(&plan);
        let stage = Stage::new(plan, Watch::with_invariants(keep_trace, invariants::of_logs()));
        let mut control = Self { stage, stores: BTreeMap::new(), requests };
        for id in (1..=control.stage.plan.stores).map(StoreId) {
            let store = Arc::new(Store::new(id, &control.stage.plan, control.stage.watch.clone(), directory)?);
            control.stores.insert(id, Arc::clone(&store));
            control.stage.sim.host(host_of(id), move || Arc::clone(&store).run());
        }
        let clients = control.requests.clients();
        control.stage.sim.client(CLIENTS, async move { clients.run().await });
        Ok(control)
    }

    pub(super) fn statuses(&self) -> Vec<(u64, GroupStatus)> {
        self.stores.values().flat_map(|store| store.statuses()).collect()
    }

    /// Shows what the groups tell of themselves, where it agrees with their disks: what a node tells is a moment old, and a replica may have
    /// applied what its slow disk does not have yet, so what it applied cannot be read from there. The oracle judges what clients see, and
    /// at rest replicas are compared.
    fn look(&mut self) {
        for (boot, status) in self.statuses() {
            let vote = self.stage.watch.with(|watcher| watcher.world.replica(status.replica).and_then(|seen| seen.live.vote));
            if vote.is_some_and(|vote| vote.term == status.term) {
                self.stage.watch.see(&Event::Status { boot, status: &status });
            }
        }
    }

    /// Has a node do something in its own process.
    pub(super) fn inside(&self, id: StoreId, work: Inside) -> bool {
        self.stores.get(&id).is_some_and(|store| store.inside(work))
    }

    /// Steps until the cluster is founded and has acknowledged a write.
    fn found(&mut self) {
        let mut next = Duration::ZERO;
        while self.requests.oracle.acknowledged_count == 0 && !self.stage.has_failed() {
            self.step();
            let now = self.stage.elapsed();
            self.requests.resend(now);
            if now >= next && self.requests.is_idle() {
                next = now + Duration::from_millis(250);
                let store = self.requests.some_store();
                self.requests.write(store, now);
            }
            if now > FOUNDING_MAX {
                self.stage.watch.fail(format!("liveness: no write was acknowledged within {} s", FOUNDING_MAX.as_secs()));
            }
        }
    }

    /// What is still waited for until all replicas agree.
    pub(super) fn disagreement(&self) -> Option<String> {
        agreement::look(&self.stores).unwrap_or_else(|violation| {
            self.stage.watch.fail(format!("replicas agree: {violation}"));
            None
        })
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
        self.stores.get(&store).map(|store| (store.log(), store.clock.clone()))
    }

    fn crash(&mut self, id: StoreId) {
        let Some(store) = self.stores.get(&id).cloned() else { return };
        if !self.stage.sim.is_host_running(host_of(id)) {
            return;
        }
        store.forget_process();
        self.stage.sim.crash(host_of(id));
        store.after_power_cut();
    }

    fn start(&mut self, id: StoreId) {
        if !self.stage.sim.is_host_running(host_of(id)) {
            self.stage.sim.bounce(host_of(id));
        }
    }

    fn work(&mut self, kind: Fault, random: &mut Random) -> bool {
        work::work(self, kind, random)
    }
}

impl Scenario for Control {
    fn step(&mut self) {
        self.stage.tick();
        self.requests.take_answers(&self.stage.watch, self.stage.elapsed());
        if self.stage.is_time_to_look() {
            self.look();
        }
        self.stage.take_panic();
        let failed: Vec<StoreId> = self.stores.iter().filter(|(_, store)| store.is_fatal()).map(|(id, _)| *id).collect();
        for store in failed {
            self.crash(store);
            self.start(store);
        }
    }

    fn clients(&mut self) {
        self.requests.act(self.stage.elapsed());
    }

    fn converge(&mut self) {
        rest::converge(self);
    }

    fn told(&self) -> Told {
        let oracle = &self.requests.oracle;
        Told { acknowledged: oracle.acknowledged_count, unknown: oracle.unknown_count, reads: oracle.queries_count }
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
    let (seed, directory) = (plan.seed, directory(std::process::id(), plan.seed));
    let report = match Control::new(plan, &directory, keep_trace) {
        Ok(mut control) => {
            control.found();
            stage::run(&mut control)
        }
        Err(reason) => Report { seed, violation: Some(format!("no node could be configured: {reason}")), ..Report::default() },
    };
    // The process ends without closing what is open.
    let _ = std::fs::remove_dir_all(&directory);
    report
}
