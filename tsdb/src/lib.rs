//! One shard's storage.

pub mod chunk;
pub mod error;
pub mod rows;
pub mod store;
pub mod wire;
