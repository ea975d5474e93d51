//! Keys of the log's two column families. Big endian, so that one replica's entries are one ordered range.

use model::ReplicaId;

/// Column family of entries: `replica u64be | index u64be`.
pub(crate) const CF_LOG: &str = "log";
/// Column family of what is not an entry: `replica u64be | tag u8`.
pub(crate) const CF_STATE: &str = "state";

/// What a replica keeps beside its entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum StateTag {
    /// The vote it gave last.
    Vote = 1,
    /// The last entry that was purged.
    Purged = 2,
    /// The last entry known as committed; may be behind.
    Committed = 3,
}

impl StateTag {
    /// Every tag.
    pub const ALL: [Self; 3] = [Self::Vote, Self::Purged, Self::Committed];
}

/// Key of an entry.
pub(crate) fn entry(replica: ReplicaId, index: u64) -> [u8; 16] {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&replica.0.to_be_bytes());
    key[8..].copy_from_slice(&index.to_be_bytes());
    key
}

/// Key of a state value.
pub(crate) fn state(replica: ReplicaId, tag: StateTag) -> [u8; 9] {
    let mut key = [0; 9];
    key[..8].copy_from_slice(&replica.0.to_be_bytes());
    key[8] = tag as u8;
    key
}

/// Index of an entry's key, if the key is that replica's.
pub(crate) fn index_of(replica: ReplicaId, key: &[u8]) -> Option<u64> {
    let (prefix, index) = key.split_first_chunk::<8>()?;
    let index: [u8; 8] = index.try_into().ok()?;
    (u64::from_be_bytes(*prefix) == replica.0).then(|| u64::from_be_bytes(index))
}
