//! While a replica runs, what it knows as committed, applied, checkpointed and purged never goes back.

use super::Invariant;
use crate::watch::Event;
use crate::world::World;
use model::ReplicaId;
use std::collections::BTreeMap;

type Pointers = [Option<u64>; 4];

/// See the file's header.
#[derive(Debug, Default)]
pub(super) struct MonotonePointers {
    known: BTreeMap<(ReplicaId, u64), Pointers>,
}

impl Invariant for MonotonePointers {
    fn name(&self) -> &'static str {
        "monotone pointers"
    }

    fn see(&mut self, event: &Event<'_>, _world: &World) -> Result<(), String> {
        let Event::Status { boot, status } = event else { return Ok(()) };
        let checkpoint = status.checkpoint.map(|point| point.index);
        let now = [status.commit_index, status.applied_index, checkpoint, status.purged_index];
        let before = self.known.insert((status.replica, *boot), now).unwrap_or_default();
        if before.iter().zip(&now).all(|(before, now)| before <= now) {
            Ok(())
        } else {
            Err(format!("replica {}: committed, applied, checkpoint, purged went from {before:?} to {now:?}", status.replica))
        }
    }
}
