//! The `_over_time` functions on floats.

use super::RangeFunction;
use super::window::{Samples, Windows};
use crate::eval::aggregate::quantile::quantile;
use crate::eval::block::RowMut;
use crate::eval::function::compensated::{Compensated, mean, variance};

/// Windows that overlap less are looked at one by one: a scan looks at several values at a time.
const SCANS_MAX: u64 = 16;
/// Windows that overlap more are worth sums of all samples before each.
const PREFIXES_MIN: u64 = 4;

/// Computes `function` for one series.
pub(crate) fn compute(function: RangeFunction, samples: Samples<'_>, windows: &Windows, params: &[Vec<f64>], row: &mut RowMut<'_>) {
    use RangeFunction as F;
    let mut scratch = Vec::new();
    let mut each = |of: &mut dyn FnMut(usize, &[f64]) -> f64| {
        windows.slide(samples, |step, window| row.set(step, of(step, &samples.values[window])));
    };
    match function {
        F::Sum | F::Avg => sums(function == F::Avg, samples, windows, row),
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

/// Sums or means of the windows.
fn sums(is_mean: bool, samples: Samples<'_>, windows: &Windows, row: &mut RowMut<'_>) {
    let values = samples.values;
    let overlap = windows.layout_of(samples.times).overlap();
    let Some(before) = (overlap > PREFIXES_MIN).then(|| exact_prefixes(values)).flatten() else {
        let of = |values: &[f64]| if is_mean { mean(values) } else { Compensated::of(values).total() };
        return windows.slide_again(|step, window| row.set(step, of(&values[window])));
    };
    windows.slide_again(|step, window| {
        let sum = before[window.end] - before[window.start];
        row.set(step, if is_mean { sum / window.len() as f64 } else { sum });
    });
}

/// The sums of the values before each, and of all, if they are whole numbers so small that no sum of some of them is rounded: then
/// the order of the additions does not matter.
fn exact_prefixes(values: &[f64]) -> Option<Vec<f64>> {
    let largest = 9_007_199_254_740_992.0 / values.len().max(1) as f64;
    let is_whole = |value: f64| value.abs() <= largest && (value as i64) as f64 == value;
    if !values.iter().all(|value| is_whole(*value)) {
        return None;
    }
    let sums = values.iter().scan(0.0, |sum, value| {
        *sum += value;
        Some(*sum)
    });
    Some(std::iter::once(0.0).chain(sums).collect())
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

/// Smallest or largest value of each window, NaN only if there is nothing else; of equal values the first.
fn extreme(samples: Samples<'_>, windows: &Windows, is_better: impl Fn(f64, f64) -> bool + Copy, row: &mut RowMut<'_>) {
    if windows.layout_of(samples.times).overlap() <= SCANS_MAX {
        let worst = if is_better(1.0, 0.0) { f64::NEG_INFINITY } else { f64::INFINITY };
        windows.slide_again(|step, window| row.set(step, best_of(&samples.values[window], worst, is_better)));
        return;
    }
    // The candidates, best first, are those from `head` on: every sample enters and leaves them once.
    let mut queue: Vec<usize> = Vec::with_capacity(samples.values.len());
    let (mut head, mut entered) = (0, 0);
    windows.slide_again(|step, window| {
        entered = entered.max(window.start);
        for (at, value) in samples.values.iter().enumerate().take(window.end).skip(entered) {
            if !value.is_nan() {
                while queue.len() > head && is_better(*value, samples.values[queue[queue.len() - 1]]) {
                    queue.pop();
                }
                queue.push(at);
            }
        }
        entered = window.end;
        while queue.get(head).is_some_and(|first| *first < window.start) {
            head += 1;
        }
        row.set(step, queue.get(head).map_or(samples.values[window.end - 1], |first| samples.values[*first]));
    });
}

/// The best of at least one value, NaN only if there is nothing else; of equal values the first.
fn best_of(values: &[f64], worst: f64, is_better: impl Fn(f64, f64) -> bool) -> f64 {
    let better = |new: f64, old: f64| if is_better(new, old) { new } else { old };
    let (fours, rest) = values.as_chunks::<4>();
    let mut best = [worst; 4];
    for four in fours {
        best.iter_mut().zip(four).for_each(|(best, value)| *best = better(*value, *best));
    }
    let best = best.iter().chain(rest).fold(worst, |best, value| better(*value, best));
    if best != 0.0 && best != worst {
        return best;
    }
    // Which of two zeros came first, and whether there was any number at all, is lost above.
    values[1..].iter().fold(values[0], |best, value| if best.is_nan() || is_better(*value, best) { *value } else { best })
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
