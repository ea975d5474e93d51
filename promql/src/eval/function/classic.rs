//! Quantiles and fractions of one classic histogram.

/// Relative difference of neighbouring counts that is taken for rounding.
const SMALL_DIFFERENCE: f64 = 1e-12;

/// One bucket of a classic histogram at one step.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bucket {
    /// Upper bound.
    pub(super) upper: f64,
    /// Observations up to `upper`.
    pub(super) count: f64,
}

/// Which counts were raised to those of smaller buckets.
#[derive(Clone, Copy, Debug)]
pub(super) struct Correction {
    /// Bounds of the first and the last bucket whose count was raised.
    pub(super) first: f64,
    pub(super) last: f64,
    /// By how much, at most.
    pub(super) difference: f64,
}

/// The `q`-quantile, and which counts had to be raised for it.
pub(super) fn quantile(q: f64, buckets: &mut Vec<Bucket>) -> (f64, Option<Correction>) {
    if q.is_nan() {
        return (f64::NAN, None);
    }
    if q < 0.0 {
        return (f64::NEG_INFINITY, None);
    }
    if q > 1.0 {
        return (f64::INFINITY, None);
    }
    if buckets[buckets.len() - 1].upper != f64::INFINITY {
        return (f64::NAN, None);
    }
    coalesce(buckets);
    let correction = make_monotonic(buckets);
    let last = buckets.len() - 1;
    if last == 0 || buckets[last].count == 0.0 {
        return (f64::NAN, None);
    }
    let rank = q * buckets[last].count;
    let at = buckets[..last].partition_point(|bucket| bucket.count < rank || bucket.count.is_nan() || rank.is_nan());
    if at == last {
        return (buckets[last - 1].upper, correction);
    }
    if at == 0 && buckets[0].upper <= 0.0 {
        return (buckets[0].upper, correction);
    }
    let end = buckets[at].upper;
    let (start, below) = if at == 0 { (0.0, 0.0) } else { (buckets[at - 1].upper, buckets[at - 1].count) };
    (start + (end - start) * ((rank - below) / (buckets[at].count - below)), correction)
}

/// The share of observations between two values.
pub(super) fn fraction(lower: f64, upper: f64, buckets: &mut Vec<Bucket>) -> f64 {
    if buckets[buckets.len() - 1].upper != f64::INFINITY {
        return f64::NAN;
    }
    coalesce(buckets);
    let total = buckets[buckets.len() - 1].count;
    if total == 0.0 || lower.is_nan() || upper.is_nan() {
        return f64::NAN;
    }
    if lower >= upper {
        return 0.0;
    }
    (rank_of(upper, buckets, total) - rank_of(lower, buckets, total)) / total
}

/// How many observations lie below `bound`, by linear interpolation within its bucket.
fn rank_of(bound: f64, buckets: &[Bucket], total: f64) -> f64 {
    let mut below = 0.0;
    for (i, bucket) in buckets.iter().enumerate() {
        let start = match i {
            0 if bucket.upper > 0.0 => 0.0,
            0 => f64::NEG_INFINITY,
            _ => buckets[i - 1].upper,
        };
        if start >= bound {
            return below;
        }
        if bucket.upper > bound {
            // Nothing is interpolated in buckets without end: one counts with neither of its ends, the other with both.
            if start == f64::NEG_INFINITY {
                return bucket.count;
            }
            if bucket.upper == f64::INFINITY {
                return below;
            }
            return below + (bucket.count - below) * (bound - start) / (bucket.upper - start);
        }
        below = bucket.count;
    }
    total
}

/// Adds up buckets with the same bound; they are sorted by it.
fn coalesce(buckets: &mut Vec<Bucket>) {
    buckets.dedup_by(|next, last| {
        let is_same = next.upper == last.upper;
        if is_same {
            last.count += next.count;
        }
        is_same
    });
}

/// Raises counts that are below those of smaller buckets. Differences that rounding explains go unmentioned.
fn make_monotonic(buckets: &mut [Bucket]) -> Option<Correction> {
    let mut correction: Option<Correction> = None;
    let mut previous = buckets[0].count;
    for bucket in &mut buckets[1..] {
        let current = bucket.count;
        if current == previous {
            continue;
        }
        if is_almost_equal(previous, current) {
            bucket.count = previous;
            continue;
        }
        if current < previous {
            bucket.count = previous;
            let difference = previous - current;
            correction = Some(match correction {
                None => Correction { first: bucket.upper, last: bucket.upper, difference },
                Some(c) => Correction { first: c.first, last: bucket.upper, difference: c.difference.max(difference) },
            });
            continue;
        }
        previous = current;
    }
    correction
}

fn is_almost_equal(a: f64, b: f64) -> bool {
    if a.is_nan() || b.is_nan() {
        return a.is_nan() && b.is_nan();
    }
    let difference = (a - b).abs();
    let size = (a.abs() + b.abs()).min(f64::MAX);
    if a == 0.0 || b == 0.0 || size < f64::MIN_POSITIVE {
        return difference < SMALL_DIFFERENCE * f64::MIN_POSITIVE;
    }
    difference / size < SMALL_DIFFERENCE
}
