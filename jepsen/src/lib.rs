//! Black-box safety test of a Flotilla cluster.
//!
//! It starts real nodes, writes and queries through all of them, kills, pauses and cuts them off, and checks that every
//! acknowledged sample is there once and bit-exact and that nothing else is. It knows a node only by its command line,
//! its HTTP interface and its log; it imports no code of the node's.
//!
//! ```text
//!   load (writers, readers) --HTTP--> node 1..n --RPC--> proxy 1..n --> node 1..n
//!        |      |                        ^                  ^
//!     ledger  check -> findings       cluster  <- nemesis -> links
//! ```
//!
//! - [`cli`]: command line and exit codes; [`run`]: one run from start to verdict; [`soak`]: many; [`mod@bench`]: load and latency.
//! - [`workload`], [`dice`]: what is written, as a function of the seed; [`ledger`], [`ranges`]: what was acknowledged.
//! - [`client`], [`load`], [`check`], [`audit`]: writers, readers, the checks during the run and at its end.
//! - [`meta`], [`wgl`]: the workload of workspaces and the check of its linearizability; [`watch`]: leaders.
//! - [`cluster`], [`nemesis`], [`admin`]: processes, what is done to them, and what the cluster is asked.
//! - [`sandbox`], [`machine`], [`tool`]: namespaces and what else the machine offers.
//! - [`net`]: what links do; [`switch`] carries packets between namespaces, [`proxy`] connections where there are none.
//! - [`disk`], [`clock`]: disks that lose power, clocks that jump.
//! - [`history`]: every operation as a line of JSON; [`report`], [`tally`], [`html`]: what is told at the end.

#![allow(clippy::disallowed_methods, reason = "a client of real processes, outside of any simulation")]

pub mod admin;
pub mod audit;
pub mod bench;
pub mod check;
pub mod cli;
pub mod client;
pub mod clock;
pub mod cluster;
pub mod dice;
pub mod disk;
pub mod history;
pub mod html;
pub mod ledger;
pub mod load;
pub mod machine;
pub mod meta;
pub mod nemesis;
pub mod net;
pub mod proxy;
pub mod ranges;
pub mod report;
pub mod run;
pub mod sandbox;
pub mod soak;
pub mod switch;
pub mod tally;
pub mod tool;
pub mod watch;
pub mod wgl;
pub mod workload;
