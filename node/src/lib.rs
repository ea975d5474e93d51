//! The process: HTTP edge, ingest, and what joins them to shards.

pub mod http;
pub mod ingest;
