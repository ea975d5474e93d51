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
//! - [`roll`], [`overload`], [`idle`]: what an operator and users do to a healthy cluster; [`sender`], [`procfs`]: with what and how it is measured.
//! - [`history`]: every operation as a line of JSON; [`report`], [`tally`], [`html`]: what is told at the end.

//! # Which file checks which invariant
//!
//! | invariants | checked by |
//! |---|---|
//! | I1 durability, I6 real time, I7 sessions, I8 complete or flagged | [`check`] (`check_owed`) against the [`ledger`], in every read and at the end by [`audit`] |
//! | I2 exactly once, I3 bit-exact, I5 agreement, I10 repetition | [`check`] (`check_point`), [`audit`] (counts, NaN payloads); [`load`] sends one request in five twice |
//! | I4 no phantoms | [`check`]: a point must be of a series and step that was issued |
//! | I9 metadata | [`meta`] with [`wgl`] |
//! | I11 deletes | [`erase`]: deleted points stay away, and nothing else goes with them |
//! | I11 retention | [`check`] under clock jumps of up to a year: nothing may expire. That what is too old does go cannot be seen from outside within a run: it goes by whole days of the cluster's time; `tsdb` tests it |
//! | I12 replicas agree | the nodes compare digests of days themselves and count what differs (rule `C1`): [`run`] (`check_invariants`). The digests are not served, so they cannot be compared from here |
//! | I13 Raft | [`watch`]: one leader a term. The other eleven rules are about state that nodes do not show; `sim` checks them |
//! | I14 recovery | [`nemesis`] (`recovery`), [`run`] (`whole`, `all_ready`) |
//! | I15 availability | [`availability`], from the history |
//! | I16 alerts, I17 rules | not checked: there are no rules and alerts yet |
//! | I18 isolation | not checked here: only one workspace is written to |
//! | I19 quotas | not checked: there are no quotas of rates yet |
//! | I20 metering | [`metering`]: counters against acknowledged samples. Not across failover, where the counters begin anew with the process, and no audit records: there are none yet |
//! | I21 damaged files | [`nemesis`] (`files`) with [`check`] and [`audit`] |
//! | I22 full and failing disks | [`nemesis`] (`disk`, `effect`) |
//! | I23 versions side by side | [`nemesis`] (`process`) with `run --new-binary`, and [`roll`] |
//! | I24 bad input | [`cluster`] (`reap`, `panics`): no node ends or panics. Hostile input itself is tested in `node` |

#![allow(clippy::disallowed_methods, reason = "a client of real processes, outside of any simulation")]

pub mod admin;
pub mod audit;
pub mod availability;
pub mod bench;
pub mod check;
pub mod cli;
pub mod client;
pub mod clock;
pub mod cluster;
pub mod dice;
pub mod disk;
pub mod erase;
pub mod history;
pub mod html;
pub mod idle;
pub mod ledger;
pub mod load;
pub mod machine;
pub mod meta;
pub mod metering;
pub mod nemesis;
pub mod net;
pub mod overload;
pub mod procfs;
pub mod proxy;
pub mod ranges;
pub mod report;
pub mod roll;
pub mod run;
pub mod sandbox;
pub mod sender;
pub mod soak;
pub mod switch;
pub mod tally;
pub mod tool;
pub mod watch;
pub mod wgl;
pub mod workload;
