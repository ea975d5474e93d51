//! Sums of many histograms with the error of each addition kept (Neumaier's variant of Kahan's algorithm).

use super::add::{Parts, Reconciled};
use super::side::{Count, Side};
use super::{FloatHistogram, HistogramError};

/// A float and what its additions have lost.
#[derive(Clone, Copy, Debug, Default)]
struct Compensated {
    value: f64,
    lost: f64,
}

impl Count for Compensated {
    fn of(value: f64) -> Self {
        Self { value, lost: 0.0 }
    }

    fn plus(self, other: Self) -> Self {
        let value = self.value + other.value;
        let lost = if value.is_infinite() {
            0.0
        } else if self.value.abs() >= other.value.abs() {
            (self.value - value) + other.value + self.lost + other.lost
        } else {
            (other.value - value) + self.value + self.lost + other.lost
        };
        Self { value, lost }
    }

    fn is_zero(self) -> bool {
        self.value == 0.0 && self.lost == 0.0
    }
}

/// A sum of histograms, each count of it compensated.
#[derive(Clone, Debug)]
pub struct CompensatedHistogram {
    parts: Parts<Compensated>,
}

impl CompensatedHistogram {
    /// A sum of one histogram.
    #[must_use]
    pub fn new(first: FloatHistogram) -> Self {
        let parts = Parts::from(first);
        let counts = |side: Side<f64>| Side { spans: side.spans, counts: side.counts.into_iter().map(Compensated::of).collect() };
        Self {
            parts: Parts {
                hint: parts.hint,
                schema: parts.schema,
                zero_threshold: parts.zero_threshold,
                zero_count: Compensated::of(parts.zero_count),
                count: Compensated::of(parts.count),
                sum: Compensated::of(parts.sum),
                positive: counts(parts.positive),
                negative: counts(parts.negative),
                custom_values: parts.custom_values,
            },
        }
    }

    /// Adds `other`, as [`FloatHistogram::add`].
    ///
    /// # Errors
    /// As [`FloatHistogram::add`].
    pub fn add(&mut self, other: &FloatHistogram) -> Result<Reconciled, HistogramError> {
        self.parts.add(other)
    }

    /// Multiplies the sum and what its additions have lost.
    pub fn scale(&mut self, factor: f64) {
        let parts = &mut self.parts;
        let buckets = parts.positive.counts.iter_mut().chain(&mut parts.negative.counts);
        for count in buckets.chain([&mut parts.zero_count, &mut parts.count, &mut parts.sum]) {
            count.value *= factor;
            count.lost *= factor;
        }
    }

    /// The sum.
    #[must_use]
    pub fn sum(self) -> FloatHistogram {
        self.over(1.0)
    }

    /// The sum over `n`; sum and error are divided each, so that neither overflows where the mean does not.
    #[must_use]
    pub fn over(self, n: f64) -> FloatHistogram {
        let value = |count: Compensated| if n == 1.0 { count.value + count.lost } else { count.value / n + count.lost / n };
        let counts = |side: Side<Compensated>| Side { spans: side.spans, counts: side.counts.into_iter().map(value).collect() };
        Parts {
            hint: self.parts.hint,
            schema: self.parts.schema,
            zero_threshold: self.parts.zero_threshold,
            zero_count: value(self.parts.zero_count),
            count: value(self.parts.count),
            sum: value(self.parts.sum),
            positive: counts(self.parts.positive),
            negative: counts(self.parts.negative),
            custom_values: self.parts.custom_values,
        }
        .into()
    }

    /// Whether a count or the sum has overflowed.
    #[must_use]
    pub fn is_infinite(&self) -> bool {
        let parts = &self.parts;
        let infinite = |count: &Compensated| count.value.is_infinite();
        [parts.zero_count, parts.count, parts.sum].iter().any(infinite)
            || parts.positive.counts.iter().chain(&parts.negative.counts).any(infinite)
    }
}
