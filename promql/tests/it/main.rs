//! Integration tests of the engine.

mod distributed;
mod invariance;
mod limits;
mod promqltest;
mod semantics;
