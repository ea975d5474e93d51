//! What is applied anywhere is durable on a majority of the voters.

use super::Invariant;
use crate::watch::Event;
use crate::world::{Change, World};
use model::{LogPoint, ReplicaId, ShardId};
use std::collections::{BTreeMap, BTreeSet};

/// See the file's header.
#[derive(Debug, Default)]
pub(super) struct CommittedOnQuorum {
    applied: BTreeMap<ShardId, u64>,
    /// The newest membership that is in force for sure: of an applied entry.
    voters: BTreeMap<ShardId, Vec<BTreeSet<ReplicaId>>>,
    /// Memberships that stand in any log, behind what is applied.
    pending: BTreeMap<ShardId, BTreeMap<LogPoint, Vec<BTreeSet<ReplicaId>>>>,
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
        if let Event::Writing { replica, change: Change::Put(entry) } = event
            && let Some(voters) = &entry.voters
        {
            self.pending.entry(world.group_of(*replica)).or_default().insert(entry.point, voters.clone());
        }
        let Event::Applied { replica, point, .. } = event else { return Ok(()) };
        let shard = world.group_of(*replica);
        if self.applied.get(&shard).is_some_and(|applied| *applied >= point.index) {
            return Ok(());
        }
        self.applied.insert(shard, point.index);
        // A change that is under way may be in force already: its entry takes effect when it is appended, before anything is written. Once a
        // joint membership is applied, its leader may have appended the new one.
        let pending = self.pending.entry(shard).or_default();
        let known = self.voters.get(&shard);
        let next: Option<Vec<_>> = known.filter(|voters| voters.len() > 1).and_then(|voters| Some(vec![voters.last()?.clone()]));
        let mut memberships = known.into_iter().chain(&next).chain(pending.values()).peekable();
        let is_durable = memberships.peek().is_none() || memberships.any(|voters| on_majority(world, voters, *point));
        if let Some(voters) = pending.remove(point) {
            self.voters.insert(shard, voters);
        }
        pending.retain(|other, _| other.index > point.index);
        if is_durable {
            return Ok(());
        }
        Err(format!("shard {shard}: replica {replica} applied {point}, which no majority of {:?} has synced", self.voters.get(&shard)))
    }
}
