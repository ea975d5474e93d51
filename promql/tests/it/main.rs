//! Integration tests of the engine.

mod distributed;
mod harness;
mod histograms;
mod invariance;
mod limits;
mod memory;
mod promqltest;
mod semantics;
mod semantics_aggregate;
mod semantics_function;
mod semantics_limits;
mod semantics_names;
mod semantics_rate;
mod semantics_time;
mod stats;
