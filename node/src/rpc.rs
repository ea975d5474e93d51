//! Requests between nodes, beside Raft's own transport.

pub mod client;
pub mod server;
