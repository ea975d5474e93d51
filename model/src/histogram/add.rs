//! Addition: zero buckets, schemas and custom bounds of two histograms are reconciled first.

use super::custom::{intersection, mapped};
use super::iterate::entries;
use super::side::{Count, Side, outside_zero};
use super::{CounterResetHint, FloatHistogram, HistogramError, Span, exponential_bound};
use std::cmp::Ordering;
use std::sync::Arc;

/// What an addition had to reconcile that its user may want to know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reconciled {
    /// One histogram was marked as a counter reset, the other as none.
    pub counter_reset_collision: bool,
    /// Custom bounds differed, so that only the common ones remain.
    pub custom_bounds: bool,
}

/// Whether the other histogram is added or subtracted.
#[derive(Clone, Copy)]
enum Sign {
    Plus,
    Minus,
}

impl Sign {
    fn of<T: Count>(self, value: f64) -> T {
        T::of(match self {
            Self::Plus => value,
            Self::Minus => -value,
        })
    }
}

/// All that is added up, with counts of kind `T`.
#[derive(Clone, Debug)]
pub(super) struct Parts<T> {
    pub(super) hint: CounterResetHint,
    pub(super) schema: i32,
    pub(super) zero_threshold: f64,
    pub(super) zero_count: T,
    pub(super) count: T,
    pub(super) sum: T,
    pub(super) positive: Side<T>,
    pub(super) negative: Side<T>,
    pub(super) custom_values: Arc<[f64]>,
}

impl FloatHistogram {
    /// Adds `other`. The result has the lower of the two resolutions, a zero bucket that contains both zero buckets and ends
    /// where no populated bucket of either is cut, and only common custom bounds. Empty buckets remain.
    ///
    /// # Errors
    /// [`HistogramError::MixedSchemas`] if one has exponential and the other custom buckets; then nothing is changed.
    pub fn add(&mut self, other: &Self) -> Result<Reconciled, HistogramError> {
        self.combine(other, Sign::Plus)
    }

    /// Subtracts `other`, as [`FloatHistogram::add`] adds. The hint too is that of an addition.
    ///
    /// # Errors
    /// As [`FloatHistogram::add`].
    pub fn sub(&mut self, other: &Self) -> Result<Reconciled, HistogramError> {
        self.combine(other, Sign::Minus)
    }

    fn combine(&mut self, other: &Self, sign: Sign) -> Result<Reconciled, HistogramError> {
        if self.uses_custom_buckets() != other.uses_custom_buckets() {
            return Err(HistogramError::MixedSchemas);
        }
        let mut parts = Parts::from(std::mem::take(self));
        let reconciled = parts.combine(other, sign);
        *self = parts.into();
        Ok(reconciled)
    }
}

impl<T: Count> Parts<T> {
    /// As [`FloatHistogram::add`].
    pub(super) fn add(&mut self, other: &FloatHistogram) -> Result<Reconciled, HistogramError> {
        if self.uses_custom_buckets() != other.uses_custom_buckets() {
            return Err(HistogramError::MixedSchemas);
        }
        Ok(self.combine(other, Sign::Plus))
    }

    fn uses_custom_buckets(&self) -> bool {
        self.schema == super::CUSTOM_BUCKETS_SCHEMA
    }

    /// Both have exponential or both have custom buckets.
    fn combine(&mut self, other: &FloatHistogram, sign: Sign) -> Reconciled {
        let counter_reset_collision = self.combine_hint(other.counter_reset_hint);
        self.count = self.count.plus(sign.of(other.count));
        self.sum = self.sum.plus(sign.of(other.sum));
        if self.uses_custom_buckets() {
            let custom_bounds = self.combine_custom(other, sign);
            return Reconciled { counter_reset_collision, custom_bounds };
        }
        let other_zero_count = self.reconcile_zero_buckets(other);
        self.zero_count = self.zero_count.plus(sign.of(other_zero_count));
        if other.schema < self.schema {
            self.positive.reduce(self.schema, other.schema);
            self.negative.reduce(self.schema, other.schema);
            self.schema = other.schema;
        }
        let schemas = (other.schema, self.schema);
        let zero = self.zero_threshold;
        combine_side(&mut self.positive, (&other.positive_spans, &other.positive_buckets), schemas, zero, sign);
        combine_side(&mut self.negative, (&other.negative_spans, &other.negative_buckets), schemas, zero, sign);
        Reconciled { counter_reset_collision, custom_bounds: false }
    }

    /// Gauges win, then what is unknown; a reset and no reset collide and are unknown.
    fn combine_hint(&mut self, other: CounterResetHint) -> bool {
        use CounterResetHint::{Gauge, Unknown};
        let mine = self.hint;
        let collision = mine != other && ![mine, other].iter().any(|hint| matches!(hint, Gauge | Unknown));
        self.hint = match (mine, other) {
            (Gauge, _) | (_, Gauge) => Gauge,
            _ if mine == other => mine,
            _ => Unknown,
        };
        collision
    }

