//! One shard's storage: what a replica does with the committed log of its shard, and what it answers to reads.
//!
//! It is synchronous and local: it imports `model` alone, knows neither Raft nor PromQL nor the network, starts no thread and reads no
//! clock. `node` feeds it entries, calls [`Shard::checkpoint`] from a worker, and runs queries over [`ReadView`]s.
//!
//! ```text
//! leader:  rows --> resolve::EntryBuilder --> entry --(Raft)--+
//!                                                             v
//! replica:                             Shard::apply --> head + postings --(checkpoint)--> store: parts, index segments, pages
//!                                           |                 |                              |
//!                                     ApplyResponse           +---------- ReadView ----------+
//! ```
//!
//! | module | holds |
//! |---|---|
//! | [`rows`] | series with samples on their way from a router to a leader |
//! | [`record`] | histograms, floats with a start, exemplars: what is more than a plain float |
//! | [`metadata`] | type, help and unit of metric families |
//! | [`resolve`], [`entry`] | the log's entries: made by the leader, read by apply |
//! | [`shard`] | apply, verdicts, checkpoint, restore |
//! | [`verdict`] | what the sender is told |
//! | `head`, `postings`, `state` | the shard in memory |
//! | `select` | matchers over any postings |
//! | [`view`], [`stats`], [`cardinality`] | reading |
//! | [`chunk`] | codecs of samples |
//! | [`db`], [`store`], [`keys`] | the chunk database |
//!
//! Invariant: the result of apply is a function of the log alone: there is no clock, no randomness and no hash-map order in it, and
//! nothing in it depends on what a checkpoint flushed or on which series left the head (`core.md` C1).
//!
//! When you add a field to what apply changes, `state::pages` and `shard::checkpoint` refuse to compile until you say how a
//! checkpoint holds it. When you change an entry, a page or a key, its version byte and golden test change too.

pub mod cardinality;
pub mod chunk;
pub mod config;
pub mod db;
pub mod entry;
pub mod error;
mod head;
pub mod keys;
pub mod metadata;
pub mod metrics;
mod postings;
pub mod record;
pub mod resolve;
pub mod rows;
mod runs;
mod select;
pub mod shard;
mod state;
pub mod stats;
pub mod store;
pub mod verdict;
pub mod view;
pub mod wire;

pub use config::ShardConfig;
pub use db::{Db, DbOptions, ShardIdentity};
pub use resolve::{EntryBuilder, PartInput};
pub use shard::{ApplyError, Changes, CheckpointReason, Shard};
pub use stats::ShardStats;
pub use verdict::{ApplyResponse, PartVerdict, Refusal};
pub use view::{ReadError, ReadView, SelectedSeries, TimeRange};
