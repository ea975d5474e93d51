//! The `_over_time` functions on floats.

use super::RangeFunction;
use super::window::{Samples, Windows};
use crate::eval::aggregate::quantile::quantile;
use crate::eval::block::RowMut;
use crate::eval::function::compensated::{Compensated, mean, variance};
use std::collections::VecDeque;

/// Computes `function` for one series.
pub(crate) fn compute(function: RangeFunction, samples: Samples<'_>, windows: &Windows, params: &[Vec<f64>], row: &mut RowMut<'_>) {
    use RangeFunction as F;
    let mut scratch = Vec::new();
    let mut each = |of: &mut dyn FnMut(usize, &[f64]) -> f64| {
        windows.slide(samples, |step, window| row.set(step, of(step, &samples.values[window])));
    };
    match function {
        F::Sum => each(&mut |_, values| Compensated::of(values).total()),
        F::Avg => each(&mut |_, values| mean(values)),
        F::Count => each(&mut |_, values| values.len() as f64),
        F::Last => each(&mut |_, values| values[values.len() - 1]),
        F::First => each(&mut |_, values| values[0]),
        F::Present => each(&mut |_, _| 1.0),
        F::Stdvar => each(&mut |_, values| variance(values)),
        F::Stddev => each(&mut |_, values| variance(values).sqrt()),
        F::Quantile => each(&mut |step, values| {
            scratch.clear();
            scratch.extend_from_slice(values);
            quantile(params[0][step], &mut scratch)
        }),
        F::Mad => each(&mut |_, values| median_absolute_deviation(values, &mut scratch)),
        F::Min => extreme(samples, windows, |new, old| new < old, row),
        F::Max => extreme(samples, windows, |new, old| new > old, row),
        F::TimeOfFirst => windows.slide(samples, |step, window| row.set(step, seconds(samples.times[window.start]))),
        F::TimeOfLast => windows.slide(samples, |step, window| row.set(step, seconds(samples.times[window.end - 1]))),
        F::TimeOfMin => time_of(samples, windows, |new, old| new <= old, row),
        F::TimeOfMax => time_of(samples, windows, |new, old| new >= old, row),
        _ => unreachable!("{function:?} is not a function over time"),
    }
}

fn seconds(ms: i64) -> f64 {
    ms as f64 / 1000.0
}

fn median_absolute_deviation(values: &[f64], scratch: &mut Vec<f64>) -> f64 {
    if values.iter().any(|v| v.is_nan()) {
        return f64::NAN;
    }
    scratch.clear();
    scratch.extend_from_slice(values);
    let median = quantile(0.5, scratch);
    scratch.clear();
    scratch.extend(values.iter().map(|v| (v - median).abs()));
    quantile(0.5, scratch)
}

/// Smallest or largest value of each window, NaN only if there is nothing else. A queue holds the candidates, best first:
/// every sample enters and leaves it once.
fn extreme(samples: Samples<'_>, windows: &Windows, is_better: impl Fn(f64, f64) -> bool, row: &mut RowMut<'_>) {
    let mut queue: VecDeque<usize> = VecDeque::new();
    let mut entered = 0;
    windows.slide(samples, |step, window| {
        entered = entered.max(window.start);
        while entered < window.end {
            let value = samples.values[entered];
            if !value.is_nan() {
                while queue.back().is_some_and(|last| is_better(value, samples.values[*last])) {
                    queue.pop_back();
                }
                queue.push_back(entered);
            }
            entered += 1;
        }
        while queue.front().is_some_and(|first| *first < window.start) {
            queue.pop_front();
        }
        row.set(step, queue.front().map_or(samples.values[window.end - 1], |first| samples.values[*first]));
    });
}

/// Time of the last sample that wins over all before it in the window.
fn time_of(samples: Samples<'_>, windows: &Windows, wins: impl Fn(f64, f64) -> bool, row: &mut RowMut<'_>) {
    windows.slide(samples, |step, window| {
        let mut best = window.start;
        for i in window {
            if wins(samples.values[i], samples.values[best]) || samples.values[best].is_nan() {
                best = i;
            }
        }
        row.set(step, seconds(samples.times[best]));
    });
}
