//! At most one leader in a term.

use super::Invariant;
use crate::watch::Event;
use crate::world::{Change, World};
use model::{ReplicaId, ShardId};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

/// See the file's header.
#[derive(Debug, Default)]
pub(super) struct ElectionSafety {
    leaders: BTreeMap<(ShardId, u64), ReplicaId>,
}

impl Invariant for ElectionSafety {
    fn name(&self) -> &'static str {
        "election safety"
    }

    fn see(&mut self, event: &Event<'_>, world: &World) -> Result<(), String> {
        let (shard, term, leader) = match event {
            Event::Writing { replica, change: Change::Put(entry) } => (world.group_of(*replica), entry.point.term, entry.point.leader),
            Event::Writing { replica, change: Change::Vote(Some(vote)) } if vote.committed => {
                (world.group_of(*replica), vote.term, vote.replica)
            }
            Event::Status { status, .. } if status.is_leader => (status.shard, status.term, status.replica),
            _ => return Ok(()),
        };
        // A group's first entry is written by its founders, before there is a leader.
        if term == 0 {
            return Ok(());
        }
        match self.leaders.entry((shard, term)) {
            Entry::Vacant(vacant) => drop(vacant.insert(leader)),
            Entry::Occupied(known) if *known.get() == leader => {}
            Entry::Occupied(known) => return Err(format!("shard {shard}, term {term}: both {} and {leader} lead", known.get())),
        }
        Ok(())
    }
}
