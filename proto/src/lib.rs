//! The .proto files and what is generated from them. Conversions to `model` types are written by the importing crates.
#![allow(
    missing_docs,
    unreachable_pub,
    unused_qualifications,
    clippy::all,
    clippy::clone_on_ref_ptr,
    clippy::missing_errors_doc,
    clippy::too_many_lines
)]

/// Prometheus remote write.
pub mod prometheus {
    include!(concat!(env!("OUT_DIR"), "/prometheus.rs"));
}

/// Raft between stores.
pub mod raft {
    include!(concat!(env!("OUT_DIR"), "/flotilla.raft.rs"));
}

/// Requests between nodes.
pub mod node {
    include!(concat!(env!("OUT_DIR"), "/flotilla.node.rs"));
}
