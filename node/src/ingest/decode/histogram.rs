//! Native histograms off the wire; both versions of remote write have the same message.

use super::DecodeError;
use super::wire::{Wire, WireType};
use model::Timestamp;
use model::histogram::{
    CUSTOM_BUCKETS_SCHEMA, CounterResetHint, EXPONENTIAL_SCHEMA_MAX, FloatHistogram, HistogramError, Span, absolute_counts,
};

/// Buckets that a histogram may have.
pub const BUCKETS_MAX: usize = 16_384;
/// The finest schema that is read, at a lower resolution.
const SCHEMA_READ_MAX: i32 = 52;

/// Why one histogram is refused.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum BadHistogram {
    /// It is not valid.
    #[error(transparent)]
    Invalid(#[from] HistogramError),
    /// Its buckets hold another number of observations than it says.
    #[error(
        "{buckets} observations found in buckets, but the Count field is {count}: histogram's observation count should equal the number of observations found in the buckets (in absence of NaN)"
    )]
    CountMismatch {
        /// Observations in buckets.
        buckets: u64,
        /// Observations.
        count: u64,
    },
    /// Its buckets hold more observations than it says.
    #[error(
        "{buckets} observations found in buckets, but the Count field is {count}: histogram's observation count should be at least the number of observations found in the buckets"
    )]
    CountTooSmall {
        /// Observations in buckets.
        buckets: u64,
        /// Observations.
        count: u64,
    },
    /// It has too many buckets.
    #[error("histogram has {buckets} buckets, more than the limit of {BUCKETS_MAX}")]
    TooManyBuckets {
        /// Its buckets.
        buckets: usize,
    },
}

/// A histogram as sent.
#[derive(Clone, Debug, Default)]
pub struct WireHistogram {
    /// Milliseconds.
    pub timestamp_ms: Timestamp,
    /// When counting started, 0 if that is not known (version 2).
    pub start_ms: Timestamp,
    /// Observations, of a histogram with whole counts.
    count_int: Option<u64>,
    zero_count_int: u64,
    zero_count_float: f64,
    positive_deltas: Vec<i64>,
    negative_deltas: Vec<i64>,
    /// All else.
    histogram: FloatHistogram,
}

impl WireHistogram {
    pub(super) fn read(mut wire: Wire<'_>) -> Result<Self, DecodeError> {
        let mut read = Self { count_int: Some(0), ..Self::default() };
        let mut custom_values = Vec::new();
        while let Some((field, found)) = wire.key()? {
            let h = &mut read.histogram;
            match field {
                1 => read.count_int = Some(wire.varint_field(field, found)?),
                2 => {
                    h.count = f64::from_bits(wire.fixed64(field, found)?);
                    read.count_int = None;
                }
                3 => h.sum = f64::from_bits(wire.fixed64(field, found)?),
                4 => h.schema = zigzag(wire.varint_field(field, found)?) as i32,
                5 => h.zero_threshold = f64::from_bits(wire.fixed64(field, found)?),
                6 => (read.zero_count_int, read.zero_count_float) = (wire.varint_field(field, found)?, 0.0),
                7 => (read.zero_count_int, read.zero_count_float) = (0, f64::from_bits(wire.fixed64(field, found)?)),
                8 => keep(&mut h.negative_spans, read_span(wire.message(field, found)?)?),
                9 => wire.varints(field, found, |n| keep(&mut read.negative_deltas, zigzag(n)))?,
                10 => wire.fixed64s(field, found, |bits| keep(&mut h.negative_buckets, f64::from_bits(bits)))?,
                11 => keep(&mut h.positive_spans, read_span(wire.message(field, found)?)?),
                12 => wire.varints(field, found, |n| keep(&mut read.positive_deltas, zigzag(n)))?,
                13 => wire.fixed64s(field, found, |bits| keep(&mut h.positive_buckets, f64::from_bits(bits)))?,
                14 => h.counter_reset_hint = hint_of(wire.varint_field(field, found)?),
                15 => read.timestamp_ms = wire.varint_field(field, found)?.cast_signed(),
                16 => wire.fixed64s(field, found, |bits| keep(&mut custom_values, f64::from_bits(bits)))?,
                17 if found == WireType::Varint => read.start_ms = wire.varint_field(field, found)?.cast_signed(),
                _ => wire.skip(field, found)?,
            }
        }
        read.histogram.custom_values = custom_values.into();
        Ok(read)
    }

