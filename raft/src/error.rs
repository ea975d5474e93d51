//! What can go wrong, as facts. Nothing of openraft shows through.

use model::{LogPoint, ReplicaId, ShardId, StoreId};
use std::io;
use std::path::PathBuf;

/// The leader as far as a replica knows.
pub type Leader = (ReplicaId, StoreId);

/// Why the log store did not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The ledger file itself is damaged.
    #[error("ledger {path:?} is damaged: {reason}")]
    LedgerDamaged {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        reason: &'static str,
    },
    /// The note of what the log has lost is itself damaged.
    #[error("the note of lost records {path:?} is damaged")]
    LossDamaged {
        /// The file.
        path: PathBuf,
    },
    /// RocksDB refused.
    #[error("log in {path:?}: {source}")]
    Database {
        /// Directory of the log.
        path: PathBuf,
        /// RocksDB's answer.
        source: rocksdb::Error,
    },
    /// The file system refused.
    #[error("{path:?}: {source}")]
    File {
        /// The file or directory.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
}

impl OpenError {
    /// Whether stored bytes are not what they were: opening again changes nothing.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        match self {
            Self::LedgerDamaged { .. } | Self::LossDamaged { .. } => true,
            Self::Database { source, .. } => source.kind() == rocksdb::ErrorKind::Corruption,
            Self::File { .. } => false,
        }
    }
}

/// A failure after which this process must stop: what is durable is no longer known.
#[derive(Debug, thiserror::Error)]
pub enum FatalError {
    /// A write or fsync of the log failed. It is never retried.
    #[error("raft log write failed: {0}")]
    LogWrite(io::Error),
    /// A group's state machine or log reader failed.
    #[error("group {shard} stopped: {reason}")]
    Group {
        /// The group.
        shard: ShardId,
        /// openraft's account.
        reason: String,
    },
    /// Others know more of this disk than it does. The next start takes its replicas for lost.
    #[error("this disk is an older image of itself: its log reaches to {held}, others have heard of {heard}")]
    OldImage {
        /// How far the log reaches.
        held: u64,
        /// How far another node has heard that it was synced.
        heard: u64,
    },
}

/// A replica that this node does not open, because it may have forgotten what it once acknowledged. To be replaced under a new id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("group {shard}: replica {replica} is lost and must be replaced: {cause}")]
pub struct LostReplica {
    /// The group.
    pub shard: ShardId,
    /// The lost replica.
    pub replica: ReplicaId,
    /// How that is known.
    pub cause: LossCause,
}

/// How it is known that a replica is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LossCause {
    /// The checkpoint is older than the purged log: entries between the two are nowhere.
    #[error("its log is purged to {purged}, its checkpoint is at {durable:?}")]
    CheckpointBehindLog {
        /// Last purged entry.
        purged: LogPoint,
        /// Last entry that the checkpoint covers.
        durable: Option<LogPoint>,
    },
    /// The log of this store once ended before what was known as synced: a restored image, or a damaged write-ahead log that RocksDB
    /// cut. Which replicas the lost records belonged to cannot be told, so all that were here then are lost.
    #[error("the store's log ended at sequence number {latest}, but {ledger} was synced")]
    LogBehindLedger {
        /// Last sequence number found.
        latest: u64,
        /// Last sequence number known to be synced.
        ledger: u64,
    },
    /// There is a checkpoint, but neither a vote nor an entry: the log was removed.
    #[error("its log is gone, its checkpoint is at {durable}")]
    LogMissing {
        /// Last entry that the checkpoint covers.
        durable: LogPoint,
    },
}

/// Why a group did not open.
#[derive(Debug, thiserror::Error)]
pub enum GroupError {
    /// The group is open already.
    #[error("group {0} is open already")]
    AlreadyOpen(ShardId),
    /// No such group on this node.
    #[error("group {0} is not open on this node")]
    NotOpen(ShardId),
    /// The replica must never vote again; what it has stored is left in place. Opening it again changes nothing.
    #[error(transparent)]
    Lost(#[from] LostReplica),
    /// The setting contradicts itself.
    #[error("raft configuration: {0}")]
    Config(String),
    /// The log store or the state machine could not be read.
    #[error("group {shard}: {reason}")]
    Storage {
        /// The group.
        shard: ShardId,
        /// What happened.
        reason: String,
    },
}

/// Why a proposal was not answered by apply.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// Not appended: this replica does not lead, or not in the expected term, or its lease ran out.
    #[error("not the leader, which is {leader:?}")]
    NotLeader {
        /// Whom to ask instead.
        leader: Option<Leader>,
    },
    /// Not appended: too many bytes in flight.
    #[error("too many bytes of proposals in flight")]
    Overloaded,
    /// Not appended: the payload exceeds the limit of an entry.
    #[error("payload of {bytes} bytes exceeds {max}")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// Appended here; whether it will be applied is not known. Retry with the same identity.
    #[error("outcome unknown: the leader changed before the entry was committed")]
    Unknown,
    /// The group is closed.
    #[error("group is closed")]
    Stopped,
}

