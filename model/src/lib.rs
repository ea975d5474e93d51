//! Values that every crate speaks: labels, matchers, samples, identities, time, limits, and the text forms Prometheus gives them.
//!
//! It is not a place for helpers: only values with laws, and no I/O. A type that one crate uses lives in that crate.
//!
//! | module | holds |
//! |---|---|
//! | [`labels`] | a sorted label set |
//! | [`matcher`] | one label condition, `=`, `!=`, `=~`, `!~` |
//! | [`regex`] | RE2 patterns, translated or refused |
//! | [`sample`] | a timestamped value, the stale marker |
//! | [`time`] | timestamps and Prometheus durations |
//! | [`number`] | floats as Go and Prometheus print and read them |
//! | [`ids`] | workspace, shard, store, replica and series identities |
//! | [`generation`] | a workspace's shard map |
//! | [`hash`] | placement and identity hashes of label sets, jump hash |
//! | [`histogram`] | native histograms and their arithmetic |
//! | [`limits`] | every named maximum |
//! | [`seal`] | the one pair through which every stored value goes |
//! | [`clock`] | the only reader of the system's clocks |
//! | [`planted`] | bugs to measure the simulation with; never in what is shipped |
//! | [`threads`] | whether work that blocks gets threads, or runs inline in a simulation |
//!
//! When you change [`hash`] or [`seal`], stored data changes meaning: golden tests hold both.

pub mod clock;
pub mod generation;
pub mod hash;
pub mod histogram;
pub mod ids;
pub mod labels;
pub mod limits;
pub mod lru;
pub mod matcher;
pub mod number;
pub mod planted;
pub mod regex;
pub mod sample;
pub mod seal;
pub mod threads;
pub mod time;

pub use clock::Clock;
pub use generation::{Generation, GenerationList};
pub use histogram::FloatHistogram;
pub use ids::{LogPoint, ReplicaId, SeriesId, ShardId, StoreId, WorkspaceId};
pub use labels::{Labels, LabelsBuilder};
pub use matcher::{MatchOp, Matcher};
pub use sample::Sample;
pub use time::Timestamp;
