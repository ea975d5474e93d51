//! The replicas of shards on this node: binding `tsdb` to Raft, proposing as a leader, checkpointing.

pub mod keeper;
pub mod machine;
pub mod registry;
pub mod runner;

pub use registry::{LocalShard, ShardRegistry};
