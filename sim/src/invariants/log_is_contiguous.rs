//! A log has no gap, neither now nor as a power cut leaves it, begins right behind what was purged, and grows at its end only: who stores
//! an entry over another one has not cut all that the other leader had written behind it.

use super::Invariant;
use crate::watch::Event;
use crate::world::{Change, Rows, World};
use model::ReplicaId;

/// See the file's header.
#[derive(Debug, Default)]
pub(super) struct LogIsContiguous;

fn check(replica: ReplicaId, rows: &Rows) -> Result<(), String> {
    let (Some((first, _)), Some((last, _))) = (rows.entries.first_key_value(), rows.entries.last_key_value()) else { return Ok(()) };
    let length = rows.entries.len() as u64;
    let begins_at = rows.purged.map_or(*first, |purged| purged.index + 1);
    if last - first + 1 == length && *first <= begins_at {
        Ok(())
    } else {
        Err(format!("replica {replica}: {length} entries from {first} to {last}, purged is {:?}", rows.purged))
    }
}

impl Invariant for LogIsContiguous {
    fn name(&self) -> &'static str {
        "the log is contiguous"
    }

    fn see(&mut self, event: &Event<'_>, world: &World) -> Result<(), String> {
        if let Event::Writing { replica, change: Change::Put(entry) } = event {
            let stored = world.replica(*replica).and_then(|seen| seen.live.entries.get(&entry.point.index));
            return match stored {
                Some(other) => Err(format!("replica {replica} stores {} over {}", entry.point, other.point)),
                None => Ok(()),
            };
        }
        let (Event::Synced(store) | Event::Crashed(store)) = event else { return Ok(()) };
        for (replica, seen) in world.stores.get(store).into_iter().flat_map(|seen| &seen.replicas) {
            check(*replica, &seen.durable)?;
        }
        Ok(())
    }
}
