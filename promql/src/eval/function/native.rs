//! What can be told from one native histogram: quantiles, fractions, mean and variance.

use model::histogram::{Bucket, FloatHistogram};

/// What observations of NaN, which are counted but in no bucket, did to a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NanEffect {
    /// The quantile lies among them.
    IsNan,
    /// The quantile is higher than that of the numbers.
    SkewedHigher,
    /// They are in no fraction.
    Excluded,
}

impl NanEffect {
    /// The text of the info about it.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::IsNan => "input to histogram_quantile has NaN observations, result is NaN",
            Self::SkewedHigher => "input to histogram_quantile has NaN observations, result is skewed higher",
            Self::Excluded => "input to histogram_fraction has NaN observations, which are excluded from all fractions",
        }
    }
}

/// The `q`-quantile of the observations. Within the zero bucket and custom buckets they are taken to be spread evenly, within
/// others evenly on a logarithmic scale.
pub(crate) fn quantile(q: f64, h: &FloatHistogram) -> (f64, Option<NanEffect>) {
    if q < 0.0 {
        return (f64::NEG_INFINITY, None);
    }
    if q > 1.0 {
        return (f64::INFINITY, None);
    }
    if h.count == 0.0 || q.is_nan() {
        return (f64::NAN, None);
    }
    // Observations of NaN count as larger than any number, so only the way from below is right with them.
    let forward = h.sum.is_nan() || q < 0.5;
    let rank = if forward { q * h.count } else { (1.0 - q) * h.count };
    let mut buckets: Box<dyn Iterator<Item = Bucket>> = if forward { Box::new(h.buckets()) } else { Box::new(h.buckets_reversed()) };
    let (mut bucket, mut count) = (EMPTY, 0.0);
    for next in buckets.by_ref() {
        bucket = next;
        count += bucket.count;
        if bucket.count != 0.0 && count >= rank {
            break;
        }
    }
    if let Some(value) = narrow_for_quantile(&mut bucket, h) {
        return (value, None);
    }
    count = count.min(h.count);
    if count < rank {
        return if h.sum.is_nan() { (f64::NAN, Some(NanEffect::IsNan)) } else { (bucket.upper, None) };
    }
    let within = if forward { rank - (count - bucket.count) } else { count - rank };
    let skewed = h.sum.is_nan() && count + buckets.map(|bucket| bucket.count).sum::<f64>() < h.count;
    (interpolated(&bucket, within / bucket.count, h), skewed.then_some(NanEffect::SkewedHigher))
}

const EMPTY: Bucket = Bucket { lower: 0.0, upper: 0.0, lower_inclusive: false, upper_inclusive: false, count: 0.0, index: 0 };

/// Narrows a bucket around zero if there is nothing on one side of it, and a first bucket without end; returns the quantile if it
/// is an end of the bucket.
fn narrow_for_quantile(bucket: &mut Bucket, h: &FloatHistogram) -> Option<f64> {
    if !h.uses_custom_buckets() {
        if bucket.lower < 0.0 && bucket.upper > 0.0 {
            narrow_zero_bucket(bucket, h);
        }
    } else if bucket.lower == f64::NEG_INFINITY {
        if bucket.upper <= 0.0 {
            return Some(bucket.upper);
        }
        bucket.lower = 0.0;
    } else if bucket.upper == f64::INFINITY {
        return Some(bucket.lower);
    }
    None
}

/// A zero bucket of a histogram without negative buckets begins at zero, one without positive buckets ends there.
fn narrow_zero_bucket(bucket: &mut Bucket, h: &FloatHistogram) {
    match (h.negative_buckets.is_empty(), h.positive_buckets.is_empty()) {
        (true, false) => bucket.lower = 0.0,
        (false, true) => bucket.upper = 0.0,
        _ => {}
    }
}

fn interpolated(bucket: &Bucket, fraction: f64, h: &FloatHistogram) -> f64 {
    let (lower, upper) = (bucket.lower, bucket.upper);
    if h.uses_custom_buckets() || (lower <= 0.0 && upper >= 0.0) {
        return lower + (upper - lower) * fraction;
    }
    let (log_lower, log_upper) = (lower.abs().log2(), upper.abs().log2());
    if lower > 0.0 {
        (log_lower + (log_upper - log_lower) * fraction).exp2()
    } else {
        -(log_upper + (log_lower - log_upper) * (1.0 - fraction)).exp2()
    }
}

/// The share of observations between two values.
pub(crate) fn fraction(lower: f64, upper: f64, h: &FloatHistogram) -> (f64, Option<NanEffect>) {
    if h.count == 0.0 || lower.is_nan() || upper.is_nan() {
        return (f64::NAN, None);
    }
    if lower >= upper {
        return (0.0, None);
    }
    let (mut rank, mut total) = (0.0, 0.0);
    let (mut below_lower, mut below_upper) = (None, None);
    for mut bucket in h.buckets() {
        total += bucket.count;
        let is_even = h.uses_custom_buckets() || (bucket.lower <= 0.0 && bucket.upper >= 0.0);
        if bucket.lower <= 0.0 && bucket.upper >= 0.0 {
            narrow_zero_bucket(&mut bucket, h);
        }
        for (value, below) in [(lower, &mut below_lower), (upper, &mut below_upper)] {
            if below.is_some() {
            } else if bucket.lower >= value {
                *below = Some(rank);
            } else if bucket.upper > value {
                *below = Some(rank_within(&bucket, value, rank, is_even));
            }
        }
        rank += bucket.count;
    }
    let has_nan = h.sum.is_nan() && total < h.count;
    let known = if h.sum.is_nan() { total } else { h.count };
    let capped = |below: Option<f64>| below.map_or(known, |below| if below > known { known } else { below });
    ((capped(below_upper) - capped(below_lower)) / h.count, has_nan.then_some(NanEffect::Excluded))
}

