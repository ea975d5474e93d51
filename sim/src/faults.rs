//! What goes wrong, and when it is mended.

use crate::clock::SimClock;
use crate::disk::LogDisk;
use crate::network::host_of;
use crate::plan::{Fault, Plan};
use crate::random::Random;
use crate::stage::Stage;
use model::StoreId;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// What faults are done to.
pub trait Cluster {
    /// What it stands on.
    fn stage(&mut self) -> &mut Stage;
    /// All stores.
    fn stores(&self) -> Vec<StoreId>;
    /// A store's log and clock.
    fn parts(&self, store: StoreId) -> Option<(Arc<LogDisk>, SimClock)>;
    /// Cuts a store's power.
    fn crash(&mut self, store: StoreId);
    /// Starts a store that is down.
    fn start(&mut self, store: StoreId);
    /// Does a piece of the work that faults meet: a checkpoint, a transfer, a change of members. True if there was something to do.
    fn work(&mut self, kind: Fault, random: &mut Random) -> bool;
}

type Link = (StoreId, StoreId);

/// What mends a fault.
#[derive(Clone, Debug)]
enum Mend {
    Start(StoreId),
    Repair(Vec<Link>),
    Release(Vec<Link>),
    Links,
    Pace,
    Disk(StoreId),
    Clock(StoreId),
}

/// The faults of one run.
#[derive(Debug)]
pub struct Faults {
    random: Random,
    kinds: Vec<Fault>,
    interval: Duration,
    next_at: Duration,
    mends: Vec<(Duration, Mend)>,
    /// Links that are cut or held: one fault a link.
    busy: BTreeSet<Link>,
    counts: BTreeMap<Fault, u64>,
}

fn link(a: StoreId, b: StoreId) -> Link {
    (a.min(b), a.max(b))
}

impl Faults {
    /// Those of a plan.
    #[must_use]
    pub fn new(plan: &Plan) -> Self {
        Self {
            random: Random::new(plan.seed, "faults"),
            kinds: plan.faults.iter().copied().collect(),
            interval: plan.fault_interval,
            next_at: Duration::from_secs(1),
            mends: Vec::new(),
            busy: BTreeSet::new(),
            counts: BTreeMap::new(),
        }
    }

    /// How many of each took place.
    #[must_use]
    pub fn counts(&self) -> &BTreeMap<Fault, u64> {
        &self.counts
    }

    /// Mends what is due, and breaks something if it is time.
    pub fn act(&mut self, control: &mut dyn Cluster) {
        let now = control.stage().sim.elapsed();
        let (due, later) = std::mem::take(&mut self.mends).into_iter().partition(|(at, _)| *at <= now);
        self.mends = later;
        for (_, mend) in due {
            self.mend(control, mend);
        }
        if now < self.next_at {
            return;
        }
        self.next_at = now + self.random.around(self.interval);
        if let Some(kind) = self.random.pick(&self.kinds).copied()
            && self.inject(control, kind)
        {
            *self.counts.entry(kind).or_default() += 1;
            control.stage().watch.with(|watcher| watcher.trace.line(|| format!("fault {kind:?}")));
        }
    }

    /// Mends everything.
    pub fn heal_all(&mut self, control: &mut dyn Cluster) {
        for (_, mend) in std::mem::take(&mut self.mends) {
            self.mend(control, mend);
        }
        let stores = control.stores();
        for store in stores {
            control.start(store);
        }
        control.stage().watch.with(|watcher| watcher.trace.line(|| "all is mended".to_owned()));
    }

    fn later(&mut self, control: &mut dyn Cluster, low_ms: u64, high_ms: u64, mend: Mend) {
        let at = control.stage().sim.elapsed() + self.random.millis(low_ms, high_ms);
        self.mends.push((at, mend));
    }

    fn mend(&mut self, control: &mut dyn Cluster, mend: Mend) {
        match mend {
            Mend::Start(store) => control.start(store),
            Mend::Repair(links) => {
                for (a, b) in links {
                    control.stage().sim.repair(host_of(a), host_of(b));
                    self.busy.remove(&link(a, b));
                }
            }
            Mend::Release(links) => {
                for (a, b) in links {
                    control.stage().sim.release(host_of(a), host_of(b));
                    self.busy.remove(&link(a, b));
                }
            }
            Mend::Links => {
                control.stage().sim.set_fail_rate(0.0);
                let stores = control.stores();
                for (at, a) in stores.iter().enumerate() {
                    for b in stores.iter().skip(at + 1).filter(|b| !self.busy.contains(&link(*a, **b))) {
                        control.stage().sim.repair(host_of(*a), host_of(*b));
                    }
                }
            }
            Mend::Pace => {
                let usual = control.stage().plan.latency_max;
                control.stage().sim.set_max_message_latency(usual);
            }
            Mend::Disk(store) => {
                if let Some((log, _)) = control.parts(store) {
                    log.set_slow(None);
                }
            }
            Mend::Clock(store) => {
                if let Some((_, clock)) = control.parts(store) {
                    clock.set_offset(0);
                }
            }
        }
    }

