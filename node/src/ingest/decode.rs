//! Remote write 1.0 off the wire: one snappy block, then a walk over the protobuf bytes.
//!
//! Labels come out as slices of the decoded body; samples as an iterator over it. Nothing is allocated per label or sample, and
//! a body is checked as a whole only by walking it to its end: a caller must throw its work away on an error.
//!
//! Exemplars, histograms and metadata are checked to be well formed and passed over.

#![deny(clippy::indexing_slicing)]

mod wire;

use crate::ingest::admit::LABELS_KEPT_MAX;
use model::Sample;
use model::limits::{REMOTE_WRITE_COMPRESSED_BYTES_MAX, REMOTE_WRITE_DECODED_BYTES_MAX};
pub use wire::Fault;
use wire::{Schema, Wire, WireType};

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
    /// Not a `prometheus.WriteRequest`.
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

const LABEL: Schema = Schema(&[(1, WireType::Bytes, None), (2, WireType::Bytes, None)]);
const EXEMPLAR: Schema = Schema(&[(1, WireType::Bytes, Some(&LABEL)), (2, WireType::Fixed64, None), (3, WireType::Varint, None)]);
const METADATA: Schema =
    Schema(&[(1, WireType::Varint, None), (2, WireType::Bytes, None), (4, WireType::Bytes, None), (5, WireType::Bytes, None)]);
/// Repeated numbers of a histogram may be packed or not, so only what is always length-delimited or single is fixed here.
const HISTOGRAM: Schema = Schema(&[
    (1, WireType::Varint, None),
    (2, WireType::Fixed64, None),
    (3, WireType::Fixed64, None),
    (4, WireType::Varint, None),
    (5, WireType::Fixed64, None),
    (6, WireType::Varint, None),
    (7, WireType::Fixed64, None),
    (8, WireType::Bytes, Some(&BUCKET_SPAN)),
    (11, WireType::Bytes, Some(&BUCKET_SPAN)),
    (14, WireType::Varint, None),
    (15, WireType::Varint, None),
]);
const BUCKET_SPAN: Schema = Schema(&[(1, WireType::Varint, None), (2, WireType::Varint, None)]);

/// Walks the series of one decoded body.
#[derive(Debug)]
pub struct WriteRequestReader<'a> {
    body: Wire<'a>,
    labels: Vec<LabelBytes<'a>>,
    metadata: usize,
}

/// One series: its labels as sent, its samples to be read.
#[derive(Debug)]
pub struct SeriesReader<'r, 'a> {
    /// Labels in the order sent; at most [`LABELS_KEPT_MAX`].
    pub labels: &'r mut Vec<LabelBytes<'a>>,
    /// How many labels were sent.
    pub label_count: usize,
    /// The samples in the order sent; they are known to be well formed.
    pub samples: Samples<'a>,
}

impl<'a> WriteRequestReader<'a> {
    /// Starts at the beginning of a decoded body.
    #[must_use]
    pub fn new(body: &'a [u8]) -> Self {
        Self { body: Wire::new(body), labels: Vec::with_capacity(32), metadata: 0 }
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
        let (label_count, samples) = read_series(raw.0, &mut self.labels)?;
        Ok(SeriesReader { labels: &mut self.labels, label_count, samples })
    }

    /// The next series, not looked into; `None` at the end of the body. It is part of a valid body only once it was read.
    ///
    /// # Errors
    /// [`DecodeError::Protobuf`]; the reader must not be used after it.
    pub fn next_raw(&mut self) -> Result<Option<RawSeries<'a>>, DecodeError> {
        while let Some((field, wire_type)) = self.body.key()? {
            match field {
                1 => return Ok(Some(RawSeries(self.body.message(field, wire_type)?))),
                3 => {
                    self.body.message(field, wire_type)?.check(&METADATA)?;
                    self.metadata += 1;
                }
                _ => self.body.skip(field, wire_type)?,
            }
        }
        Ok(None)
    }

    /// Entries of metadata passed over so far.
    #[must_use]
    pub fn metadata(&self) -> usize {
        self.metadata
    }
}

/// One series as it stands in the body.
#[derive(Clone, Copy, Debug)]
pub struct RawSeries<'a>(Wire<'a>);

