//! Whole nodes under faults: remote write over HTTP, split, shards, Raft, PromQL by scatter and gather, with real databases of chunks.

mod client;
mod control;
mod host;
mod http;
pub mod oracle;
mod rest;
pub mod samples;
mod wire;

pub use control::run;
