//! purged <= checkpoint <= applied <= committed <= last.

use super::Invariant;
use crate::watch::Event;
use crate::world::World;

/// See the file's header.
#[derive(Debug, Default)]
pub(super) struct PointerOrder;

impl Invariant for PointerOrder {
    fn name(&self) -> &'static str {
        "order of pointers"
    }

    fn see(&mut self, event: &Event<'_>, _world: &World) -> Result<(), String> {
        let Event::Status { status, .. } = event else { return Ok(()) };
        let checkpoint = status.checkpoint.map(|point| point.index);
        let order = [status.purged_index, checkpoint, status.applied_index, status.commit_index, status.last_log_index];
        if order.is_sorted() {
            Ok(())
        } else {
            Err(format!("shard {}: replica {}: purged, checkpoint, applied, committed, last are {order:?}", status.shard, status.replica))
        }
    }
}
