//! The replicas of shards on this node: binding `tsdb` to Raft, proposing as a leader, checkpointing, rewriting parts.

pub mod compactor;
pub mod keeper;
pub mod machine;
pub mod registry;
pub mod runner;

pub use registry::{LocalShard, ShardRegistry};
