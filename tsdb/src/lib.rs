//! One shard's storage.

pub mod chunk;
pub mod config;
pub mod db;
pub mod entry;
pub mod error;
mod head;
pub mod keys;
pub mod metrics;
mod postings;
pub mod resolve;
pub mod rows;
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
pub use shard::{ApplyError, CheckpointReason, Shard};
pub use stats::ShardStats;
pub use verdict::{ApplyResponse, PartVerdict, Refusal};
pub use view::{ReadError, ReadView, SelectedSeries, TimeRange};
