//! Integration tests of the engine.

mod invariance;
mod limits;
mod promqltest;
mod semantics;
