//! Clusters in one process: what is acknowledged survives, what is read is current.
#![allow(clippy::disallowed_methods, reason = "tests have real sockets")]
#![allow(clippy::unwrap_used, reason = "clippy knows only the test functions themselves as tests")]

mod barrier;
mod group;
mod heartbeats;
mod hibernate;
mod pitfalls;
mod tonic;
