//! Integration tests of the engine.

mod promqltest;