    /// The histogram with float counts, checked as Prometheus checks it. One that is finer than what is evaluated is made coarser.
    ///
    /// # Errors
    /// It is not valid.
    pub fn checked(self) -> Result<FloatHistogram, BadHistogram> {
        let Self { count_int, zero_count_int, zero_count_float, positive_deltas, negative_deltas, mut histogram, .. } = self;
        if count_int.is_some() {
            histogram.positive_buckets = absolute_counts(&positive_deltas);
            histogram.negative_buckets = absolute_counts(&negative_deltas);
            histogram.zero_count = zero_count_int as f64;
        } else {
            histogram.zero_count = zero_count_float;
        }
        if let Some(count) = count_int {
            histogram.count = count as f64;
        }
        if histogram.is_stale() {
            return Ok(FloatHistogram::stale());
        }
        let buckets = histogram.positive_buckets.len() + histogram.negative_buckets.len() + histogram.custom_values.len();
        if buckets.max(histogram.positive_spans.len() + histogram.negative_spans.len()) > BUCKETS_MAX {
            return Err(BadHistogram::TooManyBuckets { buckets });
        }
        if histogram.schema > EXPONENTIAL_SCHEMA_MAX && histogram.schema <= SCHEMA_READ_MAX {
            let as_if_evaluated = FloatHistogram { schema: EXPONENTIAL_SCHEMA_MAX, ..histogram.clone() };
            as_if_evaluated.validate()?;
            histogram.reduce_resolution(EXPONENTIAL_SCHEMA_MAX)?;
        }
        histogram.validate()?;
        if let Some(count) = count_int {
            check_count(&histogram, count, zero_count_int, [&positive_deltas, &negative_deltas])?;
        }
        Ok(histogram)
    }
}

/// Whole counts must add up, or stay below the count if observations were `NaN`.
fn check_count(histogram: &FloatHistogram, count: u64, zero_count: u64, deltas: [&[i64]; 2]) -> Result<(), BadHistogram> {
    let mut buckets = if histogram.schema == CUSTOM_BUCKETS_SCHEMA { 0 } else { zero_count };
    for side in deltas {
        let mut bucket = 0i64;
        for delta in side {
            bucket = bucket.wrapping_add(*delta);
            buckets = buckets.wrapping_add(bucket.cast_unsigned());
        }
    }
    if histogram.sum.is_nan() {
        if buckets > count { Err(BadHistogram::CountTooSmall { buckets, count }) } else { Ok(()) }
    } else if buckets == count {
        Ok(())
    } else {
        Err(BadHistogram::CountMismatch { buckets, count })
    }
}

/// One more than is allowed tells that there are too many, whatever a request holds.
fn keep<T>(kept: &mut Vec<T>, one: T) {
    if kept.len() <= BUCKETS_MAX {
        kept.push(one);
    }
}

fn hint_of(number: u64) -> CounterResetHint {
    match number {
        1 => CounterResetHint::Reset,
        2 => CounterResetHint::NotReset,
        3 => CounterResetHint::Gauge,
        _ => CounterResetHint::Unknown,
    }
}

fn zigzag(raw: u64) -> i64 {
    (raw >> 1).cast_signed() ^ -(raw & 1).cast_signed()
}

fn read_span(mut wire: Wire<'_>) -> Result<Span, DecodeError> {
    let mut span = Span { offset: 0, length: 0 };
    while let Some((field, found)) = wire.key()? {
        match field {
            1 => span.offset = zigzag(wire.varint_field(field, found)?) as i32,
            2 => span.length = wire.varint_field(field, found)? as u32,
            _ => wire.skip(field, found)?,
        }
    }
    Ok(span)
}
