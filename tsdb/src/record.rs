//! What a series may hold beside plain floats: native histograms, and floats whose counter has a known start.
//!
//! ```text
//! record:    kind u8 | timestamp zigzag | body
//! float:     0 | start_ms zigzag | value bits u64le
//! histogram: 1 | start_ms zigzag | histogram (see `histogram`)
//! exemplar:  2 | value bits u64le | labels (see `rows`)
//! ```
//!
//! Rows and log entries carry records in these bytes.

pub mod histogram;
#[cfg(test)]
pub(crate) mod tests;

use crate::error::Corruption;
use crate::wire::{Reader, put_bytes, put_zigzag};
use model::histogram::FloatHistogram;
use model::sample::STALE_NAN_BITS;
use model::{Sample, Timestamp};
use std::sync::Arc;
use xxhash_rust::xxh3::xxh3_64;

const KIND_FLOAT: u8 = 0;
const KIND_HISTOGRAM: u8 = 1;
const KIND_EXEMPLAR: u8 = 2;

/// What a series has at one time.
#[derive(Clone, Debug)]
pub enum Value {
    /// Any 64 bits.
    Float(f64),
    /// A native histogram.
    Histogram(Arc<FloatHistogram>),
}

/// One value at one time, with the start of its counter.
#[derive(Clone, Debug)]
pub struct Record {
    /// Milliseconds.
    pub timestamp_ms: Timestamp,
    /// When counting started, in milliseconds; 0 if that is not known.
    pub start_ms: Timestamp,
    /// The value.
    pub value: Value,
}

/// Identity of a value, by which a sample that comes again is told from another one at its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    /// The bits of a float.
    Float(u64),
    /// A hash of all that [`FloatHistogram::equals`] compares; of a stale one the bits of the stale marker.
    Histogram(u64),
}

impl Content {
    /// Whether a sender that writes `other` where this is stored says the same again. A stale marker says the same in both forms:
    /// apply chooses between them by the sample before.
    pub(crate) fn is_same(self, other: Self) -> bool {
        self == other || (self.is_stale() && other.is_stale())
    }

    pub(crate) fn is_histogram(self) -> bool {
        matches!(self, Self::Histogram(_))
    }

    fn is_stale(self) -> bool {
        matches!(self, Self::Float(STALE_NAN_BITS) | Self::Histogram(STALE_NAN_BITS))
    }

    /// (kind, bits), for storing.
    pub(crate) fn parts(self) -> (u8, u64) {
        match self {
            Self::Float(bits) => (KIND_FLOAT, bits),
            Self::Histogram(hash) => (KIND_HISTOGRAM, hash),
        }
    }

    pub(crate) fn from_parts(kind: u8, bits: u64) -> Result<Self, Corruption> {
        match kind {
            KIND_FLOAT => Ok(Self::Float(bits)),
            KIND_HISTOGRAM => Ok(Self::Histogram(bits)),
            _ => Err(Corruption::new("kind of a value")),
        }
    }
}

impl Value {
    pub(crate) fn content(&self) -> Content {
        match self {
            Self::Float(value) => Content::Float(value.to_bits()),
            Self::Histogram(histogram) => Content::Histogram(hash_of(histogram)),
        }
    }

    /// Bytes outside the struct, roughly.
    pub(crate) fn heap_bytes(&self) -> usize {
        match self {
            Self::Float(_) => 0,
            Self::Histogram(histogram) => histogram.size(),
        }
    }
}