    fn inject(&mut self, control: &mut dyn Cluster, kind: Fault) -> bool {
        let stores = control.stores();
        let Some(store) = self.random.pick(&stores).copied() else { return false };
        let Some(other) = self.random.pick(&stores).copied().filter(|other| *other != store) else { return false };
        match kind {
            Fault::Crash => self.crash(control, &[store]),
            Fault::CrashAll => self.random.chance(30) && self.crash(control, &stores),
            Fault::Cut => self.cut(control, vec![(store, other)], false),
            Fault::OneWay => self.cut(control, vec![(store, other)], true),
            Fault::Isolate => {
                let links = stores.iter().filter(|other| **other != store).map(|other| (store, *other)).collect();
                let one_way = self.random.chance(30);
                self.cut(control, links, one_way)
            }
            Fault::Split => {
                let side = usize::try_from(self.random.within(1..=stores.len() as u64 - 1)).unwrap_or(1);
                let mixed = self.random.shuffled(stores);
                let (left, right) = mixed.split_at(side);
                let links = left.iter().flat_map(|a| right.iter().map(|b| (*a, *b))).collect();
                self.cut(control, links, false)
            }
            Fault::Hold => self.hold(control, store, other),
            Fault::Loss => {
                let rate = [0.0005, 0.002, 0.01][usize::from(self.random.chance(50)) + usize::from(self.random.chance(20))];
                control.stage().sim.set_fail_rate(rate);
                self.later(control, 200, 3000, Mend::Links);
                true
            }
            Fault::SlowNetwork => {
                let slow = self.random.millis(50, 600);
                control.stage().sim.set_max_message_latency(slow);
                self.later(control, 500, 4000, Mend::Pace);
                true
            }
            Fault::SlowDisk => self.on_disk(control, store, true),
            Fault::WriteError => self.on_disk(control, store, false),
            Fault::Checkpoint | Fault::Transfer | Fault::Membership => control.work(kind, &mut self.random),
            Fault::Clock => {
                // More than one would be a majority of three.
                if self.mends.iter().any(|(_, mend)| matches!(mend, Mend::Clock(_))) {
                    return false;
                }
                let off = [1, 500, 5_000, 31_536_000_000][usize::try_from(self.random.within(0..=3)).unwrap_or(0)];
                let sign = if self.random.chance(50) { 1 } else { -1 };
                let Some((_, clock)) = control.parts(store) else { return false };
                clock.set_offset(sign * off);
                self.later(control, 500, 5000, Mend::Clock(store));
                true
            }
        }
    }

    fn crash(&mut self, control: &mut dyn Cluster, stores: &[StoreId]) -> bool {
        for store in stores {
            control.crash(*store);
        }
        for store in stores {
            let most = if self.random.chance(30) { 8000 } else { 1500 };
            self.later(control, 0, most, Mend::Start(*store));
        }
        true
    }

    fn cut(&mut self, control: &mut dyn Cluster, links: Vec<Link>, one_way: bool) -> bool {
        let free: Vec<Link> = links.into_iter().filter(|(a, b)| self.busy.insert(link(*a, *b))).collect();
        for (a, b) in &free {
            if one_way {
                control.stage().sim.partition_oneway(host_of(*a), host_of(*b));
            } else {
                control.stage().sim.partition(host_of(*a), host_of(*b));
            }
        }
        let most = if self.random.chance(20) { 12_000 } else { 3000 };
        let is_any = !free.is_empty();
        self.later(control, 50, most, Mend::Repair(free));
        is_any
    }

    fn hold(&mut self, control: &mut dyn Cluster, a: StoreId, b: StoreId) -> bool {
        if !self.busy.insert(link(a, b)) {
            return false;
        }
        control.stage().sim.hold(host_of(a), host_of(b));
        self.later(control, 50, 4000, Mend::Release(vec![(a, b)]));
        true
    }

    fn on_disk(&mut self, control: &mut dyn Cluster, id: StoreId, slow: bool) -> bool {
        let Some((log, _)) = control.parts(id) else { return false };
        if slow {
            let most = self.random.within(50..=800);
            log.set_slow(Some(most));
            self.later(control, 500, 5000, Mend::Disk(id));
        } else {
            log.fail_next_write();
        }
        true
    }
}
