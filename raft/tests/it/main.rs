//! Clusters in one process: what is acknowledged survives, what is read is current.

mod barrier;
mod group;
mod pitfalls;
mod tonic;
