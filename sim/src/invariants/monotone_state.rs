//! A replica applies without gaps and repetition, starts where its newest checkpoint ends, and its checkpoints only move forward.

use super::Invariant;
use crate::watch::Event;
use crate::world::World;
use model::ReplicaId;
use std::collections::BTreeMap;

/// See the file's header.
#[derive(Debug, Default)]
pub(super) struct MonotoneState {
    applied: BTreeMap<ReplicaId, Option<u64>>,
}

impl Invariant for MonotoneState {
    fn name(&self) -> &'static str {
        "monotone state"
    }

    fn see(&mut self, event: &Event<'_>, world: &World) -> Result<(), String> {
        match event {
            Event::Opened { replica, durable } => {
                let known = world.replica(*replica).and_then(|seen| seen.checkpoint);
                self.applied.insert(*replica, durable.map(|point| point.index));
                if *durable == known { Ok(()) } else { Err(format!("replica {replica} starts from {durable:?}, synced was {known:?}")) }
            }
            Event::Applied { replica, point, .. } => {
                let applied = self.applied.entry(*replica).or_default();
                let expected = applied.map_or(0, |applied| applied + 1);
                *applied = Some(point.index);
                if point.index == expected { Ok(()) } else { Err(format!("replica {replica} applied {point} where {expected} was next")) }
            }
            Event::Installed { replica, point } => {
                let applied = self.applied.entry(*replica).or_default();
                let before = *applied;
                *applied = Some(point.index);
                if before <= *applied {
                    Ok(())
                } else {
                    Err(format!("replica {replica} went from {before:?} back to a snapshot at {point}"))
                }
            }
            Event::Checkpointed { replica, point } => {
                let before = world.replica(*replica).and_then(|seen| seen.checkpoint);
                let is_forward = before.is_none_or(|before| before.index <= point.index);
                if is_forward { Ok(()) } else { Err(format!("replica {replica}: checkpoint at {point} after {before:?}")) }
            }
            _ => Ok(()),
        }
    }
}
