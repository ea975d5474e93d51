//! The process: configuration, supervision of a local cluster, telemetry.

pub mod config;
