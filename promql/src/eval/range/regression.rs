//! Lines through the samples of a window, and exponential smoothing of them.

use super::window::{Samples, Windows};
use crate::error::EvalError;
use crate::eval::block::RowMut;
use crate::eval::function::compensated::Compensated;
use std::ops::Range;

/// Slope (per second) and value at `origin_ms` of the least-squares line through the samples of a window.
fn line(samples: Samples<'_>, window: Range<usize>, origin_ms: i64) -> (f64, f64) {
    let first = samples.values[window.start];
    let is_constant = samples.values[window.clone()].iter().all(|v| *v == first);
    if is_constant {
        return if first.is_infinite() { (f64::NAN, f64::NAN) } else { (0.0, first) };
    }
    let n = window.len() as f64;
    let (mut x_sum, mut y_sum, mut xy_sum, mut xx_sum) = Default::default();
    let sums: [&mut Compensated; 4] = [&mut x_sum, &mut y_sum, &mut xy_sum, &mut xx_sum];
    for i in window {
        let x = samples.times[i].saturating_sub(origin_ms) as f64 / 1e3;
        let y = samples.values[i];
        sums[0].add(x);
        sums[1].add(y);
        sums[2].add(x * y);
        sums[3].add(x * x);
    }
    let [x, y, xy, xx] = [x_sum.total(), y_sum.total(), xy_sum.total(), xx_sum.total()];
    let covariance = xy - x * y / n;
    let variance = xx - x * x / n;
    let slope = covariance / variance;
    (slope, y / n - slope * x / n)
}

/// `deriv`.
pub(crate) fn deriv(samples: Samples<'_>, windows: &Windows, row: &mut RowMut<'_>) {
    windows.slide(samples, |step, window| {
        if window.len() >= 2 {
            // The first sample's time as origin keeps the numbers small.
            let origin_ms = samples.times[window.start];
            row.set(step, line(samples, window, origin_ms).0);
        }
    });
}

/// `predict_linear`, `seconds[step]` after the evaluation time.
pub(crate) fn predict_linear(samples: Samples<'_>, windows: &Windows, seconds: &[f64], row: &mut RowMut<'_>) {
    windows.slide(samples, |step, window| {
        if window.len() >= 2 {
            let (slope, value) = line(samples, window, windows.evaluation_ms(step));
            row.set(step, slope * seconds[step] + value);
        }
    });
}

/// Checks the factors of `double_exponential_smoothing`.
pub(crate) fn check_factors(smoothing: impl Iterator<Item = f64>, trend: impl Iterator<Item = f64>) -> Result<(), EvalError> {
    let outside = |value: &f64| *value <= 0.0 || *value >= 1.0;
    for (sf, tf) in smoothing.zip(trend) {
        if outside(&sf) {
            return Err(EvalError::InvalidFactor { factor: "smoothing", symbol: "sf", value: sf });
        }
        if outside(&tf) {
            return Err(EvalError::InvalidFactor { factor: "trend", symbol: "tf", value: tf });
        }
    }
    Ok(())
}

/// `double_exponential_smoothing`.
pub(crate) fn smooth(samples: Samples<'_>, windows: &Windows, smoothing: &[f64], trend: &[f64], row: &mut RowMut<'_>) {
    windows.slide(samples, |step, window| {
        if window.len() < 2 {
            return;
        }
        let values = &samples.values[window];
        let (sf, tf) = (smoothing[step], trend[step]);
        let (mut previous, mut level, mut slope) = (0.0, values[0], values[1] - values[0]);
        for (i, value) in values[1..].iter().enumerate() {
            let scaled = sf * value;
            if i > 0 {
                slope = tf * (level - previous) + (1.0 - tf) * slope;
            }
            let continued = (1.0 - sf) * (level + slope);
            (previous, level) = (level, scaled + continued);
        }
        row.set(step, level);
    });
}
