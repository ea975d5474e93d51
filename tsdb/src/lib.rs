//! One shard's storage.

pub mod chunk;
pub mod config;
pub mod entry;
pub mod error;
mod head;
mod postings;
pub mod rows;
pub mod store;
pub mod verdict;
pub mod wire;
mod state;
