//! What a histogram from outside has to fulfil, in Prometheus's words.

use super::{CUSTOM_BUCKETS_SCHEMA, EXPONENTIAL_SCHEMA_MAX, EXPONENTIAL_SCHEMA_MIN, FloatHistogram, Span};
use crate::number::DisplayGeneral;

/// Why a histogram is not valid, or two do not go together.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum HistogramError {
    /// One has exponential, the other custom buckets.
    #[error("cannot apply this operation on histograms with a mix of exponential and custom bucket schemas")]
    MixedSchemas,
    /// The schema is neither exponential nor that of custom buckets.
    #[error(
        "histogram has an invalid schema, which must be between {} and {} for exponential buckets, or {} for custom buckets, got schema {schema}",
        EXPONENTIAL_SCHEMA_MIN,
        EXPONENTIAL_SCHEMA_MAX,
        CUSTOM_BUCKETS_SCHEMA
    )]
    InvalidSchema {
        /// The schema.
        schema: i32,
    },
    /// The resolution cannot be reduced to one that is not lower.
    #[error("cannot reduce resolution from schema {from} to {to}")]
    NotCoarser {
        /// Schema of the histogram.
        from: i32,
        /// Schema wanted.
        to: i32,
    },
    /// Something of one side is not valid.
    #[error("{side}: {error}")]
    Side {
        /// `positive side`, `negative side` or `custom buckets`.
        side: &'static str,
        /// What is not valid.
        error: SideError,
    },
    /// The zero bucket counts less than nothing.
    #[error("zero bucket has observation count of {}: histogram has a bucket whose observation count is negative", DisplayGeneral(*.count))]
    NegativeZeroCount {
        /// Its count.
        count: f64,
    },
    /// The zero threshold is negative or `NaN`.
    #[error("histogram has an invalid zero threshold of {}", DisplayGeneral(*.threshold))]
    InvalidZeroThreshold {
        /// The threshold.
        threshold: f64,
    },
    /// The histogram counts less than nothing.
    #[error("observation count is {}: histogram's observation count is negative", DisplayGeneral(*.count))]
    NegativeCount {
        /// Its count.
        count: f64,
    },
    /// A histogram with custom buckets has something that only exponential ones have.
    #[error("custom buckets: must {0}")]
    CustomWith(&'static str),
    /// A histogram with exponential buckets has custom bounds.
    #[error("histogram with exponential schema must not have custom bounds")]
    ExponentialWithBounds,
}

/// What is not valid of one side of a histogram.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum SideError {
    /// Buckets of a span lie before the end of the one before.
    #[error("span number {number} with offset {offset}: histogram has a span whose offset is negative")]
    NegativeOffset {
        /// Its number, from 1.
        number: usize,
        /// Its offset.
        offset: i32,
    },
    /// There are more or fewer counts than buckets.
    #[error("spans need {needed} buckets, have {found} buckets: histogram spans specify different number of buckets than provided")]
    BucketsMismatch {
        /// Buckets of the spans.
        needed: u64,
        /// Counts.
        found: usize,
    },
    /// A bucket has an index that no float falls into.
    #[error("span number {number} reaches beyond the range of bucket indices")]
    IndexRange {
        /// Number of the span, from 1.
        number: usize,
    },
    /// A bucket counts less than nothing.
    #[error("bucket number {number} has observation count of {}: histogram has a bucket whose observation count is negative", DisplayGeneral(*.count))]
    NegativeBucket {
        /// Its number, from 1.
        number: usize,
        /// Its count.
        count: f64,
    },
    /// A custom bound is not a number.
    #[error("histogram custom bounds must not be NaN")]
    BoundNan,
    /// Custom bounds do not ascend.
    #[error("previous bound is {previous:.6} and current is {current:.6}: histogram custom bounds must be in strictly increasing order")]
    BoundOrder {
        /// A bound.
        previous: f64,
        /// The one after it.
        current: f64,
    },
    /// The last bound is given, though it is always `+Inf`.
    #[error("last +Inf bound must not be explicitly defined: histogram custom bounds must be finite")]
    BoundInfinite,
    /// There are more buckets than bounds.
    #[error(
        "only {bounds} custom bounds defined which is insufficient to cover total span length of {needed}: histogram custom bounds are too few"
    )]
    TooFewBounds {
        /// Bounds.
        bounds: usize,
        /// Buckets up to the last of the spans.
        needed: i64,
    },
}

