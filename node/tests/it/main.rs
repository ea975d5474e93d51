//! Tests of the whole workspace and of the binary.
#![allow(clippy::disallowed_methods, reason = "tests have real threads and sockets")]
#![allow(clippy::unwrap_used, reason = "clippy knows test functions, but not the helpers of a test binary")]

mod access;
mod admin;
mod amp;
mod cluster;
mod dependencies;
mod deploy;
mod hibernate;
mod image;
mod ingest;
mod integrity;
mod local;
mod members;
mod query;
mod query_api;
mod recover;
mod scale;
mod sealed;
mod shipped;
mod tsdb_status;
mod up;
#[path = "../../src/ingest/tests/wire.rs"]
mod wire;
