//! Two logs that hold an entry of the same index and term hold the same entry, and the same entries before it.

use super::Invariant;
use crate::watch::Event;
use crate::world::{Change, World};
use model::ShardId;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

/// See the file's header. That the entries before are the same follows from every entry naming its predecessor's term.
#[derive(Debug, Default)]
pub(super) struct LogMatching {
    known: BTreeMap<(ShardId, u64, u64), (u64, Option<u64>)>,
}

impl Invariant for LogMatching {
    fn name(&self) -> &'static str {
        "log matching"
    }

    fn see(&mut self, event: &Event<'_>, world: &World) -> Result<(), String> {
        let Event::Writing { replica, change: Change::Put(entry) } = event else { return Ok(()) };
        let shard = world.group_of(*replica);
        let before = entry.point.index.checked_sub(1);
        let previous = before.and_then(|before| world.replica(*replica)?.live.term_at(before));
        match self.known.entry((shard, entry.point.index, entry.point.term)) {
            Entry::Vacant(vacant) => {
                vacant.insert((entry.hash, previous));
            }
            Entry::Occupied(mut known) => {
                let (hash, known_previous) = *known.get();
                if hash != entry.hash {
                    return Err(format!("shard {shard}: {} of replica {replica} differs from another replica's", entry.point));
                }
                if let (Some(a), Some(b)) = (known_previous, previous)
                    && a != b
                {
                    return Err(format!("shard {shard}: before {} of replica {replica} stands term {b}, elsewhere {a}", entry.point));
                }
                known.insert((hash, known_previous.or(previous)));
            }
        }
        Ok(())
    }
}
