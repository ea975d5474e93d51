//! What a seed means: sizes, speeds, and which faults are left out. Every run leaves some out, so that the others get further.

use crate::random::Random;
use std::collections::BTreeSet;
use std::time::Duration;

/// A class of faults, or of work that faults meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// A store's power is cut, and comes back.
    Crash,
    /// All stores lose power at once.
    CrashAll,
    /// Two stores do not reach each other.
    Cut,
    /// One store does not reach another, which reaches it.
    OneWay,
    /// A store reaches nobody.
    Isolate,
    /// The stores are split in two.
    Split,
    /// Messages between two stores wait, and come later all at once.
    Hold,
    /// Connections break at random.
    Loss,
    /// All links are slow.
    SlowNetwork,
    /// A store's disk is slow.
    SlowDisk,
    /// A write of a store's log fails.
    WriteError,
    /// Checkpoints are written and logs purged.
    Checkpoint,
    /// Leaderships are handed over.
    Transfer,
    /// Members are replaced.
    Membership,
    /// A store's clock jumps.
    Clock,
}

/// All of them.
pub const FAULTS: [Fault; 15] = [
    Fault::Crash,
    Fault::CrashAll,
    Fault::Cut,
    Fault::OneWay,
    Fault::Isolate,
    Fault::Split,
    Fault::Hold,
    Fault::Loss,
    Fault::SlowNetwork,
    Fault::SlowDisk,
    Fault::WriteError,
    Fault::Checkpoint,
    Fault::Transfer,
    Fault::Membership,
    Fault::Clock,
];

/// One run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Where everything comes from.
    pub seed: u64,
    /// Stores.
    pub stores: u64,
    /// Groups of simulated state machines, or shards of a workspace.
    pub groups: u64,
    /// Voters of a group.
    pub voters: usize,
    /// Faults that this run has.
    pub faults: BTreeSet<Fault>,
    /// Time between two faults, on average.
    pub fault_interval: Duration,
    /// Time between two operations, on average.
    pub op_interval: Duration,
    /// The slowest message.
    pub latency_max: Duration,
    /// The slowest sync, in milliseconds.
    pub sync_ms_max: u64,
    /// How long faults go on.
    pub storm: Duration,
    /// Short election timeouts.
    pub is_hasty: bool,
    /// Whether clients delete samples.
    pub has_deletes: bool,
    /// Whether clients ask for other numbers of shards.
    pub has_scaling: bool,
    /// How far ahead of the present another number of shards begins to hold.
    pub scale_lead: Duration,
    /// After how long without use a group's timers stop, if they do.
    pub hibernate_after: Option<Duration>,
}

impl Plan {
    /// The plan of a seed.
    #[must_use]
    pub fn new(seed: u64, storm: Duration) -> Self {
        let mut random = Random::new(seed, "plan");
        let keep = random.within(35..=90);
        let mut faults: BTreeSet<Fault> = FAULTS.into_iter().filter(|_| random.chance(keep)).collect();
        // Without checkpoints a log only grows: most runs have them.
        if random.chance(80) {
            faults.insert(Fault::Checkpoint);
        }
        let stores = random.within(3..=5);
        let voters = if stores == 5 && random.chance(40) { 5 } else { 3 };
        Self {
            seed,
            stores,
            groups: random.within(1..=3),
            voters,
            faults,
            fault_interval: random.millis(150, 1500),
            op_interval: random.millis(2, 25),
            latency_max: random.millis(2, 60),
            sync_ms_max: random.within(0..=20),
            storm,
            is_hasty: random.chance(70),
            has_deletes: false,
            has_scaling: false,
            scale_lead: Duration::from_secs(900),
            hibernate_after: random.chance(50).then(|| random.millis(60, 400)),
        }
    }

    /// The plan of a seed for whole nodes, which do more.
    #[must_use]
    pub fn of_nodes(seed: u64, storm: Duration) -> Self {
        let mut plan = Self::new(seed, storm);
        let mut random = Random::new(seed, "plan of nodes");
        plan.has_deletes = random.chance(70);
        plan.has_scaling = random.chance(70);
        plan.scale_lead = random.millis(500, 3000);
        plan
    }
}
