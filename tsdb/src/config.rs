//! What a shard is told when it opens. Nothing here takes part in a verdict: those settings are entries of the log.

use std::time::Duration;

/// Sizes and times of one shard's head.
#[derive(Clone, Debug)]
pub struct ShardConfig {
    /// Bytes the head may take before a checkpoint is wanted whatever the log holds.
    pub head_bytes_max: u64,
    /// Log bytes since the last checkpoint at which one is due.
    pub log_bytes_max: u64,
    /// Time a replay of the log since the last checkpoint may take, on one core.
    pub replay_max: Duration,
    /// Entry time since the last checkpoint after which one is due, if anything was written.
    pub age_max: Duration,
    /// Log bytes since the last checkpoint at which an idle node takes one.
    pub idle_log_bytes: u64,
    /// Replay time at which an idle node takes a checkpoint.
    pub idle_replay: Duration,
    /// Flushes of a day that is not over at which they are merged into one part.
    pub flush_parts_max: usize,
}

impl Default for ShardConfig {
    fn default() -> Self {
        Self {
            head_bytes_max: 512 << 20,
            log_bytes_max: 512 << 20,
            replay_max: Duration::from_secs(5),
            age_max: Duration::from_secs(30 * 60),
            idle_log_bytes: 8 << 20,
            idle_replay: Duration::from_millis(100),
            flush_parts_max: 8,
        }
    }
}
