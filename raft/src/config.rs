//! Settings of all groups of a process. Plain values; who reads flags and files is `node`.

use crate::error::{FatalError, GroupError};
use model::limits;
use model::planted::{self, Bug};
use model::seal::Seal;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// Called once when what is durable is no longer known. It must not return to normal work; the default aborts the process.
#[derive(Clone)]
pub struct FatalHandler(Arc<dyn Fn(&FatalError) + Send + Sync>);

impl FatalHandler {
    /// Takes the action; anything but ending the process is for tests.
    pub fn new(action: impl Fn(&FatalError) + Send + Sync + 'static) -> Self {
        Self(Arc::new(action))
    }

    /// Tells that `error` has happened.
    pub fn call(&self, error: &FatalError) {
        (self.0)(error);
    }
}

impl Default for FatalHandler {
    fn default() -> Self {
        Self::new(|error| {
            tracing::error!(%error, "stopping the process: what is durable is no longer known");
            std::process::abort();
        })
    }
}

impl fmt::Debug for FatalHandler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FatalHandler")
    }
}

/// Settings shared by all groups of a process.
#[derive(Clone, Debug)]
pub struct RaftConfig {
    /// Interval of a leader's heartbeats.
    pub heartbeat: Duration,
    /// Shortest silence after which a follower stands for election.
    pub election_min: Duration,
    /// Longest silence after which a follower stands for election.
    pub election_max: Duration,
    /// A restarted voter that hears no leader stands after a random time between these two.
    pub restart_election_min: Duration,
    /// See [`RaftConfig::restart_election_min`].
    pub restart_election_max: Duration,
    /// After how long without use a group's timers stop; never if none.
    pub hibernate_after: Option<Duration>,
    /// Recent entries kept in memory, over all groups.
    pub tail_cache_bytes: usize,
    /// Bytes waiting for the log writer, over all groups; beside them every workspace may have a small share of its own.
    pub writer_queue_bytes: usize,
    /// Bytes of proposals in flight in one group.
    pub group_pending_bytes: usize,
    /// Bytes of proposals in flight on this node.
    pub node_pending_bytes: usize,
    /// Log kept for a follower that lags; one further behind takes a snapshot.
    pub lag_bytes: u64,
    /// Threads that run [`crate::StateMachine::apply`].
    pub apply_threads: usize,
    /// Blocks of snapshots sent to one peer, per second in bytes.
    pub snapshot_bytes_per_second: u64,
    /// What to do when durability is no longer known.
    pub fatal: FatalHandler,
    /// Seals and opens what the log stores.
    pub seal: Seal,
    /// Set by the owner while the disk has too little room: entries of leaders elsewhere are then refused before anything is written.
    pub disk_full: Arc<AtomicBool>,
}

impl Default for RaftConfig {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_millis(250),
            election_min: Duration::from_millis(1000),
            election_max: Duration::from_millis(2000),
            restart_election_min: Duration::from_millis(100),
            restart_election_max: Duration::from_millis(400),
            hibernate_after: None,
            tail_cache_bytes: 64 << 20,
            writer_queue_bytes: 64 << 20,
            group_pending_bytes: limits::SHARD_PENDING_BYTES_MAX,
            node_pending_bytes: limits::NODE_PENDING_BYTES_MAX,
            lag_bytes: 512 << 20,
            apply_threads: std::thread::available_parallelism().map_or(1, usize::from),
            snapshot_bytes_per_second: 32 << 20,
            fatal: FatalHandler::default(),
            disk_full: Arc::default(),
            seal: Seal::identity(),
        }
    }
}

impl RaftConfig {
    /// openraft's form of the settings.
    ///
    /// # Errors
    /// The times contradict each other.
    pub(crate) fn openraft(&self) -> Result<openraft::Config, GroupError> {
        let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let config = openraft::Config {
            cluster_name: "flotilla".to_owned(),
            heartbeat_interval: millis(self.heartbeat),
            election_timeout_min: millis(self.election_min),
            election_timeout_max: millis(self.election_max),
            // The application drives snapshots and purges: the log is purged only behind a synced checkpoint.
            snapshot_policy: openraft::SnapshotPolicy::Never,
            max_in_snapshot_log_to_keep: u64::MAX,
            purge_batch_size: 1,
            replication_lag_threshold: 10_000,
            max_payload_entries: 64,
            api_channel_size: Some(1024),
            state_machine_channel_size: Some(256),
            install_snapshot_timeout: millis(Duration::from_secs(3600)),
            // A head in memory restarts behind what was acknowledged: a restarted leader must be elected anew.
            enable_leader_restore: Some(planted::is(Bug::LeaderRestored)),
            enable_pre_vote: Some(true),
            // Switched on by the group itself, after the random delay of a start.
            enable_elect: false,
            // An entry goes to the followers while our own disk still writes it.
            broadcast_submitted_on_append: Some(true),
            ..Default::default()
        };
        config.validate().map_err(|error| GroupError::Config(error.to_string()))
    }
}