/// Why a read barrier was not confirmed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BarrierError {
    /// The replica asked does not lead.
    #[error("not the leader, which is {leader:?}")]
    NotLeader {
        /// Whom to ask instead.
        leader: Option<Leader>,
    },
    /// No quorum confirmed the leader in time.
    #[error("no quorum confirmed the leader in time")]
    NoQuorum,
    /// The leader's node has no such group open.
    #[error("group {0} is not open on the node asked")]
    NotOpen(ShardId),
    /// The deadline passed.
    #[error("deadline passed")]
    Timeout,
    /// The leader's node was not reached.
    #[error("store {store}: {reason}")]
    Unreachable {
        /// The node's store.
        store: StoreId,
        /// The transport's account.
        reason: String,
    },
    /// The group is closed.
    #[error("group is closed")]
    Stopped,
}

/// Why waiting ended without the state waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WaitError {
    /// The deadline passed.
    #[error("deadline passed")]
    Timeout,
    /// The group is closed.
    #[error("group is closed")]
    Stopped,
}

/// Why a membership was not changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MembershipError {
    /// This replica does not lead.
    #[error("not the leader, which is {leader:?}")]
    NotLeader {
        /// Whom to ask instead.
        leader: Option<Leader>,
    },
    /// Refused: the group is initialised already, another change is running, or the change is not legal.
    #[error("refused: {0}")]
    Refused(String),
    /// Whether the change happened is not known.
    #[error("outcome unknown: the leader changed before the entry was committed")]
    Unknown,
    /// The group is closed.
    #[error("group is closed")]
    Stopped,
}

/// Why two stores may not talk.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HelloError {
    /// The peer said nothing.
    #[error("the first frame is not a hello")]
    Missing,
    /// The peer belongs to another cluster.
    #[error("cluster id differs: ours is {ours}, theirs is {theirs}")]
    Cluster {
        /// Ours, in hexadecimal.
        ours: String,
        /// Theirs, in hexadecimal.
        theirs: String,
    },
    /// The peer is not the store that was dialled.
    #[error("store differs: expected {expected}, reached {actual}")]
    Store {
        /// The store meant.
        expected: StoreId,
        /// The store reached.
        actual: StoreId,
    },
    /// No protocol version is known to both.
    #[error("protocol differs: ours is {ours_min}..={ours_max}, theirs is {theirs_min}..={theirs_max}")]
    Protocol {
        /// Our oldest.
        ours_min: u32,
        /// Our newest.
        ours_max: u32,
        /// Their oldest.
        theirs_min: u32,
        /// Their newest.
        theirs_max: u32,
    },
}

/// Why a peer was not reached or did not answer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum TransportError {
    /// No address is known for the store.
    #[error("no address known for store {0}")]
    UnknownPeer(StoreId),
    /// The peer was not reached, or the connection broke.
    #[error("store {store}: {reason}")]
    Unreachable {
        /// The peer.
        store: StoreId,
        /// What happened.
        reason: String,
    },
    /// The peer refused the connection.
    #[error("store {store} refused: {source}")]
    Hello {
        /// The peer.
        store: StoreId,
        /// What differs.
        source: HelloError,
    },
    /// No answer before the deadline.
    #[error("store {0}: no answer in time")]
    Timeout(StoreId),
    /// The peer rejected the request.
    #[error("store {store} rejected: {reason}")]
    Rejected {
        /// The peer.
        store: StoreId,
        /// Its reason.
        reason: String,
    },
}

/// What a state machine reports when it cannot go on. The group stops and the process with it.
#[derive(Debug, thiserror::Error)]
#[error("state machine: {0}")]
pub struct StateMachineError(#[source] pub Box<dyn std::error::Error + Send + Sync>);

impl StateMachineError {
    /// Wraps any error.
    pub fn new(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self(error.into())
    }
}

impl From<StateMachineError> for io::Error {
    fn from(error: StateMachineError) -> Self {
        Self::other(error)
    }
}
