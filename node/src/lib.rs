//! The process: everything that moves. It joins the pure crates to sockets, disks and clocks.

pub mod access;
pub mod app;
pub mod cluster;
pub mod compute;
pub mod config;
pub mod ctl;
pub mod host;
pub mod http;
pub mod ingest;
pub mod keys;
pub mod memory;
pub mod meta;
pub mod metrics;
pub mod node;
pub mod probe;
pub mod query;
pub mod recover;
pub mod rpc;
pub mod self_metrics;
pub mod shard;
pub mod signals;
pub mod task;
pub mod telemetry;
pub mod up;
