//! What every simulation stands on: its plan, simulated time and network, the watcher; and how a run goes.

use crate::faults::{Cluster, Faults};
use crate::interposed;
use crate::plan::Plan;
use crate::report::Report;
use crate::watch::Watch;
use std::fmt;
use std::time::Duration;

/// Simulated time of one step.
const TICK: Duration = Duration::from_millis(1);
/// Steps between two looks at all replicas.
const LOOK_EVERY: u64 = 4;
/// Simulated time after which no run goes on.
const DURATION_MAX: Duration = Duration::from_secs(3600);
/// Bytes that a connection takes in before its reader has read them.
const TCP_CAPACITY: usize = 1 << 14;

/// See the module.
pub struct Stage {
    /// The simulated network and processes.
    pub sim: turmoil::Sim<'static>,
    /// What the run is to be.
    pub plan: Plan,
    /// What everything is reported to.
    pub watch: Watch,
    steps: u64,
}

impl fmt::Debug for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stage").field("plan", &self.plan).field("steps", &self.steps).finish_non_exhaustive()
    }
}

/// What clients were told.
#[derive(Clone, Copy, Debug, Default)]
pub struct Told {
    /// Operations or requests acknowledged.
    pub acknowledged: u64,
    /// Those with an unknown outcome.
    pub unknown: u64,
    /// Reads or queries answered.
    pub reads: u64,
}

impl Stage {
    /// An empty one.
    #[must_use]
    pub fn new(plan: Plan, watch: Watch) -> Self {
        let mut builder = turmoil::Builder::new();
        builder
            .rng_seed(plan.seed)
            .simulation_duration(DURATION_MAX)
            .tick_duration(TICK)
            .min_message_latency(Duration::from_millis(1))
            .max_message_latency(plan.latency_max)
            .tcp_capacity(TCP_CAPACITY)
            .enable_random_order();
        Self { sim: builder.build(), plan, watch, steps: 0 }
    }

    /// Simulated time since the beginning.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.sim.elapsed()
    }

    /// Whether a rule was broken.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.watch.with(|watcher| watcher.violation.is_some())
    }

    /// Lets one tick pass.
    pub fn tick(&mut self) {
        if let Err(error) = self.sim.step() {
            self.watch.fail(format!("a store's process ended: {error}"));
        }
        interposed::advance_to(self.sim.elapsed());
        self.steps += 1;
    }

    /// Whether all replicas are to be looked at after this tick.
    #[must_use]
    pub fn is_time_to_look(&self) -> bool {
        self.steps.is_multiple_of(LOOK_EVERY)
    }

    /// A panic of any task is a broken rule.
    pub fn take_panic(&self) {
        if let Some(panic) = crate::panics::take() {
            self.watch.fail(panic);
        }
    }

    /// What came of the run.
    #[must_use]
    pub fn report(&self, told: Told, faults: &Faults) -> Report {
        let Told { acknowledged, unknown, reads } = told;
        self.watch.with(|watcher| Report {
            seed: self.plan.seed,
            trace: watcher.trace.digest(),
            simulated: self.sim.elapsed(),
            acknowledged,
            unknown,
            reads,
            faults: faults.counts().clone(),
            violation: watcher.violation.clone(),
            lines: watcher.trace.lines().to_vec(),
        })
    }
}

/// A kind of simulation.
pub trait Scenario: Cluster {
    /// Lets one tick pass, and looks at what came of it.
    fn step(&mut self);
    /// Clients act.
    fn clients(&mut self);
    /// After the storm: everything must come to rest within a bound.
    fn converge(&mut self);
    /// What clients were told.
    fn told(&self) -> Told;
}

/// Runs the storm and what follows it, to the end or to the first broken rule.
#[must_use]
pub fn run(scenario: &mut impl Scenario) -> Report {
    let mut faults = Faults::new(&scenario.stage().plan);
    let until = scenario.stage().elapsed() + scenario.stage().plan.storm;
    while scenario.stage().elapsed() < until && !scenario.stage().has_failed() {
        scenario.step();
        scenario.clients();
        faults.act(scenario);
    }
    if !scenario.stage().has_failed() {
        faults.heal_all(scenario);
        scenario.converge();
    }
    let told = scenario.told();
    scenario.stage().report(told, &faults)
}
