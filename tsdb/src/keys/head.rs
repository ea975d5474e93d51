//! `head`: pages of checkpoints. A generation exists only if the manifest names it.

use super::{KeyReader, join};
use crate::error::Corruption;

/// A key of `head`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadKey {
    /// The node's own number of the data.
    pub local: u32,
    /// Checkpoint generation.
    pub generation: u32,
    /// Page, from 0.
    pub page: u32,
}

impl HeadKey {
    /// The stored form.
    #[must_use]
    pub fn encode(self) -> [u8; 12] {
        join(&[&self.local.to_be_bytes(), &self.generation.to_be_bytes(), &self.page.to_be_bytes()])
    }

    /// Reads the stored form.
    ///
    /// # Errors
    /// Wrong length.
    pub fn decode(key: &[u8]) -> Result<Self, Corruption> {
        let mut reader = KeyReader(key);
        let decoded = Self { local: reader.u32()?, generation: reader.u32()?, page: reader.u32()? };
        reader.end()?;
        Ok(decoded)
    }
}
