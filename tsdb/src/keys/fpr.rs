//! `fpr`: series numbers by identity hash. Written with the record in `series`.

use super::{KeyReader, join};
use crate::error::Corruption;

/// A key of `fpr`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FprKey {
    /// The node's own number of the data.
    pub local: u32,
    /// Identity hash of the labels.
    pub fp128: u128,
}

impl FprKey {
    /// The stored form.
    #[must_use]
    pub fn encode(self) -> [u8; 20] {
        join(&[&self.local.to_be_bytes(), &self.fp128.to_be_bytes()])
    }

    /// Reads the stored form.
    ///
    /// # Errors
    /// Wrong length.
    pub fn decode(key: &[u8]) -> Result<Self, Corruption> {
        let mut reader = KeyReader(key);
        let decoded = Self { local: reader.u32()?, fp128: u128::from_be_bytes(reader.array()?) };
        reader.end()?;
        Ok(decoded)
    }
}
