//! What is applied anywhere is durable on a majority of the voters.

use super::Invariant;
use crate::watch::Event;
use crate::world::World;
use model::{LogPoint, ReplicaId, ShardId};
use std::collections::{BTreeMap, BTreeSet};

/// See the file's header.
#[derive(Debug, Default)]
pub(super) struct CommittedOnQuorum {
    applied: BTreeMap<ShardId, u64>,
    /// The newest membership that is in force for sure: of an applied entry.
    voters: BTreeMap<ShardId, Vec<BTreeSet<ReplicaId>>>,
}

fn is_durable(world: &World, replica: ReplicaId, point: LogPoint) -> bool {
    world.replica(replica).is_some_and(|seen| {
        let in_checkpoint = seen.checkpoint.is_some_and(|checkpoint| checkpoint.index >= point.index);
        // What is purged is in a synced checkpoint, whenever the purge itself is synced.
        let is_purged = seen.live.purged.is_some_and(|purged| purged.index >= point.index);
        in_checkpoint || is_purged || seen.durable.holds(point)
    })
}

fn on_majority(world: &World, voters: &[BTreeSet<ReplicaId>], point: LogPoint) -> bool {
    voters.iter().all(|set| set.iter().filter(|replica| is_durable(world, **replica, point)).count() * 2 > set.len())
}

impl Invariant for CommittedOnQuorum {
    fn name(&self) -> &'static str {
        "committed on a quorum"
    }

    fn see(&mut self, event: &Event<'_>, world: &World) -> Result<(), String> {
        let Event::Applied { replica, point, .. } = event else { return Ok(()) };
        let shard = world.group_of(*replica);
        let Some(log) = world.replica(*replica).map(|seen| &seen.live) else { return Ok(()) };
        if self.applied.get(&shard).is_some_and(|applied| *applied >= point.index) {
            return Ok(());
        }
        self.applied.insert(shard, point.index);
        if let Some(voters) = log.entries.get(&point.index).and_then(|entry| entry.voters.clone()) {
            self.voters.insert(shard, voters);
        }
        // A change that is under way may be in force already: its entry takes effect when it is appended.
        let later = log.entries.range(point.index..).filter_map(|(_, entry)| entry.voters.as_ref());
        let mut memberships = self.voters.get(&shard).into_iter().chain(later).peekable();
        if memberships.peek().is_none() || memberships.any(|voters| on_majority(world, voters, *point)) {
            return Ok(());
        }
        Err(format!("shard {shard}: replica {replica} applied {point}, which no majority of {:?} has synced", self.voters.get(&shard)))
    }
}
