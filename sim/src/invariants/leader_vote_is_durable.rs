//! Who leads a term has synced its vote for itself, or after a power cut it could vote for another.

use super::Invariant;
use crate::watch::Event;
use crate::world::World;

/// See the file's header.
#[derive(Debug, Default)]
pub(super) struct LeaderVoteIsDurable;

impl Invariant for LeaderVoteIsDurable {
    fn name(&self) -> &'static str {
        "the leader's vote is durable"
    }

    fn see(&mut self, event: &Event<'_>, world: &World) -> Result<(), String> {
        let Event::Status { status, .. } = event else { return Ok(()) };
        if !status.is_leader {
            return Ok(());
        }
        let vote = world.replica(status.replica).and_then(|seen| seen.durable.vote);
        if vote.is_some_and(|vote| vote.term == status.term && vote.replica == status.replica) {
            Ok(())
        } else {
            Err(format!("shard {}: replica {} leads term {}, synced is {vote:?}", status.shard, status.replica, status.term))
        }
    }
}
