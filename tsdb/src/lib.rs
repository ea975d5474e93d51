//! One shard's storage.

pub mod rows;
