//! All replicas apply the same entry at the same index.

use super::Invariant;
use crate::watch::Event;
use crate::world::World;
use model::{LogPoint, ShardId};
use std::collections::BTreeMap;

/// See the file's header.
#[derive(Debug, Default)]
pub(super) struct StateMachineSafety {
    applied: BTreeMap<(ShardId, u64), (LogPoint, u64)>,
}

impl Invariant for StateMachineSafety {
    fn name(&self) -> &'static str {
        "state machine safety"
    }

    fn see(&mut self, event: &Event<'_>, world: &World) -> Result<(), String> {
        let Event::Applied { replica, point, hash } = event else { return Ok(()) };
        let shard = world.group_of(*replica);
        let known = *self.applied.entry((shard, point.index)).or_insert((*point, *hash));
        if known == (*point, *hash) {
            Ok(())
        } else {
            Err(format!("shard {shard}: replica {replica} applied {point}, another one {} at the same index", known.0))
        }
    }
}
