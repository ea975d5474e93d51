//! The log is purged only behind a synced checkpoint.

use super::Invariant;
use crate::watch::Event;
use crate::world::{Change, World};

/// See the file's header.
#[derive(Debug, Default)]
pub(super) struct PurgeBehindCheckpoint;

impl Invariant for PurgeBehindCheckpoint {
    fn name(&self) -> &'static str {
        "purge behind a checkpoint"
    }

    fn see(&mut self, event: &Event<'_>, world: &World) -> Result<(), String> {
        let Event::Writing { replica, change: Change::Purge(index) } = event else { return Ok(()) };
        let checkpoint = world.replica(*replica).and_then(|seen| seen.checkpoint);
        if checkpoint.is_some_and(|checkpoint| checkpoint.index >= *index) {
            Ok(())
        } else {
            Err(format!("replica {replica} purges to {index}, its synced checkpoint is at {checkpoint:?}"))
        }
    }
}
