//! Two memberships that follow each other in a log share a set of voters or differ by one voter: their majorities overlap.

use super::Invariant;
use crate::watch::Event;
use crate::world::{Change, World};

/// See the file's header.
#[derive(Debug, Default)]
pub(super) struct MembershipSteps;

impl Invariant for MembershipSteps {
    fn name(&self) -> &'static str {
        "steps of membership"
    }

    fn see(&mut self, event: &Event<'_>, world: &World) -> Result<(), String> {
        let Event::Writing { replica, change: Change::Put(entry) } = event else { return Ok(()) };
        let (Some(next), Some(seen)) = (&entry.voters, world.replica(*replica)) else { return Ok(()) };
        let before = seen.live.entries.range(..entry.point.index).rev().find_map(|(_, entry)| entry.voters.as_ref());
        let Some(before) = before else { return Ok(()) };
        let shares = before.iter().any(|set| next.contains(set));
        let is_small = |a: &std::collections::BTreeSet<_>, b: &std::collections::BTreeSet<_>| a.symmetric_difference(b).count() <= 1;
        let single = match (before.as_slice(), next.as_slice()) {
            ([a], [b]) => is_small(a, b),
            _ => false,
        };
        if shares || single { Ok(()) } else { Err(format!("replica {replica}: {next:?} follows {before:?} at {}", entry.point)) }
    }
}
