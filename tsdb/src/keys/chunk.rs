//! `chunk`: groups of chunks of consecutive series of one metric. Written by ingested files, removed with the part.

use super::{KeyReader, join, u48_bytes};
use crate::error::Corruption;

/// A key of `chunk`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkKey {
    /// Days since 1970.
    pub day: u16,
    /// The node's own number of the data.
    pub local: u32,
    /// Metric number, given by the shard.
    pub metric: u32,
    /// Part, below 2^48.
    pub part: u64,
    /// Lowest series of the group.
    pub first_sid: u32,
}

impl ChunkKey {
    /// The stored form.
    #[must_use]
    pub fn encode(self) -> [u8; 20] {
        join(&[
            &self.day.to_be_bytes(),
            &self.local.to_be_bytes(),
            &self.metric.to_be_bytes(),
            &u48_bytes(self.part),
            &self.first_sid.to_be_bytes(),
        ])
    }

    /// Reads the stored form.
    ///
    /// # Errors
    /// Wrong length.
    pub fn decode(key: &[u8]) -> Result<Self, Corruption> {
        let mut reader = KeyReader(key);
        let decoded =
            Self { day: reader.u16()?, local: reader.u32()?, metric: reader.u32()?, part: reader.u48()?, first_sid: reader.u32()? };
        reader.end()?;
        Ok(decoded)
    }
}