    /// Returns whether bounds had to be reconciled.
    fn combine_custom(&mut self, other: &FloatHistogram, sign: Sign) -> bool {
        let theirs = entries(&other.positive_spans, &other.positive_buckets).map(|(index, count)| (index, sign.of(count)));
        if self.custom_values == other.custom_values {
            self.positive.add(theirs);
            return false;
        }
        let common = intersection(&self.custom_values, &other.custom_values);
        let mut buckets = vec![T::of(0.0); common.len() + 1];
        let mine = entries(&self.positive.spans, &self.positive.counts);
        for (index, count) in mapped(mine, &self.custom_values, &common).chain(mapped(theirs, &other.custom_values, &common)) {
            buckets[index] = buckets[index].plus(count);
        }
        self.positive = Side { spans: vec![Span { offset: 0, length: buckets.len() as u32 }], counts: buckets };
        self.positive.compact(0);
        self.custom_values = common;
        true
    }

    /// Widens the zero bucket until it contains that of `other` and cuts no populated bucket of either; returns what `other`
    /// has in it.
    fn reconcile_zero_buckets(&mut self, other: &FloatHistogram) -> f64 {
        let (mut other_count, mut other_threshold) = (other.zero_count, other.zero_threshold);
        loop {
            match self.zero_threshold.partial_cmp(&other_threshold) {
                Some(Ordering::Greater) => {
                    (other_count, other_threshold) = other.zero_count_within(self.zero_threshold);
                }
                Some(Ordering::Less) => {
                    let positive = (&self.positive.spans[..], &self.positive.counts[..]);
                    let negative = (&self.negative.spans[..], &self.negative.counts[..]);
                    let (count, threshold) = widened(self.zero_count, positive, negative, self.schema, other_threshold);
                    let schema = self.schema;
                    let outside = |index: i32, _| exponential_bound(index.wrapping_sub(1), schema) >= threshold;
                    self.positive.retain(outside);
                    self.negative.retain(outside);
                    (self.zero_count, self.zero_threshold) = (count, threshold);
                }
                // Also NaN, which no valid histogram has.
                Some(Ordering::Equal) | None => return other_count,
            }
        }
    }
}

impl FloatHistogram {
    /// What the zero bucket would count were its threshold `threshold` or, where that is inside a populated bucket, the outer
    /// bound of that bucket; and that threshold.
    pub(super) fn zero_count_within(&self, threshold: f64) -> (f64, f64) {
        if threshold <= self.zero_threshold {
            return (self.zero_count, self.zero_threshold);
        }
        let positive = (&self.positive_spans[..], &self.positive_buckets[..]);
        let negative = (&self.negative_spans[..], &self.negative_buckets[..]);
        widened(self.zero_count, positive, negative, self.schema, threshold)
    }
}

/// See [`FloatHistogram::zero_count_within`].
fn widened<T: Count>(zero_count: T, positive: (&[Span], &[T]), negative: (&[Span], &[T]), schema: i32, mut threshold: f64) -> (T, f64) {
    loop {
        let mut count = zero_count;
        let mut reached = threshold;
        for side in [positive, negative] {
            for (index, bucket) in entries(side.0, side.1) {
                if exponential_bound(index.wrapping_sub(1), schema) >= reached {
                    break;
                }
                count = count.plus(bucket);
                let upper = exponential_bound(index, schema);
                if upper > reached && !bucket.is_zero() {
                    reached = upper;
                }
            }
        }
        if reached <= threshold {
            return (count, threshold);
        }
        // The other side has to be looked at again.
        threshold = reached;
    }
}

/// Adds a side of exponential buckets, except those within the zero bucket.
fn combine_side<T: Count>(side: &mut Side<T>, (spans, buckets): (&[Span], &[f64]), schemas: (i32, i32), zero_threshold: f64, sign: Sign) {
    let outside = || spans.first().is_none_or(|first| exponential_bound(first.offset, schemas.0) > zero_threshold);
    if schemas.0 == schemas.1 && side.spans == spans && side.counts.len() == buckets.len() && outside() {
        side.add_aligned(buckets.iter().map(|count| sign.of(*count)));
    } else {
        side.add(outside_zero(spans, buckets, schemas, zero_threshold).map(|(index, count)| (index, sign.of(count))));
    }
}

impl From<FloatHistogram> for Parts<f64> {
    fn from(h: FloatHistogram) -> Self {
        Self {
            hint: h.counter_reset_hint,
            schema: h.schema,
            zero_threshold: h.zero_threshold,
            zero_count: h.zero_count,
            count: h.count,
            sum: h.sum,
            positive: Side { spans: h.positive_spans, counts: h.positive_buckets },
            negative: Side { spans: h.negative_spans, counts: h.negative_buckets },
            custom_values: h.custom_values,
        }
    }
}

impl From<Parts<f64>> for FloatHistogram {
    fn from(parts: Parts<f64>) -> Self {
        Self {
            counter_reset_hint: parts.hint,
            schema: parts.schema,
            zero_threshold: parts.zero_threshold,
            zero_count: parts.zero_count,
            count: parts.count,
            sum: parts.sum,
            positive_spans: parts.positive.spans,
            negative_spans: parts.negative.spans,
            positive_buckets: parts.positive.counts,
            negative_buckets: parts.negative.counts,
            custom_values: parts.custom_values,
        }
    }
}