/// Hash of buckets with their indices, counts and sum: of what [`FloatHistogram::equals`] compares.
fn hash_of(histogram: &FloatHistogram) -> u64 {
    if histogram.is_stale() {
        return STALE_NAN_BITS;
    }
    let FloatHistogram { counter_reset_hint: _, schema, zero_threshold, zero_count, count, sum, .. } = histogram;
    let mut bytes = Vec::with_capacity(64 + histogram.size());
    bytes.extend_from_slice(&schema.to_le_bytes());
    // Adding zero makes both zeroes one, which are equal as thresholds.
    for number in [zero_threshold + 0.0, *zero_count, *count, *sum].iter().chain(histogram.custom_values.iter()) {
        bytes.extend_from_slice(&number.to_bits().to_le_bytes());
    }
    let sides = [(&histogram.positive_spans, &histogram.positive_buckets), (&histogram.negative_spans, &histogram.negative_buckets)];
    for (spans, buckets) in sides {
        bytes.extend_from_slice(&(buckets.len() as u64).to_le_bytes());
        let (mut index, mut buckets) = (0i32, buckets.iter());
        for span in spans {
            index = index.wrapping_add(span.offset);
            for bucket in buckets.by_ref().take(span.length as usize) {
                bytes.extend_from_slice(&index.to_le_bytes());
                bytes.extend_from_slice(&bucket.to_bits().to_le_bytes());
                index = index.wrapping_add(1);
            }
        }
    }
    xxh3_64(&bytes)
}

impl Record {
    /// Whether it is a float without a start.
    pub(crate) fn is_plain_float(&self) -> bool {
        self.start_ms == 0 && matches!(self.value, Value::Float(_))
    }

    /// A float with no known start.
    #[must_use]
    pub fn float(sample: Sample) -> Self {
        Self { timestamp_ms: sample.timestamp_ms, start_ms: 0, value: Value::Float(sample.value) }
    }

    /// The marker that ends a series of histograms.
    #[must_use]
    pub fn stale_histogram(timestamp_ms: Timestamp) -> Self {
        Self { timestamp_ms, start_ms: 0, value: Value::Histogram(Arc::new(FloatHistogram::stale())) }
    }

    /// Appends the encoded form.
    pub fn write(&self, out: &mut Vec<u8>) {
        let Self { timestamp_ms, start_ms, value } = self;
        out.push(if matches!(value, Value::Float(_)) { KIND_FLOAT } else { KIND_HISTOGRAM });
        put_zigzag(out, *timestamp_ms);
        put_zigzag(out, *start_ms);
        match value {
            Value::Float(value) => out.extend_from_slice(&value.to_bits().to_le_bytes()),
            Value::Histogram(h) => histogram::put(out, None, h),
        }
    }
}

/// A record or an exemplar, as rows and entries carry them.
#[derive(Clone, Debug)]
pub enum Item<'a> {
    /// A sample.
    Sample(Record),
    /// An exemplar.
    Exemplar(Exemplar<'a>),
}

/// An observation that stands for others.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Exemplar<'a> {
    /// Milliseconds.
    pub timestamp_ms: Timestamp,
    /// The observed value.
    pub value: f64,
    /// Encoded label region, see [`crate::rows::walk_labels`].
    pub labels: &'a [u8],
}

impl Exemplar<'_> {
    /// Appends the encoded form.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.push(KIND_EXEMPLAR);
        put_zigzag(out, self.timestamp_ms);
        out.extend_from_slice(&self.value.to_bits().to_le_bytes());
        put_bytes(out, self.labels);
    }
}

impl<'a> Item<'a> {
    /// Takes one item off the front of `reader`.
    ///
    /// # Errors
    /// The bytes are cut off or of an unknown kind.
    pub fn read(reader: &mut Reader<'a>) -> Result<Self, Corruption> {
        let kind = reader.u8()?;
        let timestamp_ms = reader.zigzag()?;
        let value = match kind {
            KIND_EXEMPLAR => {
                let value = f64::from_bits(reader.u64_le()?);
                return Ok(Self::Exemplar(Exemplar { timestamp_ms, value, labels: reader.bytes()? }));
            }
            KIND_FLOAT | KIND_HISTOGRAM => {
                let start_ms = reader.zigzag()?;
                let value = if kind == KIND_FLOAT {
                    Value::Float(f64::from_bits(reader.u64_le()?))
                } else {
                    Value::Histogram(Arc::new(histogram::read(reader, None)?))
                };
                Record { timestamp_ms, start_ms, value }
            }
            _ => return Err(Corruption::new("record of unknown kind")),
        };
        Ok(Self::Sample(value))
    }
}
