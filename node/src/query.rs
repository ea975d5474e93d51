//! Queries: a place to run, reading fragments from replicas, evaluation, and the answer.
//!
//! ```text
//! http::query_api -> frontend: parse, register (active), wait for a place (admit), cache
//!                       -> engine: cut the plan, ask the shards (ask -> execute at each), merge, evaluate the rest
//! ```
//!
//! Shards compute their shares of a query ([`execute`]); the node that was asked brings them together ([`engine`], [`ask`]). Reads of
//! label names and the like, and of samples where a node does not know a query's operators, go through [`scatter`].

pub mod active;
pub mod admit;
pub mod ask;
pub mod cache;
pub mod changes;
pub mod engine;
pub mod execute;
pub mod fragment_service;
pub mod frames;
pub mod frontend;
pub mod result;
pub mod scatter;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Cancels the reads and the evaluation that share its flag when it is dropped: with the caller's future, so that no work goes on after it.
#[derive(Debug, Default)]
pub struct CancelOnDrop {
    /// True once the caller has gone.
    pub cancelled: Arc<AtomicBool>,
}

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }
}