impl<'a> RawSeries<'a> {
    /// All bytes of the series.
    #[must_use]
    pub fn bytes(&self) -> &'a [u8] {
        self.0.rest()
    }

    /// The labels that the series begins with, as they stand there; whether they are well formed was not looked at.
    #[must_use]
    pub fn leading_labels(&self) -> &'a [u8] {
        let (mut wire, mut end) = (self.0, 0);
        while let Ok(Some((1, wire_type))) = wire.key() {
            if wire.bytes(1, wire_type).is_err() {
                break;
            }
            end = self.0.rest().len() - wire.rest().len();
        }
        self.0.rest().get(..end).unwrap_or_default()
    }

    /// The samples behind `labels_bytes` bytes of labels, if nothing but well-formed samples is there.
    #[must_use]
    #[inline]
    pub fn samples_behind(&self, labels_bytes: usize) -> Option<Samples<'a>> {
        let mut series = self.0;
        series.pass(labels_bytes)?;
        let mut samples = Samples { first: None, rest: Wire::new(&[]), count: 0 };
        while let Ok(Some((2, wire_type))) = series.key() {
            let sample = series.message(2, wire_type).and_then(read_sample).ok()?;
            if samples.count == 0 {
                samples.first = Some(sample);
                samples.rest = series;
            }
            samples.count += 1;
            if series.rest().is_empty() {
                return Some(samples);
            }
        }
        None
    }
}

fn read_series<'a>(mut series: Wire<'a>, labels: &mut Vec<LabelBytes<'a>>) -> Result<(usize, Samples<'a>), DecodeError> {
    labels.clear();
    let mut label_count = 0;
    let mut samples = Samples { first: None, rest: Wire::new(&[]), count: 0 };
    while let Some((field, wire_type)) = series.key()? {
        match field {
            1 => {
                let label = read_label(series.message(field, wire_type)?)?;
                label_count += 1;
                if labels.len() < LABELS_KEPT_MAX {
                    labels.push(label);
                }
            }
            2 => {
                let sample = read_sample(series.message(field, wire_type)?)?;
                if samples.count == 0 {
                    samples.first = Some(sample);
                    samples.rest = series;
                }
                samples.count += 1;
            }
            3 => series.message(field, wire_type)?.check(&EXEMPLAR)?,
            4 => series.message(field, wire_type)?.check(&HISTOGRAM)?,
            _ => series.skip(field, wire_type)?,
        }
    }
    Ok((label_count, samples))
}

fn read_label(mut label: Wire<'_>) -> Result<LabelBytes<'_>, DecodeError> {
    let (mut name, mut value): LabelBytes<'_> = (&[], &[]);
    while let Some((field, wire_type)) = label.key()? {
        match field {
            1 => name = label.bytes(field, wire_type)?,
            2 => value = label.bytes(field, wire_type)?,
            _ => label.skip(field, wire_type)?,
        }
    }
    Ok((name, value))
}

fn read_sample(mut sample: Wire<'_>) -> Result<Sample, DecodeError> {
    let mut read = Sample { timestamp_ms: 0, value: 0.0 };
    while let Some((field, wire_type)) = sample.key()? {
        match field {
            1 => read.value = f64::from_bits(sample.fixed64(field, wire_type)?),
            2 => read.timestamp_ms = sample.varint_field(field, wire_type)?.cast_signed(),
            _ => sample.skip(field, wire_type)?,
        }
    }
    Ok(read)
}

/// The samples of one series, in the order sent.
#[derive(Clone, Debug)]
pub struct Samples<'a> {
    first: Option<Sample>,
    rest: Wire<'a>,
    count: usize,
}

impl Iterator for Samples<'_> {
    type Item = Sample;

    fn next(&mut self) -> Option<Sample> {
        if self.count == 0 {
            return None;
        }
        self.count -= 1;
        if let Some(first) = self.first.take() {
            return Some(first);
        }
        // The series was walked to its end before, so no step here can fail.
        while let Ok(Some((field, wire_type))) = self.rest.key() {
            if field == 2 {
                return self.rest.message(field, wire_type).and_then(read_sample).ok();
            }
            self.rest.skip(field, wire_type).ok()?;
        }
        None
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.count, Some(self.count))
    }
}

impl ExactSizeIterator for Samples<'_> {}

#[cfg(test)]
#[allow(clippy::indexing_slicing)]
mod tests;
