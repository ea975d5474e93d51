//! Remote write 1.0 and 2.0 off the wire: one snappy block, then a walk over the protobuf bytes.
//!
//! Labels come out as slices of the decoded body; samples as an iterator over it. Nothing is allocated per label or float, and
//! a body is checked as a whole only by walking it to its end: a caller must throw its work away on an error.

#![deny(clippy::indexing_slicing)]

mod histogram;
mod series;
mod wire;

pub use histogram::{BUCKETS_MAX, BadHistogram, WireHistogram};
use model::limits::{REMOTE_WRITE_COMPRESSED_BYTES_MAX, REMOTE_WRITE_DECODED_BYTES_MAX};
pub use series::{RawSeries, RefError, ReferringSeries, Samples, SeriesBody, SeriesMetadata, SeriesReader, Version, WireExemplar};
use series::{read_series_1, read_series_2};
use std::sync::Arc;
use tsdb::metadata::MetricKind;
pub use wire::Fault;
use wire::Wire;

/// Decoded bytes a buffer keeps between requests.
const BUFFER_KEPT_BYTES: usize = 8 << 20;

/// Why a remote write body was refused as a whole.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The compressed or the claimed decoded size passes its limit.
    #[error("received message larger than max ({actual} vs {limit})")]
    TooLarge {
        /// Bytes received or claimed.
        actual: u64,
        /// Bytes allowed.
        limit: usize,
    },
    /// Not a snappy block.
    #[error("snappy: corrupt input")]
    Snappy,
    /// Version 2 with more symbols than are read.
    #[error("remote write request has more than {limit} symbols")]
    TooManySymbols {
        /// Symbols allowed.
        limit: usize,
    },
    /// Version 2 whose first symbol is not the empty text.
    #[error("remote write request: the first symbol must be empty")]
    FirstSymbol,
    /// Not a message of the version that was announced.
    #[error("malformed remote write request at byte {offset}: {fault}")]
    Protobuf {
        /// Place in the decoded body.
        offset: usize,
        /// What is wrong there.
        fault: Fault,
    },
}

/// Sizes of a body that are accepted.
#[derive(Clone, Copy, Debug)]
pub struct BodyLimits {
    /// Bytes on the wire.
    pub compressed_bytes: usize,
    /// Bytes that the snappy header may claim.
    pub decoded_bytes: usize,
}

impl Default for BodyLimits {
    fn default() -> Self {
        Self { compressed_bytes: REMOTE_WRITE_COMPRESSED_BYTES_MAX, decoded_bytes: REMOTE_WRITE_DECODED_BYTES_MAX }
    }
}

/// A buffer for decoded bodies, used for one request after another.
#[derive(Default)]
pub struct SnappyBuffer {
    decoder: snap::raw::Decoder,
    buffer: Vec<u8>,
}

impl std::fmt::Debug for SnappyBuffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SnappyBuffer").field("capacity", &self.buffer.capacity()).finish()
    }
}

impl SnappyBuffer {
    /// Decodes one snappy block. Sizes are checked before anything is allocated.
    ///
    /// # Errors
    /// [`DecodeError::TooLarge`] and [`DecodeError::Snappy`].
    pub fn decode(&mut self, compressed: &[u8], limits: &BodyLimits) -> Result<&[u8], DecodeError> {
        if compressed.len() > limits.compressed_bytes {
            return Err(DecodeError::TooLarge { actual: compressed.len() as u64, limit: limits.compressed_bytes });
        }
        if compressed.is_empty() {
            return Err(DecodeError::Snappy);
        }
        let claimed = match snap::raw::decompress_len(compressed) {
            Ok(claimed) => claimed,
            Err(snap::Error::TooBig { given, .. }) => {
                return Err(DecodeError::TooLarge { actual: given, limit: limits.decoded_bytes });
            }
            Err(_) => return Err(DecodeError::Snappy),
        };
        if claimed > limits.decoded_bytes {
            return Err(DecodeError::TooLarge { actual: claimed as u64, limit: limits.decoded_bytes });
        }
        // No element yields more than 64 bytes from 3, so a larger claim is false and must not cost memory.
        if claimed > compressed.len().saturating_mul(64).div_ceil(3) {
            return Err(DecodeError::Snappy);
        }
        if self.buffer.capacity() > BUFFER_KEPT_BYTES && claimed <= BUFFER_KEPT_BYTES {
            self.buffer = Vec::new();
        }
        self.buffer.resize(claimed, 0);
        let written = self.decoder.decompress(compressed, &mut self.buffer).map_err(|_| DecodeError::Snappy)?;
        self.buffer.get(..written).ok_or(DecodeError::Snappy)
    }
}

/// Bytes that a snappy block claims to decode to, 0 if it says nothing readable: what the work on it will cost, before it is done.
#[must_use]
pub fn claimed_bytes(compressed: &[u8]) -> usize {
    snap::raw::decompress_len(compressed).unwrap_or(0)
}

