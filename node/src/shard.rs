//! The replicas of shards on this node: binding `tsdb` to Raft, proposing as a leader, checkpointing, rewriting and checking parts.

pub mod compactor;
pub mod keeper;
pub mod machine;
pub mod registry;
pub mod repair;
pub mod runner;
pub mod scrubber;

pub use registry::{LocalShard, ShardRegistry};
