//! The watcher: takes every event, keeps the world, asks every invariant.

use crate::invariants::{self, Invariant};
use crate::trace::Trace;
use crate::world::{Change, World};
use model::{LogPoint, ReplicaId, StoreId};
use parking_lot::Mutex;
use raft::{GroupStatus, LogOp};
use std::sync::Arc;

/// What happened.
#[derive(Debug)]
pub enum Event<'e> {
    /// A replica changed its log; not yet synced. The world does not have it yet.
    Writing {
        /// Whose log.
        replica: ReplicaId,
        /// How.
        change: &'e Change,
    },
    /// A store synced all that it wrote.
    Synced(StoreId),
    /// A store's power was cut.
    Crashed(StoreId),
    /// A replica was opened.
    Opened {
        /// Which.
        replica: ReplicaId,
        /// What its state begins with.
        durable: Option<LogPoint>,
    },
    /// A replica applied an entry.
    Applied {
        /// Which.
        replica: ReplicaId,
        /// The entry.
        point: LogPoint,
        /// Hash of its payload; 0 for one without.
        hash: u64,
    },
    /// A replica synced a checkpoint. The world does not have it yet.
    Checkpointed {
        /// Which.
        replica: ReplicaId,
        /// The last entry it covers.
        point: LogPoint,
    },
    /// A replica took another's checkpoint in. The world does not have it yet.
    Installed {
        /// Which.
        replica: ReplicaId,
        /// The last entry it covers.
        point: LogPoint,
    },
    /// A replica was looked at.
    Status {
        /// Which start of it that is.
        boot: u64,
        /// What it knows.
        status: &'e GroupStatus,
    },
}

/// What all parts of a simulation report to.
#[derive(Debug)]
pub struct Watcher {
    /// All logs.
    pub world: World,
    /// What happened, for replays and for telling two runs apart.
    pub trace: Trace,
    /// The first rule that was broken.
    pub violation: Option<String>,
    invariants: Vec<Box<dyn Invariant>>,
}

/// The one watcher of a simulation; cheap to clone.
#[derive(Clone, Debug)]
pub struct Watch(Arc<Mutex<Watcher>>);

impl Watch {
    /// Begins to watch; `keep` keeps the trace's lines.
    #[must_use]
    pub fn new(keep: bool) -> Self {
        Self::with_invariants(keep, invariants::all())
    }

    /// The same with other rules.
    #[must_use]
    pub fn with_invariants(keep: bool, invariants: Vec<Box<dyn Invariant>>) -> Self {
        let watcher = Watcher { world: World::default(), trace: Trace::new(keep), violation: None, invariants };
        Self(Arc::new(Mutex::new(watcher)))
    }

    /// Looks at it, or changes it.
    pub fn with<T>(&self, look: impl FnOnce(&mut Watcher) -> T) -> T {
        look(&mut self.0.lock())
    }

    /// Takes note of an event.
    pub fn see(&self, event: &Event<'_>) {
        self.with(|watcher| watcher.see(event));
    }

    /// Takes note that a rule was broken, unless one was before.
    pub fn fail(&self, violation: String) {
        self.with(|watcher| watcher.fail(violation));
    }
}

impl Watcher {
    fn fail(&mut self, violation: String) {
        self.trace.line(|| format!("VIOLATION {violation}"));
        self.violation.get_or_insert(violation);
    }

    /// Takes note of an event.
    pub fn see(&mut self, event: &Event<'_>) {
        let mut broken = Vec::new();
        for invariant in &mut self.invariants {
            if let Err(reason) = invariant.see(event, &self.world) {
                broken.push(format!("{}: {reason}", invariant.name()));
            }
        }
        match event {
            Event::Checkpointed { replica, point } | Event::Installed { replica, point } => {
                if let Some(seen) = self.world.replica_mut(*replica) {
                    seen.checkpoint = Some(*point);
                }
                self.trace.line(|| format!("{event:?}"));
            }
            Event::Opened { .. } | Event::Crashed(_) => self.trace.line(|| format!("{event:?}")),
            Event::Writing { .. } | Event::Synced(_) | Event::Applied { .. } | Event::Status { .. } => {}
        }
        for violation in broken {
            self.fail(violation);
        }
    }

    /// A store writes a batch.
    pub fn write(&mut self, store: StoreId, ops: &[LogOp]) {
        let changes = match self.world.decode(ops) {
            Ok(changes) => changes,
            Err(error) => return self.fail(format!("store {store} wrote what does not decode: {error}")),
        };
        self.trace.hash(|| format!("{store} {changes:?}"));
        for (replica, change) in &changes {
            self.see(&Event::Writing { replica: *replica, change });
            self.world.changed(store, *replica, change);
        }
        self.world.written(store, changes);
    }
}
