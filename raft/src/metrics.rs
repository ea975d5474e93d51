//! Names of this crate's metrics and the only functions that record them. The label `group` is a shard id.

use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use model::ShardId;
use std::time::Duration;

/// Current term. Label: `group`.
pub const TERM: &str = "flotilla_raft_term";
/// 1 while this replica leads. Label: `group`.
pub const LEADER: &str = "flotilla_raft_leader";
/// Last index known as committed. Label: `group`.
pub const COMMIT_INDEX: &str = "flotilla_raft_commit_index";
/// Last index applied. Label: `group`.
pub const APPLIED_INDEX: &str = "flotilla_raft_applied_index";
/// From a proposal to its answer by apply.
pub const PROPOSE_SECONDS: &str = "flotilla_raft_propose_seconds";
/// One synced batch of the log.
pub const FSYNC_SECONDS: &str = "flotilla_raftdb_fsync_seconds";

/// Replicas that this node does not open because they are lost.
pub const LOST_REPLICAS: &str = "flotilla_raft_lost_replicas";
/// Replicas whose timers stand still because nobody uses their groups.
pub const ASLEEP_REPLICAS: &str = "flotilla_raft_asleep_replicas";
/// Requests of other stores that were dropped unserved because their deadline had passed.
pub const EXPIRED_REQUESTS: &str = "flotilla_raft_expired_requests_total";

/// Registers the descriptions.
pub fn describe() {
    describe_gauge!(TERM, Unit::Count, "Current Raft term.");
    describe_gauge!(LEADER, Unit::Count, "1 while this replica leads its group.");
    describe_gauge!(COMMIT_INDEX, Unit::Count, "Last log index known as committed.");
    describe_gauge!(APPLIED_INDEX, Unit::Count, "Last log index applied.");
    describe_histogram!(PROPOSE_SECONDS, Unit::Seconds, "Time from a proposal to its answer by apply.");
    describe_histogram!(FSYNC_SECONDS, Unit::Seconds, "Time of one synced batch of the Raft log, all groups together.");
    describe_gauge!(LOST_REPLICAS, Unit::Count, "Replicas that are lost and wait to be replaced.");
    describe_gauge!(ASLEEP_REPLICAS, Unit::Count, "Replicas whose timers stand still because nobody uses their groups.");
    describe_counter!(EXPIRED_REQUESTS, Unit::Count, "Requests of other stores dropped because their deadline had passed.");
}

pub(crate) fn observe_propose(took: Duration) {
    histogram!(PROPOSE_SECONDS).record(took.as_secs_f64());
}

pub(crate) fn observe_fsync(took: Duration) {
    histogram!(FSYNC_SECONDS).record(took.as_secs_f64());
}

pub(crate) fn count_expired() {
    counter!(EXPIRED_REQUESTS).increment(1);
}

#[allow(clippy::cast_precision_loss, reason = "gauges are floats")]
pub(crate) fn set_lost(replicas: usize) {
    gauge!(LOST_REPLICAS).set(replicas as f64);
}

#[allow(clippy::cast_precision_loss, reason = "gauges are floats")]
pub(crate) fn set_asleep(replicas: usize) {
    gauge!(ASLEEP_REPLICAS).set(replicas as f64);
}

#[allow(clippy::cast_precision_loss, reason = "gauges are floats")]
pub(crate) fn set_group(shard: ShardId, status: &crate::GroupStatus) {
    let group = shard.to_string();
    gauge!(TERM, "group" => group.clone()).set(status.term as f64);
    gauge!(LEADER, "group" => group.clone()).set(f64::from(u8::from(status.is_leader)));
    gauge!(COMMIT_INDEX, "group" => group.clone()).set(status.commit_index.unwrap_or(0) as f64);
    gauge!(APPLIED_INDEX, "group" => group).set(status.applied_index.unwrap_or(0) as f64);
}