/// A label as it stands in the body: name and value, not yet known to be UTF-8.
pub type LabelBytes<'a> = (&'a [u8], &'a [u8]);

/// Symbols of one request of version 2.
const SYMBOLS_MAX: usize = 1 << 20;

/// Metadata of one request of version 1; what is beyond is passed over.
const METADATA_MAX: usize = 100_000;

/// What is known about a family, as sent in version 1; texts not yet known to be UTF-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WireMetadata<'a> {
    /// Its name.
    pub family: &'a [u8],
    /// Type, help and unit.
    pub says: SeriesMetadata<'a>,
}

/// Walks the series of one decoded body.
#[derive(Debug)]
pub struct WriteRequestReader<'a> {
    version: Version,
    body: Wire<'a>,
    symbols: Arc<[&'a [u8]]>,
    labels: Vec<LabelBytes<'a>>,
    metadata: Vec<WireMetadata<'a>>,
}

impl<'a> WriteRequestReader<'a> {
    /// Starts at the beginning of a decoded body of version 1.
    #[must_use]
    pub fn new(body: &'a [u8]) -> Self {
        Self { version: Version::V1, body: Wire::new(body), symbols: Arc::default(), labels: Vec::with_capacity(32), metadata: Vec::new() }
    }

    /// Starts at the beginning of a decoded body of either version.
    ///
    /// # Errors
    /// The symbols of version 2 cannot be read.
    pub fn of(version: Version, body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Self { version, ..Self::new(body) };
        if version == Version::V2 {
            reader.read_symbols()?;
        }
        Ok(reader)
    }

    fn read_symbols(&mut self) -> Result<(), DecodeError> {
        let mut body = self.body;
        let mut symbols = Vec::new();
        while let Some((field, found)) = body.key()? {
            if field != 4 {
                body.skip(field, found)?;
                continue;
            }
            if symbols.len() == SYMBOLS_MAX {
                return Err(DecodeError::TooManySymbols { limit: SYMBOLS_MAX });
            }
            symbols.push(body.bytes(field, found)?);
        }
        self.symbols = symbols.into();
        if self.symbols.first().is_some_and(|first| !first.is_empty()) {
            return Err(DecodeError::FirstSymbol);
        }
        Ok(())
    }

    /// The next series, `None` at the end of the body.
    ///
    /// # Errors
    /// [`DecodeError::Protobuf`]; the reader must not be used after it.
    pub fn next_series(&mut self) -> Result<Option<SeriesReader<'_, 'a>>, DecodeError> {
        match self.next_raw()? {
            Some(raw) => self.read(raw).map(Some),
            None => Ok(None),
        }
    }

    /// Reads a series that [`WriteRequestReader::next_raw`] gave.
    ///
    /// # Errors
    /// [`DecodeError::Protobuf`]; the reader must not be used after it.
    pub fn read(&mut self, raw: RawSeries<'a>) -> Result<SeriesReader<'_, 'a>, DecodeError> {
        match self.version {
            Version::V1 => read_series_1(raw.0, &mut self.labels),
            Version::V2 => read_series_2(raw.0, &self.symbols, &mut self.labels),
        }
    }

    /// The next series, not looked into; `None` at the end of the body. It is part of a valid body only once it was read.
    ///
    /// # Errors
    /// [`DecodeError::Protobuf`]; the reader must not be used after it.
    pub fn next_raw(&mut self) -> Result<Option<RawSeries<'a>>, DecodeError> {
        while let Some((field, wire_type)) = self.body.key()? {
            match (self.version, field) {
                (Version::V1, 1) | (Version::V2, 5) => return Ok(Some(RawSeries(self.body.message(field, wire_type)?))),
                (Version::V1, 3) => {
                    let metadata = read_metadata(self.body.message(field, wire_type)?)?;
                    if self.metadata.len() < METADATA_MAX {
                        self.metadata.push(metadata);
                    }
                }
                _ => self.body.skip(field, wire_type)?,
            }
        }
        Ok(None)
    }

    /// The symbols of version 2.
    #[must_use]
    pub fn symbols(&self) -> Arc<[&'a [u8]]> {
        Arc::clone(&self.symbols)
    }

    /// Metadata of version 1 met so far.
    #[must_use]
    pub fn metadata(&self) -> &[WireMetadata<'a>] {
        &self.metadata
    }
}

fn read_metadata(mut message: Wire<'_>) -> Result<WireMetadata<'_>, DecodeError> {
    let mut read = WireMetadata { family: &[], says: SeriesMetadata { kind: MetricKind::Unknown, help: &[], unit: &[] } };
    while let Some((field, found)) = message.key()? {
        match field {
            1 => read.says.kind = MetricKind::from_number(message.varint_field(field, found)?),
            2 => read.family = message.bytes(field, found)?,
            4 => read.says.help = message.bytes(field, found)?,
            5 => read.says.unit = message.bytes(field, found)?,
            _ => message.skip(field, found)?,
        }
    }
    Ok(read)
}

#[cfg(test)]
#[allow(clippy::indexing_slicing)]
mod tests;
