//! openraft bound to our log store and our transport; many groups in one process.
//!
//! It is not a storage engine and knows nothing of samples: a group is a log of opaque payloads and a [`StateMachine`] fed by it.
//!
//! ```text
//! propose ─ Group ─ openraft ─┬─ LogStore ── LogWriter (one thread) ── LogEngine (raftdb)
//!                             ├─ Machine ─── ApplyPool ── StateMachine (yours)
//!                             └─ Peer ────── Mux ── Transport (tonic) ~~> Inbox of the other store
//! ```
//!
//! | module | holds |
//! |---|---|
//! | [`group`] | the handle of one group: propose, read barrier, membership, checkpoints |
//! | [`groups`] | the registry: one per process |
//! | [`log_store`] | the log of all groups, the only write-ahead log |
//! | [`state_machine`] | what `node` implements |
//! | [`transport`] | one connection a peer and lane for all groups |
//! | [`snapshot`] | sending and receiving another replica's checkpoint |
//! | `hibernate` | groups that nobody uses stop their timers |
//! | [`barrier`] | read barriers of many queries in one request |
//! | [`config`], [`error`], [`metrics`] | settings, failures, what is measured |
//!
//! Limits: an entry of 4 MiB, a frame of 1 MiB beside one such entry, a message of 8 MiB, 64 groups a node at the default times.
//!
//! When you change what [`log_store`] or `proto/raft.proto` encode, raise their version: other binaries read it.

pub mod barrier;
mod blocking;
pub mod config;
pub mod error;
pub mod group;
pub mod groups;
mod hibernate;
pub mod log_store;
pub mod metrics;
pub mod snapshot;
pub mod state_machine;
#[cfg(any(test, feature = "test-util"))]
pub mod testing;
pub mod transport;
mod types;

pub use barrier::Barrier;
pub use config::{FatalHandler, RaftConfig};
pub use error::{
    BarrierError, FatalError, GroupError, HelloError, Leader, LossCause, LostReplica, MembershipError, OpenError, ProposeError,
    StateMachineError, TransportError, WaitError,
};
pub use group::{Group, GroupStatus, Proposal, Role};
pub use groups::{GroupSpec, Groups};
pub use log_store::recover;
pub use log_store::{LogEngine, LogLoss, LogOp, MemoryEngine, RocksEngine, RocksOptions, StateTag, boots_in_use};
pub use snapshot::SNAPSHOT_BLOCK_BYTES_MAX;
pub use state_machine::{AppliedEntry, Durable, SnapshotSink, SnapshotSource, Staged, StateMachine};
pub use transport::{Identity, TonicTransport, Transport};
