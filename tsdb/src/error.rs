//! What can go wrong with stored bytes and with the database.

use crate::store::Step;
use model::{ReplicaId, ShardId};

/// Bytes that do not mean what they should.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("corrupt bytes: {detail}")]
pub struct Corruption {
    /// What was expected or found.
    pub detail: &'static str,
}

impl Corruption {
    /// Names what is wrong.
    #[must_use]
    pub fn new(detail: &'static str) -> Self {
        Self { detail }
    }
}

/// Why an operation on the database did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// RocksDB refused or failed.
    #[error("rocksdb: {0}")]
    Rocks(#[from] rocksdb::Error),
    /// A file of the database's own folders could not be handled.
    #[error("file {path}: {source}")]
    File {
        /// Which file or folder.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// A stored value cannot be read.
    #[error("corrupt value in {family} at {key:02x?}: {source}")]
    Corrupt {
        /// Column family that holds the value.
        family: &'static str,
        /// Its key.
        key: Vec<u8>,
        /// What is wrong with it.
        source: Corruption,
    },
    /// A stored value cannot be opened.
    #[error("sealed value in {family} at {key:02x?}: {source}")]
    Sealed {
        /// Column family that holds the value.
        family: &'static str,
        /// Its key.
        key: Vec<u8>,
        /// Why not.
        source: model::seal::OpenError,
    },
    /// A value of the manifest's must be there and is not.
    #[error("missing value in {family} at {key:02x?}")]
    Missing {
        /// Column family that should hold the value.
        family: &'static str,
        /// Its key.
        key: Vec<u8>,
    },
    /// This node has no such replica.
    #[error("no replica {replica} of shard {shard} in this database")]
    UnknownShard {
        /// The shard asked for.
        shard: ShardId,
        /// The replica asked for.
        replica: ReplicaId,
    },
    /// The replica exists already.
    #[error("replica {replica} of shard {shard} exists already")]
    ShardExists {
        /// The shard.
        shard: ShardId,
        /// The replica.
        replica: ReplicaId,
    },
    /// The handle belongs to data that was destroyed or replaced.
    #[error("the data behind this handle was destroyed or replaced")]
    Retired,
    /// Another checkpoint of the shard is being written.
    #[error("a checkpoint of this shard is being written already")]
    CheckpointRunning,
    /// A checkpoint page is larger than allowed.
    #[error("page of {bytes} bytes is larger than {max}")]
    PageTooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// A chunk does not lie inside the day of its part.
    #[error("chunk {first_ms}..{last_ms} is not inside day {day}")]
    ChunkOutsideDay {
        /// Day of the part, since 1970.
        day: u16,
        /// First time of the chunk.
        first_ms: i64,
        /// Last time of the chunk.
        last_ms: i64,
    },
    /// Series or chunks of a part came in the wrong order, or a chunk before its series.
    #[error("part is written out of order at metric {metric} series {sid}")]
    OutOfOrder {
        /// Metric number.
        metric: u32,
        /// Series number.
        sid: u32,
    },
    /// A part of the checkpoint was begun and not finished, so samples would be missing.
    #[error("{parts} parts of the checkpoint were not finished")]
    PartUnfinished {
        /// How many.
        parts: u32,
    },
    /// A listed part does not hold what the manifest says.
    #[error("part {part} of day {day} has {found_keys} keys with hash {found_hash:08x}, listed are {keys} with {hash:08x}")]
    PartDamaged {
        /// Its number.
        part: u64,
        /// Its day, since 1970.
        day: u16,
        /// Keys listed.
        keys: u64,
        /// Hash listed.
        hash: u32,
        /// Keys found.
        found_keys: u64,
        /// Hash found.
        found_hash: u32,
    },
    /// The caller's stop flag was set; nothing was changed.
    #[error("stopped before it was done, as asked")]
    Cancelled,
    /// A transferred copy is not what its meta promised.
    #[error("transfer mismatch: {0}")]
    Transfer(#[from] TransferError),
    /// A test asked to stop here.
    #[error("stopped after step {0:?}, as the fault plan says")]
    Stopped(Step),
}

impl StoreError {
    /// Whether the same call may succeed later without anyone repairing anything.
    #[must_use]
    pub fn is_retriable(&self) -> bool {
        matches!(self, Self::CheckpointRunning | Self::Cancelled)
    }
}

/// Why a transferred copy of a shard was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransferError {
    /// A block's checksum is wrong, or it is cut off.
    #[error("block {index}: {source}")]
    Block {
        /// Number of the block, from 0.
        index: u64,
        /// What is wrong with it.
        source: Corruption,
    },
    /// A record is out of order, so records were lost or repeated.
    #[error("block {index}: records out of order")]
    Order {
        /// Number of the block, from 0.
        index: u64,
    },
    /// A record belongs to a part or generation that the meta does not list.
    #[error("block {index}: record of an unlisted part or generation")]
    Unlisted {
        /// Number of the block, from 0.
        index: u64,
    },
    /// A part, or the pages or series (part 0), came incomplete or changed.
    #[error("part {part}: {found_keys} keys with hash {found_hash:08x}, promised {keys} with {hash:08x}")]
    Content {
        /// Number of the part; 0 stands for pages and series.
        part: u64,
        /// Keys promised.
        keys: u64,
        /// Hash promised.
        hash: u32,
        /// Keys received.
        found_keys: u64,
        /// Hash received.
        found_hash: u32,
    },
}
