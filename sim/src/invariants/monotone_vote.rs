//! A replica's vote never goes back, and in one term it votes for one candidate only; power cuts included.

use super::Invariant;
use crate::watch::Event;
use crate::world::{Change, World};
use model::ReplicaId;
use raft::testing::VoteOf;
use std::collections::BTreeMap;

/// See the file's header.
#[derive(Debug, Default)]
pub(super) struct MonotoneVote {
    /// The newest vote that was ever durable.
    durable: BTreeMap<ReplicaId, VoteOf>,
    /// The highest term that a replica was seen to be in while it ran.
    terms: BTreeMap<(ReplicaId, u64), u64>,
}

impl MonotoneVote {
    fn check(&self, replica: ReplicaId, vote: VoteOf) -> Result<(), String> {
        let Some(known) = self.durable.get(&replica) else { return Ok(()) };
        if (vote.term, vote.committed) < (known.term, known.committed) {
            return Err(format!("replica {replica}: {vote:?} after {known:?}"));
        }
        // Who has voted, for itself say, may still learn that another one was elected.
        if vote.term == known.term && vote.replica != known.replica && !vote.committed {
            return Err(format!("replica {replica} voted twice in a term: {known:?}, then {vote:?}"));
        }
        Ok(())
    }
}

impl Invariant for MonotoneVote {
    fn name(&self) -> &'static str {
        "monotone vote"
    }

    fn see(&mut self, event: &Event<'_>, world: &World) -> Result<(), String> {
        match event {
            Event::Writing { replica, change: Change::Vote(Some(vote)) } => self.check(*replica, *vote),
            Event::Synced(store) | Event::Crashed(store) => {
                for (replica, seen) in world.stores.get(store).into_iter().flat_map(|seen| &seen.replicas) {
                    if let Some(vote) = seen.durable.vote {
                        self.check(*replica, vote)?;
                        self.durable.insert(*replica, vote);
                    }
                }
                Ok(())
            }
            Event::Status { boot, status } => {
                let durable = self.durable.get(&status.replica).map_or(0, |vote| vote.term);
                let highest = self.terms.entry((status.replica, *boot)).or_insert(durable);
                if status.term < *highest {
                    return Err(format!("replica {} went from term {highest} back to {}", status.replica, status.term));
                }
                *highest = status.term;
                Ok(())
            }
            _ => Ok(()),
        }
    }
}
