//! Buckets with their bounds, in either direction.

use super::{CUSTOM_BUCKETS_SCHEMA, FloatHistogram, Span, bucket_bound};
use crate::number::DisplayGeneral;
use std::fmt;

/// One bucket with its bounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bucket {
    /// Lower bound.
    pub lower: f64,
    /// Upper bound.
    pub upper: f64,
    /// Whether an observation at the lower bound is counted here.
    pub lower_inclusive: bool,
    /// Whether an observation at the upper bound is counted here.
    pub upper_inclusive: bool,
    /// Observations.
    pub count: f64,
    /// Index within the schema; 0 for the zero bucket.
    pub index: i32,
}

/// As Go prints it: `(1,2]:3`.
impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let open = if self.lower_inclusive { '[' } else { '(' };
        let close = if self.upper_inclusive { ']' } else { ')' };
        let [lower, upper, count] = [self.lower, self.upper, self.count].map(DisplayGeneral);
        write!(f, "{open}{lower},{upper}{close}:{count}")
    }
}

/// The buckets of `spans`, as (index, value), as far as there are values.
pub(super) fn entries<'a, T: Copy>(spans: &'a [Span], values: &'a [T]) -> impl Iterator<Item = (i32, T)> + 'a {
    let mut spans = spans.iter();
    let (mut index, mut left) = (0i32, 0u32);
    values.iter().map_while(move |value| {
        while left == 0 {
            let span = spans.next()?;
            index = index.wrapping_add(span.offset);
            left = span.length;
        }
        let entry = (index, *value);
        left -= 1;
        index = index.wrapping_add(1);
        Some(entry)
    })
}

/// As [`entries`], from the last to the first.
fn entries_reversed<'a>(spans: &'a [Span], values: &'a [f64]) -> impl Iterator<Item = (i32, f64)> + 'a {
    let end = spans.iter().fold(0i32, |end, span| end.wrapping_add(span.offset).wrapping_add_unsigned(span.length));
    let mut spans = spans.iter().rev();
    let (mut index, mut left, mut gap) = (end, 0u32, 0i32);
    values.iter().rev().map_while(move |value| {
        while left == 0 {
            let span = spans.next()?;
            index = index.wrapping_sub(gap);
            gap = span.offset;
            left = span.length;
        }
        left -= 1;
        index = index.wrapping_sub(1);
        Some((index, *value))
    })
}

impl FloatHistogram {
    /// The positive (or custom) buckets, away from zero.
    pub fn positive(&self) -> impl Iterator<Item = Bucket> + '_ {
        entries(&self.positive_spans, &self.positive_buckets).map(|(index, count)| self.bucket(index, count, true))
    }

    /// The negative buckets, away from zero: in descending order.
    pub fn negative(&self) -> impl Iterator<Item = Bucket> + '_ {
        entries(&self.negative_spans, &self.negative_buckets).map(|(index, count)| self.bucket(index, count, false))
    }

    /// The positive (or custom) buckets, towards zero: in descending order.
    pub fn positive_reversed(&self) -> impl Iterator<Item = Bucket> + '_ {
        entries_reversed(&self.positive_spans, &self.positive_buckets).map(|(index, count)| self.bucket(index, count, true))
    }

    /// The negative buckets, towards zero.
    pub fn negative_reversed(&self) -> impl Iterator<Item = Bucket> + '_ {
        entries_reversed(&self.negative_spans, &self.negative_buckets).map(|(index, count)| self.bucket(index, count, false))
    }

    /// All buckets in ascending order, the zero bucket if it counts something. A bucket that the zero bucket overlaps begins
    /// (or ends) at the zero threshold.
    pub fn buckets(&self) -> impl Iterator<Item = Bucket> + '_ {
        let outside = |bucket| self.outside_zero(bucket);
        self.negative_reversed().map(outside).chain(self.counted_zero_bucket()).chain(self.positive().map(outside))
    }

    /// As [`FloatHistogram::buckets`], in descending order.
    pub fn buckets_reversed(&self) -> impl Iterator<Item = Bucket> + '_ {
        let outside = |bucket| self.outside_zero(bucket);
        self.positive_reversed().map(outside).chain(self.counted_zero_bucket()).chain(self.negative().map(outside))
    }

    /// The zero bucket, which a histogram with custom buckets does not use.
    #[must_use]
    pub fn zero_bucket(&self) -> Bucket {
        let (lower, upper) = (-self.zero_threshold, self.zero_threshold);
        Bucket { lower, upper, lower_inclusive: true, upper_inclusive: true, count: self.zero_count, index: 0 }
    }

    fn counted_zero_bucket(&self) -> Option<Bucket> {
        (self.zero_count > 0.0).then(|| self.zero_bucket())
    }

    fn outside_zero(&self, mut bucket: Bucket) -> Bucket {
        if bucket.upper < 0.0 && bucket.upper > -self.zero_threshold {
            bucket.upper = -self.zero_threshold;
        } else if bucket.lower > 0.0 && bucket.lower < self.zero_threshold {
            bucket.lower = self.zero_threshold;
        }
        bucket
    }

    fn bucket(&self, index: i32, count: f64, positive: bool) -> Bucket {
        let outer = bucket_bound(index, self.schema, &self.custom_values);
        let inner = bucket_bound(index.wrapping_sub(1), self.schema, &self.custom_values);
        let (lower, upper) = if positive { (inner, outer) } else { (-outer, -inner) };
        let (lower_inclusive, upper_inclusive) =
            if self.schema == CUSTOM_BUCKETS_SCHEMA { (index == 0, true) } else { (lower < 0.0, upper > 0.0) };
        Bucket { lower, upper, lower_inclusive, upper_inclusive, count, index }
    }
}
