//! Native histograms with float counts: exponential buckets of a schema, or custom buckets with explicit bounds.

mod add;
mod bounds;
mod compensated;
mod custom;
mod iterate;
mod json;
mod reset;
mod side;
#[cfg(test)]
mod tests;
mod trim;
mod validate;

pub use add::Reconciled;
pub use bounds::{bucket_bound, exponential_bound};
pub use compensated::CompensatedHistogram;
pub use custom::intersection as common_bounds;
pub use iterate::Bucket;
pub use trim::Keep;
pub use validate::{HistogramError, SideError};

use crate::number::DisplayGeneral;
use crate::sample::{is_stale, stale_nan};
use side::Side;
use std::fmt;
use std::sync::Arc;

/// The schema of histograms with custom buckets; every other valid schema is exponential.
pub const CUSTOM_BUCKETS_SCHEMA: i32 = -53;

/// The finest exponential schema that is evaluated: 256 buckets between a power of two and the next.
pub const EXPONENTIAL_SCHEMA_MAX: i32 = 8;

/// The coarsest exponential schema: one bucket for sixteen powers of two.
pub const EXPONENTIAL_SCHEMA_MIN: i32 = -4;

/// What is known about a counter reset between a histogram and the one before it in its series.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum CounterResetHint {
    /// Nothing: a reset has to be looked for.
    #[default]
    Unknown,
    /// The histogram begins anew.
    Reset,
    /// The histogram continues the one before it.
    NotReset,
    /// The histogram is not a counter, so it has no resets.
    Gauge,
}

/// A run of adjacent buckets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Span {
    /// Buckets skipped since the end of the span before it; for the first span the index of its first bucket.
    pub offset: i32,
    /// Number of buckets.
    pub length: u32,
}

/// A native histogram whose counts are floats, each the absolute count of its bucket.
///
/// A valid histogram has as many bucket values as its spans have buckets ([`FloatHistogram::validate`]). One with custom
/// buckets has no zero bucket and no negative buckets. Two histograms are compared by [`FloatHistogram::equals`].
#[derive(Clone, Debug, Default)]
pub struct FloatHistogram {
    /// What is known about a counter reset before this histogram.
    pub counter_reset_hint: CounterResetHint,
    /// Resolution of the exponential buckets, or [`CUSTOM_BUCKETS_SCHEMA`].
    pub schema: i32,
    /// Half the width of the zero bucket; never negative.
    pub zero_threshold: f64,
    /// Observations in the zero bucket.
    pub zero_count: f64,
    /// All observations, those of `NaN` among them.
    pub count: f64,
    /// Sum of all observations; the stale marker makes the histogram a stale one.
    pub sum: f64,
    /// Where the positive (or custom) buckets are.
    pub positive_spans: Vec<Span>,
    /// Where the negative buckets are.
    pub negative_spans: Vec<Span>,
    /// Counts of the positive (or custom) buckets, in the order of the spans.
    pub positive_buckets: Vec<f64>,
    /// Counts of the negative buckets, in the order of the spans.
    pub negative_buckets: Vec<f64>,
    /// Upper bounds of the custom buckets without the last, which is `+Inf`; empty for exponential buckets.
    pub custom_values: Arc<[f64]>,
}

impl FloatHistogram {
    /// The histogram that ends a series.
    #[must_use]
    pub fn stale() -> Self {
        Self { sum: stale_nan(), ..Self::default() }
    }

    /// Whether this is the stale marker.
    #[must_use]
    pub fn is_stale(&self) -> bool {
        is_stale(self.sum)
    }

    /// Whether the buckets have explicit bounds.
    #[must_use]
    pub fn uses_custom_buckets(&self) -> bool {
        self.schema == CUSTOM_BUCKETS_SCHEMA
    }

    /// Bytes of the histogram as Prometheus counts them.
    #[must_use]
    pub fn size(&self) -> usize {
        let elements = self.positive_spans.len()
            + self.negative_spans.len()
            + self.positive_buckets.len()
            + self.negative_buckets.len()
            + self.custom_values.len();
        168 + 8 * elements
    }

    /// Floats that the histogram counts for under a limit of samples.
    #[must_use]
    pub fn samples(&self) -> usize {
        (self.size() + 8) / 16
    }

    /// Multiplies all counts and the sum. A negative factor makes a gauge.
    pub fn mul(&mut self, factor: f64) {
        self.scale(factor < 0.0, |value| value * factor);
    }

