//! Counter resets between two histograms of a series.

use super::custom::{intersection, mapped};
use super::iterate::entries;
use super::side::outside_zero;
use super::{CounterResetHint, FloatHistogram};

impl FloatHistogram {
    /// Whether this histogram, which follows `previous` in its series, begins anew: by its hint, or if any of its counts is
    /// lower, a populated bucket is missing, or its layout is one that a counter cannot change to (a higher resolution, a
    /// narrower zero bucket, a zero bucket that cuts a populated bucket, custom instead of exponential buckets).
    #[must_use]
    pub fn detect_reset(&self, previous: &Self) -> bool {
        match self.counter_reset_hint {
            CounterResetHint::Reset => return true,
            CounterResetHint::NotReset => return false,
            // Gauges are treated as counters where a function for counters is applied to them.
            CounterResetHint::Unknown | CounterResetHint::Gauge => {}
        }
        if self.count < previous.count || self.uses_custom_buckets() != previous.uses_custom_buckets() {
            return true;
        }
        if self.uses_custom_buckets() {
            return self.custom_bucket_decreased(previous);
        }
        if self.schema > previous.schema || self.zero_threshold < previous.zero_threshold {
            return true;
        }
        let (zero_count, threshold) = previous.zero_count_within(self.zero_threshold);
        threshold != self.zero_threshold
            || self.zero_count < zero_count
            || self.side_decreased(previous, |h| (&h.positive_spans, &h.positive_buckets))
            || self.side_decreased(previous, |h| (&h.negative_spans, &h.negative_buckets))
    }

    fn side_decreased(&self, previous: &Self, side: impl Fn(&Self) -> (&Vec<super::Span>, &Vec<f64>)) -> bool {
        let (spans, counts) = side(self);
        let mine = outside_zero(spans, counts, (self.schema, self.schema), self.zero_threshold);
        let (spans, counts) = side(previous);
        let before = outside_zero(spans, counts, (previous.schema, self.schema), self.zero_threshold);
        decreased(mine, before)
    }

    fn custom_bucket_decreased(&self, previous: &Self) -> bool {
        let mine = entries(&self.positive_spans, &self.positive_buckets);
        let before = entries(&previous.positive_spans, &previous.positive_buckets);
        if self.custom_values == previous.custom_values {
            return decreased(mine, before);
        }
        let common = intersection(&self.custom_values, &previous.custom_values);
        let mut change = vec![0.0; common.len() + 1];
        mapped(before, &previous.custom_values, &common).for_each(|(index, count)| change[index] -= count);
        mapped(mine, &self.custom_values, &common).for_each(|(index, count)| change[index] += count);
        change.iter().any(|change| *change < 0.0)
    }
}

/// Whether a populated bucket of `before` is missing or has less in `now`; of `before` an index may come repeatedly.
fn decreased(now: impl Iterator<Item = (i32, f64)>, before: impl Iterator<Item = (i32, f64)>) -> bool {
    let (mut now, mut before) = (now.peekable(), before.peekable());
    while let Some((index, mut count)) = before.next() {
        while let Some((_, more)) = before.next_if(|(next, _)| *next == index) {
            count += more;
        }
        while now.next_if(|(current, _)| *current < index).is_some() {}
        match now.next_if(|(current, _)| *current == index) {
            Some((_, current)) if current < count => return true,
            None if count != 0.0 => return true,
            Some(_) | None => {}
        }
    }
    false
}
