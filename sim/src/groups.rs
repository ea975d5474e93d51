//! Raft groups under faults: the real `raft` over simulated sockets and disks, with a small state machine in place of shards.

mod control;
pub mod machine;
pub mod oracle;
mod rest;
pub mod store;
mod work;

pub use control::run;
