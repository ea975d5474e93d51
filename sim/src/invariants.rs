//! What must hold at every event, one rule a file. A rule keeps of the past what it needs.

mod committed_on_quorum;
mod committed_stays;
mod election_safety;
mod leader_completeness;
mod leader_vote_is_durable;
mod log_is_contiguous;
mod log_matching;
mod membership_steps;
mod monotone_pointers;
mod monotone_state;
mod monotone_vote;
mod pointer_order;
mod purge_behind_checkpoint;
mod state_machine_safety;

use crate::watch::Event;
use crate::world::World;
use std::fmt;

/// One rule.
pub trait Invariant: fmt::Debug + Send {
    /// Its name in reports.
    fn name(&self) -> &'static str;

    /// Looks at an event; writes, checkpoints and installs are not in `world` yet, everything before is.
    ///
    /// # Errors
    /// How the rule was broken.
    fn see(&mut self, event: &Event<'_>, world: &World) -> Result<(), String>;
}

/// All rules, fresh.
#[must_use]
pub fn all() -> Vec<Box<dyn Invariant>> {
    let mut all = of_logs();
    all.push(Box::<monotone_state::MonotoneState>::default());
    all.push(Box::<purge_behind_checkpoint::PurgeBehindCheckpoint>::default());
    all
}

/// Those that need no word of the state machines.
#[must_use]
pub fn of_logs() -> Vec<Box<dyn Invariant>> {
    vec![
        Box::<election_safety::ElectionSafety>::default(),
        Box::<log_matching::LogMatching>::default(),
        Box::<leader_completeness::LeaderCompleteness>::default(),
        Box::<state_machine_safety::StateMachineSafety>::default(),
        Box::<committed_on_quorum::CommittedOnQuorum>::default(),
        Box::<committed_stays::CommittedStays>::default(),
        Box::<pointer_order::PointerOrder>::default(),
        Box::<monotone_vote::MonotoneVote>::default(),
        Box::<monotone_pointers::MonotonePointers>::default(),
        Box::<leader_vote_is_durable::LeaderVoteIsDurable>::default(),
        Box::<log_is_contiguous::LogIsContiguous>::default(),
        Box::<membership_steps::MembershipSteps>::default(),
    ]
}
