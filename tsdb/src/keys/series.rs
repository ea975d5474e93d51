//! `series`: what is known of a series, by its number. Written once, before the first part that holds it is listed.

use super::{KeyReader, join};
use crate::error::Corruption;

/// A key of `series`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeriesKey {
    /// The node's own number of the data.
    pub local: u32,
    /// Series number.
    pub sid: u32,
}

impl SeriesKey {
    /// The stored form.
    #[must_use]
    pub fn encode(self) -> [u8; 8] {
        join(&[&self.local.to_be_bytes(), &self.sid.to_be_bytes()])
    }

    /// Reads the stored form.
    ///
    /// # Errors
    /// Wrong length.
    pub fn decode(key: &[u8]) -> Result<Self, Corruption> {
        let mut reader = KeyReader(key);
        let decoded = Self { local: reader.u32()?, sid: reader.u32()? };
        reader.end()?;
        Ok(decoded)
    }
}
