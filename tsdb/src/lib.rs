//! One shard's storage.

pub mod chunk;
pub mod db;
pub mod error;
pub mod keys;
pub mod rows;
pub mod store;
pub mod wire;
