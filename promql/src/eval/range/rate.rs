//! Differences over a window: `rate` and its kin, `resets`, `changes`.

use super::window::{Samples, Windows};
use crate::eval::block::RowMut;

/// What the extrapolated difference is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Per second, of a counter.
    Rate,
    /// Of a counter.
    Increase,
    /// Of a gauge.
    Delta,
}

/// The difference over each window, extrapolated to its borders as Prometheus does.
pub(crate) fn extrapolated(samples: Samples<'_>, windows: &Windows, kind: Kind, row: &mut RowMut<'_>) {
    let resets = if kind == Kind::Delta { Vec::new() } else { reset_positions(samples.values) };
    let mut next_reset = 0;
    windows.slide(samples, |step, window| {
        if window.len() < 2 {
            return;
        }
        while next_reset < resets.len() && resets[next_reset] <= window.start {
            next_reset += 1;
        }
        let (first, last) = (window.start, window.end - 1);
        let mut difference = samples.values[last] - samples.values[first];
        for at in resets[next_reset..].iter().take_while(|at| **at <= last) {
            difference += samples.values[at - 1];
        }
        let end_ms = windows.end_ms(step);
        let edges = Edges {
            start_ms: end_ms.saturating_sub(windows.range_ms),
            end_ms,
            first_ms: samples.times[first],
            last_ms: samples.times[last],
            intervals: (window.len() - 1) as f64,
        };
        let zero_from = (kind != Kind::Delta).then_some(samples.values[first]);
        let mut factor = edges.factor(difference, zero_from);
        if kind == Kind::Rate {
            factor /= windows.range_ms as f64 / 1000.0;
        }
        row.set(step, difference * factor);
    });
}

/// Indices of samples that are smaller than the one before.
fn reset_positions(values: &[f64]) -> Vec<usize> {
    // Most series have none, which is found faster than where they are.
    if !values.windows(2).fold(false, |found, pair| found | (pair[1] < pair[0])) {
        return Vec::new();
    }
    values.windows(2).enumerate().filter(|(_, pair)| pair[1] < pair[0]).map(|(i, _)| i + 1).collect()
}

/// A window and the samples at its edges.
struct Edges {
    start_ms: i64,
    end_ms: i64,
    first_ms: i64,
    last_ms: i64,
    intervals: f64,
}

impl Edges {
    /// By how much the difference grows when it is stretched to the window; `zero_from` is the first value of a counter.
    fn factor(&self, difference: f64, zero_from: Option<f64>) -> f64 {
        let seconds = |from: i64, to: i64| to.saturating_sub(from) as f64 / 1000.0;
        let mut to_start = seconds(self.start_ms, self.first_ms);
        let mut to_end = seconds(self.last_ms, self.end_ms);
        let sampled = seconds(self.first_ms, self.last_ms);
        let average = sampled / self.intervals;
        let threshold = average * 1.1;
        if to_start >= threshold {
            to_start = average / 2.0;
        }
        if let Some(first) = zero_from {
            let mut to_zero = to_start;
            if difference > 0.0 && first >= 0.0 {
                to_zero = sampled * (first / difference);
            }
            if to_zero < to_start {
                to_start = to_zero;
            }
        }
        if to_end >= threshold {
            to_end = average / 2.0;
        }
        (sampled + to_start + to_end) / sampled
    }
}

/// The difference of the last two samples of each window; per second, and from zero after a reset, if `is_rate`.
pub(crate) fn instant(samples: Samples<'_>, windows: &Windows, is_rate: bool, row: &mut RowMut<'_>) {
    windows.slide(samples, |step, window| {
        if window.len() < 2 {
            return;
        }
        let last = window.end - 1;
        let (previous, current) = (samples.values[last - 1], samples.values[last]);
        let is_reset = is_rate && current < previous;
        let mut difference = if is_reset { current } else { current - previous };
        let interval_ms = samples.times[last].saturating_sub(samples.times[last - 1]);
        if interval_ms == 0 {
            return;
        }
        if is_rate {
            difference /= interval_ms as f64 / 1000.0;
        }
        row.set(step, difference);
    });
}

/// How many neighbouring samples (previous, current) of each window satisfy `counts`.
pub(crate) fn count_pairs(samples: Samples<'_>, windows: &Windows, counts: impl Fn(f64, f64) -> bool, row: &mut RowMut<'_>) {
    let mut before = Vec::with_capacity(samples.values.len());
    let mut count = 0_u64;
    for (i, value) in samples.values.iter().enumerate() {
        count += u64::from(i > 0 && counts(samples.values[i - 1], *value));
        before.push(count);
    }
    windows.slide(samples, |step, window| row.set(step, (before[window.end - 1] - before[window.start]) as f64));
}
