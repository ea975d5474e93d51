//! Native histograms with float counts: exponential buckets of a schema, or custom buckets with explicit bounds.

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