impl FloatHistogram {
    /// Checks a histogram from outside. The sum of the buckets is not compared with the count: rounding makes them differ.
    ///
    /// # Errors
    /// The first thing found that is not valid.
    pub fn validate(&self) -> Result<(), HistogramError> {
        let side = |side| move |error| HistogramError::Side { side, error };
        match self.schema {
            CUSTOM_BUCKETS_SCHEMA => self.validate_custom()?,
            EXPONENTIAL_SCHEMA_MIN..=EXPONENTIAL_SCHEMA_MAX => {
                check_spans(&self.positive_spans, self.positive_buckets.len()).map_err(side("positive side"))?;
                check_spans(&self.negative_spans, self.negative_buckets.len()).map_err(side("negative side"))?;
                check_counts(&self.negative_buckets).map_err(side("negative side"))?;
                if self.zero_count < 0.0 {
                    return Err(HistogramError::NegativeZeroCount { count: self.zero_count });
                }
                if self.zero_threshold.is_nan() || self.zero_threshold < 0.0 {
                    return Err(HistogramError::InvalidZeroThreshold { threshold: self.zero_threshold });
                }
                if !self.custom_values.is_empty() {
                    return Err(HistogramError::ExponentialWithBounds);
                }
            }
            schema => return Err(HistogramError::InvalidSchema { schema }),
        }
        if self.count < 0.0 {
            return Err(HistogramError::NegativeCount { count: self.count });
        }
        check_counts(&self.positive_buckets).map_err(side("positive side"))
    }

    fn validate_custom(&self) -> Result<(), HistogramError> {
        check_bounds(&self.custom_values, &self.positive_spans)
            .and_then(|()| check_spans(&self.positive_spans, self.positive_buckets.len()))
            .map_err(|error| HistogramError::Side { side: "custom buckets", error })?;
        for (unused, rule) in [
            (self.zero_count == 0.0, "have zero count of 0"),
            (self.zero_threshold == 0.0, "have zero threshold of 0"),
            (self.negative_spans.is_empty(), "not have negative spans"),
            (self.negative_buckets.is_empty(), "not have negative buckets"),
        ] {
            if !unused {
                return Err(HistogramError::CustomWith(rule));
            }
        }
        Ok(())
    }
}

fn check_spans(spans: &[Span], buckets: usize) -> Result<(), SideError> {
    let (mut needed, mut end) = (0u64, 0i64);
    for (i, span) in spans.iter().enumerate() {
        if i > 0 && span.offset < 0 {
            return Err(SideError::NegativeOffset { number: i + 1, offset: span.offset });
        }
        needed += u64::from(span.length);
        end += i64::from(span.offset) + i64::from(span.length);
        if end > i64::from(i32::MAX) {
            return Err(SideError::IndexRange { number: i + 1 });
        }
    }
    if needed == buckets as u64 { Ok(()) } else { Err(SideError::BucketsMismatch { needed, found: buckets }) }
}

fn check_counts(counts: &[f64]) -> Result<(), SideError> {
    match counts.iter().position(|count| *count < 0.0) {
        Some(i) => Err(SideError::NegativeBucket { number: i + 1, count: counts[i] }),
        None => Ok(()),
    }
}

fn check_bounds(bounds: &[f64], spans: &[Span]) -> Result<(), SideError> {
    if bounds.iter().any(|bound| bound.is_nan()) {
        return Err(SideError::BoundNan);
    }
    if let Some(pair) = bounds.windows(2).find(|pair| pair[1] <= pair[0]) {
        return Err(SideError::BoundOrder { previous: pair[0], current: pair[1] });
    }
    if bounds.last() == Some(&f64::INFINITY) {
        return Err(SideError::BoundInfinite);
    }
    if let Some(i) = spans.iter().position(|span| span.offset < 0) {
        return Err(SideError::NegativeOffset { number: i + 1, offset: spans[i].offset });
    }
    let needed = spans.iter().map(|span| i64::from(span.offset) + i64::from(span.length)).sum();
    if needed > bounds.len() as i64 + 1 {
        return Err(SideError::TooFewBounds { bounds: bounds.len(), needed });
    }
    Ok(())
}
