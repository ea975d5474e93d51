//! The operators `</` and `>/`: observations on one side of a value, estimated within the bucket that it cuts.

use super::{Bucket, FloatHistogram};

/// Which observations a trim keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// Those below the value, `</`.
    Below,
    /// Those above the value, `>/`.
    Above,
}

/// How observations are spread within a bucket.
#[derive(Clone, Copy)]
enum Spread {
    /// Evenly: custom buckets.
    Even,
    /// Evenly over the logarithm.
    Positive,
    /// Evenly over the logarithm, below zero.
    Negative,
}

/// What remains of the histogram.
#[derive(Default)]
struct Totals {
    count: f64,
    sum: f64,
    /// Some bucket has changed.
    trimmed: bool,
}

/// What remains of a bucket, and the value its observations are taken for in the sum.
struct Kept {
    count: f64,
    midpoint: f64,
}

impl FloatHistogram {
    /// The observations below or above `at`. Count and sum are those of the buckets kept, each with its midpoint, unless
    /// nothing is cut off.
    #[must_use]
    pub fn trim(&self, at: f64, keep: Keep) -> Self {
        let mut trimmed = self.clone();
        let mut totals = Totals::default();
        let even = self.uses_custom_buckets().then_some(Spread::Even);
        let positive = (even.unwrap_or(Spread::Positive), at, keep);
        let has_positive = trim_side(&mut trimmed.positive_buckets, self.positive(), positive, &mut totals);
        let negative = (even.unwrap_or(Spread::Negative), at, keep);
        let has_negative = trim_side(&mut trimmed.negative_buckets, self.negative(), negative, &mut totals);
        if self.zero_count > 0.0 {
            let mut zero = self.zero_bucket();
            match (has_negative, has_positive) {
                (true, false) => zero.upper = 0.0,
                (false, true) => zero.lower = 0.0,
                _ => {}
            }
            let kept = trim_zero(&zero, at, keep);
            totals.trimmed |= kept.count != self.zero_count;
            totals.sum += kept.midpoint * kept.count;
            totals.count += kept.count;
            trimmed.zero_count = kept.count;
        }
        if totals.trimmed {
            trimmed.count = totals.count;
            trimmed.sum = totals.sum;
            trimmed.compact(0);
        }
        trimmed
    }
}

/// Returns whether the side has a populated bucket.
fn trim_side(
    counts: &mut [f64],
    buckets: impl Iterator<Item = Bucket>,
    (spread, at, keep): (Spread, f64, Keep),
    totals: &mut Totals,
) -> bool {
    let mut populated = false;
    for (count, bucket) in counts.iter_mut().zip(buckets).filter(|(_, bucket)| bucket.count != 0.0) {
        populated = true;
        let (whole, cut) = match keep {
            Keep::Below => (bucket.upper <= at, bucket.lower < at),
            Keep::Above => (bucket.lower >= at, bucket.upper > at),
        };
        let kept = if whole {
            Kept { count: bucket.count, midpoint: midpoint(bucket.lower, bucket.upper, spread) }
        } else if cut {
            trim_bucket(&bucket, at, keep, spread)
        } else {
            *count = 0.0;
            totals.trimmed = true;
            continue;
        };
        totals.count += kept.count;
        totals.sum += kept.midpoint * kept.count;
        totals.trimmed |= *count != kept.count;
        *count = kept.count;
    }
    populated
}

/// The zero bucket; its observations are spread evenly.
fn trim_zero(zero: &Bucket, at: f64, keep: Keep) -> Kept {
    if at.is_nan() {
        return Kept { count: at, midpoint: at };
    }
    let (lower, upper) = match keep {
        Keep::Below => (zero.lower, at.min(zero.upper)),
        Keep::Above => (at.max(zero.lower), zero.upper),
    };
    if (keep == Keep::Below && at <= zero.lower) || (keep == Keep::Above && at >= zero.upper && at > zero.lower) {
        return Kept { count: 0.0, midpoint: 0.0 };
    }
    let whole = (lower, upper) == (zero.lower, zero.upper);
    let fraction = if whole { 1.0 } else { (upper - lower) / (zero.upper - zero.lower) };
    Kept { count: zero.count * fraction, midpoint: (lower + upper) / 2.0 }
}

/// The bucket that contains `at`.
fn trim_bucket(bucket: &Bucket, at: f64, keep: Keep, spread: Spread) -> Kept {
    if bucket.lower == f64::NEG_INFINITY || bucket.upper == f64::INFINITY {
        return trim_infinite(bucket, at, keep);
    }
    let below = bucket.count * fraction_below(bucket, at, spread);
    match keep {
        Keep::Below => Kept { count: below, midpoint: midpoint(bucket.lower, at, spread) },
        Keep::Above => Kept { count: bucket.count - below, midpoint: midpoint(at, bucket.upper, spread) },
    }
}

fn fraction_below(bucket: &Bucket, at: f64, spread: Spread) -> f64 {
    let log = |value: f64| value.abs().log2();
    match spread {
        Spread::Even => (at - bucket.lower) / (bucket.upper - bucket.lower),
        Spread::Positive => (log(at) - log(bucket.lower)) / (log(bucket.upper) - log(bucket.lower)),
        Spread::Negative => 1.0 - (log(at) - log(bucket.upper)) / (log(bucket.lower) - log(bucket.upper)),
    }
}

/// A bucket without an end, of which it is not known how its observations are spread: it is kept or dropped whole, except
/// that a first bucket with a positive upper bound is taken to begin at zero.
fn trim_infinite(bucket: &Bucket, at: f64, keep: Keep) -> Kept {
    let (lower, upper, count) = (bucket.lower, bucket.upper, bucket.count);
    let dropped = Kept { count: 0.0, midpoint: 0.0 };
    if lower > f64::NEG_INFINITY {
        return match keep {
            Keep::Above if at >= lower => Kept { count, midpoint: at },
            Keep::Above | Keep::Below => dropped,
        };
    }
    let finite = upper < f64::INFINITY;
    match keep {
        Keep::Below if at > 0.0 && upper > 0.0 && finite => Kept { count: count * at / upper, midpoint: at / 2.0 },
        Keep::Below if upper <= 0.0 => Kept { count, midpoint: at },
        Keep::Above if at >= 0.0 && upper > at && finite => Kept { count: count * (1.0 - at / upper), midpoint: (at + upper) / 2.0 },
        Keep::Below | Keep::Above => dropped,
    }
}

/// The value that stands for the observations between two bounds: the mean, of exponential buckets the geometric one.
fn midpoint(lower: f64, upper: f64, spread: Spread) -> f64 {
    match (lower.is_infinite(), upper.is_infinite()) {
        (true, true) => 0.0,
        (true, false) if upper > 0.0 => upper / 2.0,
        (true, false) => upper,
        (false, true) => lower,
        (false, false) => match spread {
            Spread::Even => f64::midpoint(lower, upper),
            Spread::Positive => (lower * upper).abs().sqrt(),
            Spread::Negative => -(lower * upper).abs().sqrt(),
        },
    }
}
