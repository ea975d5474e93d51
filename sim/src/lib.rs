//! Deterministic simulation: many nodes, their network and their disks in one thread, driven by one seed.
//!
//! It is a test of the other crates and part of nothing that is shipped.
//!
//! | module | holds |
//! |---|---|
//! | [`interposed`] | the simulated clocks and the seeded randomness behind libc's |
//! | [`plan`], [`random`] | what a seed means |
//! | [`network`], [`disk`], [`clock`] | what nodes stand on |
//! | [`watch`], [`world`], [`invariants`] | what is seen of all logs, and what must hold of it |
//! | [`faults`] | what goes wrong, and when it is mended |
//! | [`stage`] | how a run goes |
//! | [`groups`] | Raft groups under faults, with clients and their oracle |
//! | [`nodes`] | whole nodes under faults, with clients that write and query |
//! | [`report`], [`trace`] | what came of a run |
//! | [`many`], [`mutants`] | many seeds, a process each; what finds the planted bugs |
//!
//! A process runs one seed; `sim many` starts a process a seed.

pub mod clock;
pub mod disk;
pub mod faults;
pub mod groups;
pub mod interposed;
pub mod invariants;
pub mod many;
pub mod mutants;
pub mod network;
pub mod nodes;
pub mod panics;
pub mod plan;
pub mod random;
pub mod report;
pub mod stage;
pub mod trace;
pub mod watch;
pub mod world;
