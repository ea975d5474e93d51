//! What a transfer promises.

use crate::error::Corruption;
use crate::store::manifest::Manifest;
use crate::wire::{Reader, check_crc, put_bytes, put_crc};
use model::LogPoint;

const FORMAT: u8 = 1;

/// What is sent: the manifest of the view, whose parts carry their key counts and hashes.
#[derive(Clone, Debug, PartialEq)]
pub struct ExportMeta {
    pub(super) manifest: Manifest,
}

impl ExportMeta {
    /// The log point whose state is sent, for the receiver to compare with what was announced; none if the shard has no checkpoint yet.
    #[must_use]
    pub fn point(&self) -> Option<LogPoint> {
        self.manifest.point
    }

    /// The form that travels.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![FORMAT];
        put_bytes(&mut out, &self.manifest.encode());
        put_crc(&mut out, 0);
        out
    }

    /// Reads the form that travels.
    ///
    /// # Errors
    /// The bytes are damaged or of an unknown format.
    pub fn decode(bytes: &[u8]) -> Result<Self, Corruption> {
        let mut reader = Reader::new(check_crc(bytes)?);
        if reader.u8()? != FORMAT {
            return Err(Corruption::new("export of unknown format"));
        }
        let manifest = Manifest::decode(reader.bytes()?)?;
        reader.end()?;
        Ok(Self { manifest })
    }

    /// For tests that promise what is not sent.
    #[cfg(test)]
    pub(crate) fn manifest_mut(&mut self) -> &mut Manifest {
        &mut self.manifest
    }
}
