//! A new leader's log holds every committed entry of earlier terms.

use super::Invariant;
use crate::watch::Event;
use crate::world::World;
use model::{LogPoint, ReplicaId, ShardId};
use std::collections::{BTreeMap, BTreeSet};

/// Newest entries that are compared one by one.
const COMPARED: usize = 256;

/// See the file's header.
#[derive(Debug, Default)]
pub(super) struct LeaderCompleteness {
    committed: BTreeMap<ShardId, BTreeMap<u64, LogPoint>>,
    seen: BTreeSet<(ReplicaId, u64)>,
}

impl Invariant for LeaderCompleteness {
    fn name(&self) -> &'static str {
        "leader completeness"
    }

    fn see(&mut self, event: &Event<'_>, world: &World) -> Result<(), String> {
        match event {
            Event::Applied { replica, point, .. } => {
                self.committed.entry(world.group_of(*replica)).or_default().insert(point.index, *point);
            }
            Event::Status { status, .. } if status.is_leader && self.seen.insert((status.replica, status.term)) => {
                let Some(log) = world.replica(status.replica).map(|seen| &seen.live) else { return Ok(()) };
                let committed = self.committed.get(&status.shard).into_iter().flatten().rev().take(COMPARED);
                for (_, point) in committed.filter(|(_, point)| point.term < status.term) {
                    if !log.holds(*point) {
                        return Err(format!("shard {}: the leader {} of term {} lacks {point}", status.shard, status.replica, status.term));
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }
}
