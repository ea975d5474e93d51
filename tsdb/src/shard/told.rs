//! What callers other than apply ask of the replicated state, kept beside it: nobody waits for them while an entry is applied.

use super::fence::MapState;
use crate::entry::Limits;
use crate::metadata::Families;
use crate::state::{Replicated, Tombstones};
use model::Timestamp;
use parking_lot::RwLock;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

/// As the last entry applied left it.
#[derive(Debug, Default)]
pub(super) struct Told {
    time_ms: AtomicI64,
    /// Held for a copy at most.
    rules: RwLock<Rules>,
    /// Held for a copy of the pointer at most.
    families: RwLock<Arc<Families>>,
}

#[derive(Debug, Default)]
struct Rules {
    limits: Limits,
    map: MapState,
    tombstones: Tombstones,
    dropped_before_ms: Timestamp,
}

impl Told {
    /// Takes over the time of an entry.
    pub(super) fn time(&self, state: &Replicated) {
        self.time_ms.store(state.time_ms, Ordering::Release);
    }

    /// Takes over everything, after an entry that changes more than the time.
    pub(super) fn all(&self, state: &Replicated) {
        self.time(state);
        self.families(state);
        *self.rules.write() = Rules {
            limits: state.limits,
            map: MapState { generations: state.map.generations.as_slice().into(), seen_rev: state.map.seen_rev },
            tombstones: state.tombstones.clone(),
            dropped_before_ms: state.dropped_before_ms,
        };
    }

    /// Takes over what is known about metric families, after an entry that changed it.
    pub(super) fn families(&self, state: &Replicated) {
        *self.families.write() = Arc::clone(&state.families);
    }

    pub(super) fn known_families(&self) -> Arc<Families> {
        Arc::clone(&self.families.read())
    }

    pub(super) fn time_ms(&self) -> Timestamp {
        self.time_ms.load(Ordering::Acquire)
    }

    pub(super) fn limits(&self) -> Limits {
        self.rules.read().limits
    }

    /// What readers must not see: deletes, and everything before a time.
    pub(super) fn hidden(&self) -> (Tombstones, Timestamp) {
        let rules = self.rules.read();
        (rules.tombstones.clone(), rules.dropped_before_ms)
    }

    pub(super) fn map(&self) -> MapState {
        self.rules.read().map.clone()
    }
}
