//! What one shard keeps on disk.

pub mod faults;
pub mod select;

pub use faults::{FaultPlan, Step};
