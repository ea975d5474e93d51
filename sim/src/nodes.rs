//! Whole nodes under faults: remote write over HTTP, split, shards, Raft, PromQL by scatter and gather, with real databases of chunks.

mod agreement;
mod client;
mod control;
mod host;
mod http;
pub mod oracle;
mod requests;
mod rest;
pub mod samples;
mod store;
mod wire;
mod work;

pub use control::{directory, run};
