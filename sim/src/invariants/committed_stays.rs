//! A committed entry is never cut from a log, nor overwritten, unless an installed snapshot covers it: what contradicts a snapshot is cut
//! from where the replica knows of no commit, and that may lie before what is committed elsewhere.

use super::Invariant;
use crate::watch::Event;
use crate::world::{Change, World};
use model::{LogPoint, ReplicaId, ShardId};
use std::collections::BTreeMap;

/// See the file's header.
#[derive(Debug, Default)]
pub(super) struct CommittedStays {
    committed: BTreeMap<ShardId, BTreeMap<u64, LogPoint>>,
    /// Up to which index an installed snapshot holds everything.
    covered: BTreeMap<ReplicaId, u64>,
}

impl Invariant for CommittedStays {
    fn name(&self) -> &'static str {
        "committed stays"
    }

    fn see(&mut self, event: &Event<'_>, world: &World) -> Result<(), String> {
        match event {
            Event::Applied { replica, point, .. } => {
                self.committed.entry(world.group_of(*replica)).or_default().insert(point.index, *point);
            }
            Event::Installed { replica, point } => {
                let covered = self.covered.entry(*replica).or_default();
                *covered = point.index.max(*covered);
            }
            Event::Writing { replica, change } => {
                let shard = world.group_of(*replica);
                let (Some(committed), Some(seen)) = (self.committed.get(&shard), world.replica(*replica)) else { return Ok(()) };
                let lost = match change {
                    Change::Truncate(from) => {
                        let uncovered = self.covered.get(replica).map_or(0, |covered| covered + 1).max(*from);
                        seen.live.entries.range(uncovered..).find(|(index, entry)| committed.get(index) == Some(&entry.point))
                    }
                    Change::Put(entry) => {
                        let index = entry.point.index;
                        let other = committed.get(&index).is_some_and(|point| *point != entry.point);
                        seen.live.entries.get_key_value(&index).filter(|(_, old)| other && committed.get(&index) == Some(&old.point))
                    }
                    _ => None,
                };
                let is_covered = |index: u64| self.covered.get(replica).is_some_and(|covered| index <= *covered);
                if let Some((_, entry)) = lost.filter(|(index, _)| !is_covered(**index)) {
                    return Err(format!("shard {shard}: replica {replica} gave up the committed {}", entry.point));
                }
            }
            _ => {}
        }
        Ok(())
    }
}
