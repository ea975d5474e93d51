//! `meta`: records of the node (local 0) and of each shard's data.

use super::{KeyReader, join};
use crate::error::Corruption;

/// What a record of `meta` holds. The numbers are stored; never change one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum MetaTag {
    /// Of the node: the next free local number. Written before a number is used.
    Node = 0,
    /// Whose data this is, and whether it lives, is being received or is being removed.
    Identity = 1,
    /// The manifest with everything that changes with it.
    Manifest = 2,
    /// Parts that may exist without being listed; synced before the first of them does.
    Pending = 3,
}

/// A key of `meta`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MetaKey {
    /// The node's own number of the data; 0 is the node itself.
    pub local: u32,
    /// Which record.
    pub tag: MetaTag,
}

impl MetaKey {
    /// The stored form.
    #[must_use]
    pub fn encode(self) -> [u8; 5] {
        join(&[&self.local.to_be_bytes(), &[self.tag as u8]])
    }

    /// Reads the stored form.
    ///
    /// # Errors
    /// Wrong length or unknown tag.
    pub fn decode(key: &[u8]) -> Result<Self, Corruption> {
        let mut reader = KeyReader(key);
        let local = reader.u32()?;
        let tag = match reader.array::<1>()? {
            [0] => MetaTag::Node,
            [1] => MetaTag::Identity,
            [2] => MetaTag::Manifest,
            [3] => MetaTag::Pending,
            _ => return Err(Corruption::new("unknown tag of a meta record")),
        };
        reader.end()?;
        Ok(Self { local, tag })
    }
}
