//! The process: configuration, supervision of a local cluster, telemetry.

pub mod config;
pub mod probe;
pub mod signals;
pub mod telemetry;
pub mod up;
