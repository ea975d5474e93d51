//! What a group drives: [`StateMachine`], implemented by shards and by the meta group.
//!
//! All methods are synchronous and run on threads that may block, never on tokio's. `apply` calls of one group never overlap.

mod machine;
mod pool;
#[cfg(test)]
mod tests;

pub(crate) use machine::{Machine, SnapshotData};
pub(crate) use pool::ApplyPool;

use crate::error::StateMachineError;
use bytes::Bytes;
use model::LogPoint;
use std::fmt;

/// A state that survives a power cut: everything up to and including `point`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Durable {
    /// Last entry it covers.
    pub point: LogPoint,
    /// The newest [`AppliedEntry::membership`] at or before `point`, byte for byte; opaque.
    pub membership: Bytes,
}

/// A committed entry, handed to apply in log order, without gaps.
#[derive(Clone, Debug)]
pub struct AppliedEntry {
    /// Its place in the log.
    pub point: LogPoint,
    /// Set when the entry changes the group's membership: to be kept for [`Durable::membership`]. Opaque.
    pub membership: Option<Bytes>,
    /// What was proposed; empty for entries that carry no proposal (they still move the applied point).
    pub payload: Bytes,
}

/// One replica's state, fed by the log alone.
///
/// Laws:
/// 1. `apply` is a function of the entries only: no clock, no randomness, no node's view.
/// 2. At start the applied state *is* [`StateMachine::durable`]; entries after it are applied again.
/// 3. [`StateMachine::durable`] only moves forward, and only after the sync that made it true returned.
pub trait StateMachine: Send + Sync + fmt::Debug + 'static {
    /// The newest synced checkpoint; `None` before the first.
    fn durable(&self) -> Option<Durable>;

    /// Applies entries and answers each with what its proposer receives, in order.
    ///
    /// # Errors
    /// The state can no longer follow the log; the group stops and the process with it.
    fn apply(&self, batch: Vec<AppliedEntry>) -> Result<Vec<Bytes>, StateMachineError>;

    /// Opens the newest checkpoint for sending; `None` before the first. What it yields must match its meta exactly.
    ///
    /// # Errors
    /// The checkpoint cannot be read.
    fn snapshot(&self) -> Result<Option<Box<dyn SnapshotSource>>, StateMachineError>;

    /// Begins to take in another replica's checkpoint beside the present state, which stays in force until the flip.
    ///
    /// # Errors
    /// There is no room or the disk refuses.
    fn stage(&self, meta: Durable) -> Result<Box<dyn SnapshotSink>, StateMachineError>;
}

/// A checkpoint being read.
pub trait SnapshotSource: Send + 'static {
    /// What the blocks hold, exactly.
    fn meta(&self) -> Durable;

    /// The next block of at most [`crate::SNAPSHOT_BLOCK_BYTES_MAX`] bytes; `None` at the end.
    ///
    /// # Errors
    /// The checkpoint cannot be read.
    fn next_block(&mut self) -> Result<Option<Bytes>, StateMachineError>;
}

/// A checkpoint being written. Dropping it unfinished discards what was written.
pub trait SnapshotSink: Send + 'static {
    /// Takes the next block, in the order of the source.
    ///
    /// # Errors
    /// The block is damaged or the disk refuses.
    fn write(&mut self, block: Bytes) -> Result<(), StateMachineError>;

    /// Verifies and syncs everything written; it is not yet in force.
    ///
    /// # Errors
    /// Something is missing or the disk refuses.
    fn finish(self: Box<Self>) -> Result<Box<dyn Staged>, StateMachineError>;
}

/// A complete checkpoint, not yet in force.
pub trait Staged: Send + 'static {
    /// Replaces the state by the staged one, atomically and durably before it returns: after a crash at any moment either the old
    /// or the new state is there whole.
    ///
    /// # Errors
    /// The flip failed; the group stops.
    fn install(self: Box<Self>) -> Result<(), StateMachineError>;
}