/// Observations below `value`, which is inside of `bucket`; `rank` are below the bucket.
fn rank_within(bucket: &Bucket, value: f64, rank: f64, is_even: bool) -> f64 {
    if is_even {
        // Nothing is interpolated in buckets without end: one counts with neither of its ends, the other with both.
        return match bucket.lower == f64::NEG_INFINITY {
            true => bucket.count,
            false => rank + bucket.count * (value - bucket.lower) / (bucket.upper - bucket.lower),
        };
    }
    let [log_lower, log_upper, log_value] = [bucket.lower, bucket.upper, value].map(|v| v.abs().log2());
    let fraction = match value > 0.0 {
        true => (log_value - log_lower) / (log_upper - log_lower),
        false => 1.0 - (log_value - log_upper) / (log_lower - log_upper),
    };
    rank + bucket.count * fraction
}

/// The mean of the observations.
pub(crate) fn mean(h: &FloatHistogram) -> f64 {
    h.sum / h.count
}

/// The variance of the observations, each taken to be in the middle of its bucket: of exponential buckets the geometric middle.
pub(crate) fn variance(h: &FloatHistogram) -> f64 {
    let mean = mean(h);
    let (mut sum, mut lost) = (0.0, 0.0);
    for bucket in h.buckets().filter(|bucket| bucket.count != 0.0) {
        let middle = if h.uses_custom_buckets() {
            (bucket.upper + bucket.lower) / 2.0
        } else if bucket.lower <= 0.0 && bucket.upper >= 0.0 {
            0.0
        } else {
            (bucket.upper * bucket.lower).sqrt().copysign(bucket.upper)
        };
        let delta = middle - mean;
        let value = bucket.count * delta * delta;
        let total: f64 = sum + value;
        if total.is_infinite() {
            lost = 0.0;
        } else {
            lost += if f64::abs(sum) >= value.abs() { (sum - total) + value } else { (value - total) + sum };
        }
        sum = total;
    }
    (sum + lost) / h.count
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::histogram::{CUSTOM_BUCKETS_SCHEMA, Span};

    fn with_buckets(counts: &[f64]) -> FloatHistogram {
        FloatHistogram {
            count: counts.iter().sum(),
            positive_spans: vec![Span { offset: 1, length: counts.len() as u32 }],
            positive_buckets: counts.to_vec(),
            ..FloatHistogram::default()
        }
    }

    #[test]
    fn quantiles_are_interpolated_on_a_logarithmic_scale() {
        // (1, 2], (2, 4], (4, 8]
        let h = with_buckets(&[1.0, 2.0, 1.0]);
        assert!((quantile(0.5, &h).0 - 8f64.sqrt()).abs() < 1e-12);
        assert!((quantile(0.125, &h).0 - 2f64.sqrt()).abs() < 1e-12);
        assert_eq!(quantile(1.0, &h).0, 8.0);
        assert_eq!(quantile(-0.1, &h).0, f64::NEG_INFINITY);
        assert_eq!(quantile(1.1, &h).0, f64::INFINITY);
        assert!(quantile(0.5, &FloatHistogram::default()).0.is_nan());
    }

    #[test]
    fn fractions_and_quantiles_are_inverse() {
        let mut h = with_buckets(&[3.0, 5.0, 2.0]);
        h.zero_threshold = 0.5;
        h.zero_count = 4.0;
        h.count += 4.0;
        for q in [0.1, 0.3, 0.5, 0.9] {
            let value = quantile(q, &h).0;
            assert!((fraction(f64::NEG_INFINITY, value, &h).0 - q).abs() < 1e-12, "{q}");
        }
    }

    #[test]
    fn observations_of_nan_are_told() {
        let h = FloatHistogram { sum: f64::NAN, count: 8.0, ..with_buckets(&[1.0, 2.0, 1.0]) };
        assert_eq!(quantile(0.25, &h).1, Some(NanEffect::SkewedHigher));
        assert_eq!(quantile(0.9, &h).1, Some(NanEffect::IsNan));
        assert_eq!(fraction(1.0, 4.0, &h), (3.0 / 8.0, Some(NanEffect::Excluded)));
    }

    #[test]
    fn custom_buckets_are_interpolated_evenly() {
        let h = FloatHistogram {
            schema: CUSTOM_BUCKETS_SCHEMA,
            positive_spans: vec![Span { offset: 0, length: 3 }],
            custom_values: [2.0, 4.0].into(),
            ..with_buckets(&[4.0, 4.0, 2.0])
        };
        assert_eq!(quantile(0.6, &h).0, 3.0);
        assert_eq!(quantile(0.2, &h).0, 1.0);
        assert_eq!(quantile(0.99, &h).0, 4.0);
        assert_eq!(fraction(f64::NEG_INFINITY, 3.0, &h).0, 0.6);
    }

    #[test]
    fn variance_takes_middles_of_buckets() {
        let mut h = with_buckets(&[2.0, 0.0, 2.0]);
        h.sum = 4.0 * 3.5;
        let wanted = ((2f64.sqrt() - 3.5).powi(2) + (32f64.sqrt() - 3.5).powi(2)) / 2.0;
        assert!((variance(&h) - wanted).abs() < 1e-12);
    }
}
