//! What a log needs of a database.

use super::keys::StateTag;
use super::loss::LogLoss;
use bytes::Bytes;
use model::ReplicaId;
use std::time::Duration;
use std::{fmt, io};

/// One change. A batch of them is atomic.
#[derive(Clone, Debug)]
pub enum LogOp {
    /// Stores an entry.
    PutEntry {
        /// Whose log.
        replica: ReplicaId,
        /// Its index.
        index: u64,
        /// Its sealed value.
        value: Bytes,
    },
    /// Removes the entries at and after `index`.
    Truncate {
        /// Whose log.
        replica: ReplicaId,
        /// First index to go.
        index: u64,
    },
    /// Removes the entries at and before `index`.
    Purge {
        /// Whose log.
        replica: ReplicaId,
        /// Last index to go.
        index: u64,
    },
    /// Stores a state value.
    PutState {
        /// Whose state.
        replica: ReplicaId,
        /// Which.
        tag: StateTag,
        /// Its sealed value.
        value: Bytes,
    },
    /// Removes everything of a replica.
    Destroy {
        /// Whose.
        replica: ReplicaId,
    },
}

impl LogOp {
    /// Bytes it adds to a batch, roughly.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::PutEntry { value, .. } | Self::PutState { value, .. } => value.len() + 32,
            Self::Truncate { .. } | Self::Purge { .. } | Self::Destroy { .. } => 64,
        }
    }
}

/// A database that holds the logs of all replicas of a store.
///
/// Laws:
/// 1. `write` is atomic and takes effect in call order; only one thread calls it.
/// 2. When a `write` with `sync` returned `Ok`, it and every earlier one survive a power cut.
/// 3. After an `Err` nothing is known about the batch; the caller stops.
pub trait LogEngine: Send + Sync + fmt::Debug + 'static {
    /// Writes a batch; with `sync` it and all earlier ones are durable when it returns.
    ///
    /// # Errors
    /// The database refused or the disk failed.
    fn write(&self, ops: &[LogOp], sync: bool) -> io::Result<()>;

    /// Entries of `from..to` in order, without gaps, at least one if `from` exists, else as many as fit `bytes_max`.
    ///
    /// # Errors
    /// The database cannot be read.
    fn entries(&self, replica: ReplicaId, from: u64, to: u64, bytes_max: usize) -> io::Result<Vec<(u64, Bytes)>>;

    /// The sealed value of the first entry.
    ///
    /// # Errors
    /// The database cannot be read.
    fn first_entry(&self, replica: ReplicaId) -> io::Result<Option<Bytes>>;

    /// Index of the last entry.
    ///
    /// # Errors
    /// The database cannot be read.
    fn last_index(&self, replica: ReplicaId) -> io::Result<Option<u64>>;

    /// A state value.
    ///
    /// # Errors
    /// The database cannot be read.
    fn state(&self, replica: ReplicaId, tag: StateTag) -> io::Result<Option<Bytes>>;

    /// Every replica that has a vote or an entry.
    ///
    /// # Errors
    /// The database cannot be read.
    fn replicas(&self) -> io::Result<Vec<ReplicaId>>;

    /// What this log is known to have lost, ever. Its lost replicas must not vote again.
    fn loss(&self) -> Option<&LogLoss>;

    /// A number that grows with what is synced: other stores remember it, so that an older image of the disk is known for what it is. A start
    /// may know a little less of it than the one before had told.
    fn synced(&self) -> u64;

    /// How far the log reaches, synced or not: on the same disk never less than [`LogEngine::synced`] has ever told.
    fn reaches(&self) -> u64 {
        self.synced()
    }

    /// Bytes that the log takes on disk, roughly, purged entries included that have not been given back.
    fn stored_bytes(&self) -> u64;

    /// How long a simulated disk takes for its next sync, waited for between the write of a batch and its sync. A real disk takes its
    /// time inside [`LogEngine::write`].
    fn sync_pause(&self) -> Duration {
        Duration::ZERO
    }

    /// Moves what is in memory to its final files without what was purged, so that write-ahead files can go.
    ///
    /// # Errors
    /// The database refused or the disk failed.
    fn flush(&self) -> io::Result<()>;
}