    /// Divides all counts and the sum. A negative divisor makes a gauge; zero leaves no buckets.
    pub fn div(&mut self, divisor: f64) {
        self.scale(divisor < 0.0, |value| value / divisor);
        if divisor == 0.0 {
            self.positive_spans.clear();
            self.negative_spans.clear();
            self.positive_buckets.clear();
            self.negative_buckets.clear();
        }
    }

    fn scale(&mut self, negates: bool, scaled: impl Fn(f64) -> f64) {
        let buckets = self.positive_buckets.iter_mut().chain(&mut self.negative_buckets);
        for value in buckets.chain([&mut self.zero_count, &mut self.count, &mut self.sum]) {
            *value = scaled(*value);
        }
        if negates {
            self.counter_reset_hint = CounterResetHint::Gauge;
        }
    }

    /// Leaves out empty buckets, except runs of up to `empty_max` between populated ones, and joins adjacent spans.
    pub fn compact(&mut self, empty_max: u32) {
        self.each_side(|side| side.compact(empty_max));
    }

    /// Merges buckets into those of a lower resolution.
    ///
    /// # Errors
    /// [`HistogramError::NotCoarser`] if `schema` is not a lower resolution or one of both has custom buckets.
    pub fn reduce_resolution(&mut self, schema: i32) -> Result<(), HistogramError> {
        let from = self.schema;
        if self.uses_custom_buckets() || schema == CUSTOM_BUCKETS_SCHEMA || schema >= from {
            return Err(HistogramError::NotCoarser { from, to: schema });
        }
        self.each_side(|side| side.reduce(from, schema));
        self.schema = schema;
        Ok(())
    }

    /// A copy with the resolution of `schema`.
    ///
    /// # Errors
    /// As [`FloatHistogram::reduce_resolution`], unless `schema` is its own.
    pub fn at_schema(&self, schema: i32) -> Result<Self, HistogramError> {
        let mut copy = self.clone();
        if schema != self.schema {
            copy.reduce_resolution(schema)?;
        }
        Ok(copy)
    }

    fn each_side(&mut self, change: impl Fn(&mut Side<f64>)) {
        for (spans, counts) in
            [(&mut self.positive_spans, &mut self.positive_buckets), (&mut self.negative_spans, &mut self.negative_buckets)]
        {
            let mut side = Side { spans: std::mem::take(spans), counts: std::mem::take(counts) };
            change(&mut side);
            (*spans, *counts) = (side.spans, side.counts);
        }
    }

    /// Whether both have the same buckets, also empty ones, and all counts and sums are the same bits. Hints are not compared,
    /// nor how the buckets are cut into spans.
    #[must_use]
    pub fn equals(&self, other: &Self) -> bool {
        let numbers = |h: &Self| [h.count, h.sum, h.zero_count].map(f64::to_bits);
        let side = |spans: &'_ [Span], counts: &'_ [f64]| -> Vec<(i32, u64)> {
            iterate::entries(spans, counts).map(|(index, count)| (index, count.to_bits())).collect()
        };
        self.schema == other.schema
            && self.zero_threshold == other.zero_threshold
            && numbers(self) == numbers(other)
            && self.custom_values == other.custom_values
            && side(&self.positive_spans, &self.positive_buckets) == side(&other.positive_spans, &other.positive_buckets)
            && side(&self.negative_spans, &self.negative_buckets) == side(&other.negative_spans, &other.negative_buckets)
    }
}

/// As Go prints it: `{count:3, sum:4.5, [-2,-1):1, [-0.001,0.001]:1, (1,2]:1}`.
impl fmt::Display for FloatHistogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{count:{}, sum:{}", DisplayGeneral(self.count), DisplayGeneral(self.sum))?;
        let zero = (self.zero_count != 0.0).then(|| self.zero_bucket());
        let buckets = self.negative_reversed().filter(|bucket| bucket.count != 0.0).chain(zero);
        for bucket in buckets.chain(self.positive().filter(|bucket| bucket.count != 0.0)) {
            write!(f, ", {bucket}")?;
        }
        f.write_str("}")
    }
}

/// Absolute counts of buckets that are given each as the difference to the one before, as histograms with whole counts are
/// sent and stored.
#[must_use]
pub fn absolute_counts(deltas: &[i64]) -> Vec<f64> {
    let absolute = deltas.iter().scan(0i64, |count, delta| {
        *count = count.wrapping_add(*delta);
        Some(*count as f64)
    });
    absolute.collect()
}
