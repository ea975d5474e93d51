//! A committed entry is never cut from a log, nor overwritten.

use super::Invariant;
use crate::watch::Event;
use crate::world::{Change, World};
use model::{LogPoint, ShardId};
use std::collections::BTreeMap;

/// See the file's header.
#[derive(Debug, Default)]
pub(super) struct CommittedStays {
    committed: BTreeMap<ShardId, BTreeMap<u64, LogPoint>>,
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
            Event::Writing { replica, change } => {
                let shard = world.group_of(*replica);
                let (Some(committed), Some(seen)) = (self.committed.get(&shard), world.replica(*replica)) else { return Ok(()) };
                let lost = match change {
                    Change::Truncate(from) => {
                        seen.live.entries.range(from..).find(|(index, entry)| committed.get(index) == Some(&entry.point))
                    }
                    Change::Put(entry) => {
                        let index = entry.point.index;
                        let other = committed.get(&index).is_some_and(|point| *point != entry.point);
                        seen.live.entries.get_key_value(&index).filter(|(_, old)| other && committed.get(&index) == Some(&old.point))
                    }
                    _ => None,
                };
                if let Some((_, entry)) = lost {
                    return Err(format!("shard {shard}: replica {replica} gave up the committed {}", entry.point));
                }
            }
            _ => {}
        }
        Ok(())
    }
}
