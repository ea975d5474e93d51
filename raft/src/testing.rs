//! Doubles for tests of this crate and of `node`: a network in memory that can be cut, a key-value state machine with checkpoints.

mod cluster;
mod decode;
mod machine;
mod network;

pub use cluster::{TestCluster, TestNode, fast_config};
pub use decode::{Content, Decoder, VoteOf, voters_of};
pub use machine::{Disk, KvMachine};
pub use network::{Carried, MemoryNetwork, MemoryTransport};
