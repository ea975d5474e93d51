//! The log of all groups of a process: one engine, one writer thread, one log a replica.
//!
//! ```text
//! group ─ append ─┐                       ┌─ RocksEngine  (raftdb: one RocksDB, CFs `log` and `state`)
//! group ─ vote ───┼─ LogWriter ─ LogEngine┤
//! group ─ purge ──┘   one thread          └─ MemoryEngine (tests: forgets what was not synced)
//! ```
//!
//! | call | synced | order |
//! |---|---|---|
//! | vote | before it returns | one write-ahead log with the entries, so a vote precedes the entries of its term |
//! | append | before the callback | callbacks strictly in order |
//! | truncate | rides on the next synced batch | before later appends |
//! | purge | no | only behind a synced checkpoint |
//! | committed | rides on the next append | - |
//!
//! The writer drains workspaces by deficit round robin: a flood of one delays another's append by one batch at most. What one replica
//! writes keeps its order.
//!
//! A failed write is never retried: the callback gets the error, then the process stops.

mod boots;
mod codec;
mod engine;
mod fair;
mod keys;
mod ledger;
mod loss;
mod memory;
mod read;
pub mod recover;
mod replica;
mod rocks;
mod tail;
mod write;

#[cfg(test)]
mod tests;

pub use boots::boots_in_use;
pub use codec::CodecError;
pub use engine::{LogEngine, LogOp};
pub use keys::StateTag;
pub use loss::LogLoss;
pub use memory::MemoryEngine;
pub use rocks::{RocksEngine, RocksOptions};

#[cfg(any(test, feature = "test-util"))]
pub(crate) use codec::Codec;
pub(crate) use replica::{LogStore, PurgeGuard};
pub(crate) use tail::TailBudget;
pub(crate) use write::LogWriter;
