//! `index`: segments of a day's index. Section 0 is the directory, each further one holds the postings of one label name.

use super::{KeyReader, join, u48_bytes};
use crate::error::Corruption;

/// A key of `index`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IndexKey {
    /// Days since 1970.
    pub day: u16,
    /// The node's own number of the data.
    pub local: u32,
    /// 0 or the number of a label name inside the segment.
    pub section: u32,
    /// Part, below 2^48.
    pub part: u64,
    /// Page inside the section.
    pub page: u32,
}

impl IndexKey {
    /// The stored form.
    #[must_use]
    pub fn encode(self) -> [u8; 20] {
        join(&[
            &self.day.to_be_bytes(),
            &self.local.to_be_bytes(),
            &self.section.to_be_bytes(),
            &u48_bytes(self.part),
            &self.page.to_be_bytes(),
        ])
    }

    /// Reads the stored form.
    ///
    /// # Errors
    /// Wrong length.
    pub fn decode(key: &[u8]) -> Result<Self, Corruption> {
        let mut reader = KeyReader(key);
        let decoded = Self { day: reader.u16()?, local: reader.u32()?, section: reader.u32()?, part: reader.u48()?, page: reader.u32()? };
        reader.end()?;
        Ok(decoded)
    }
}
