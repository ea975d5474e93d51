//! Queries: a place to run, reading fragments from replicas, evaluation, and the answer.
//!
//! Leaf selects run on the shards; everything above them runs on the node that was asked.

pub mod admit;
pub mod engine;
pub mod fragment_service;
pub mod frames;
pub mod scatter;
