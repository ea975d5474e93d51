//! Differences over a window: `rate` and its kin, `resets`, `changes`.

use super::RangeFunction;
use super::window::{Layout, Samples, Windows};
use crate::eval::block::RowMut;
use std::ops::Range;

/// The difference over each window, extrapolated to its borders as Prometheus does. True if a counter's start time lies before
/// the sample before it.
pub(crate) fn extrapolated(samples: Samples<'_>, windows: &Windows, function: RangeFunction, row: &mut RowMut<'_>) -> bool {
    let is_counter = function != RangeFunction::Delta;
    if is_counter && !samples.starts.is_empty() {
        return extrapolated_from_starts(samples, windows, function, row);
    }
    let values = samples.values;
    let resets = if is_counter { reset_positions(samples) } else { Vec::new() };
    let seconds = (function == RangeFunction::Rate).then_some(windows.range_ms as f64 / 1000.0);
    let mut layout = windows.layout_of(samples.times);
    if layout.spans.is_none() {
        let spans = Spans::of(windows, samples.times, &layout);
        layout.spans = Some(spans);
    }
    let Some(spans) = &layout.spans else { return false };
    match (is_counter, resets.is_empty()) {
        (false, _) => spans.extrapolate::<false>(values, seconds, row, |_, difference| difference),
        (true, true) => spans.extrapolate::<true>(values, seconds, row, |_, difference| difference),
        (true, false) => {
            let mut next = 0;
            spans.extrapolate::<true>(values, seconds, row, |(first, last), mut difference| {
                while next < resets.len() && resets[next] <= first {
                    next += 1;
                }
                for at in resets[next..].iter().take_while(|at| **at <= last) {
                    difference += values[at - 1];
                }
                difference
            });
        }
    }
    false
}

/// What extrapolation needs to know of windows, beside the values in them: one entry a step, all zero if the window has less than
/// two samples. Steps before and after the samples have none.
#[derive(Clone, Debug, Default)]
pub(crate) struct Spans {
    /// Bits of the steps whose windows have two samples or more.
    pairs: Vec<u64>,
    /// The step of the first entry.
    from_step: usize,
    /// Which samples are the first and the last.
    edges: Vec<(u32, u32)>,
    /// Seconds between them.
    sampled: Vec<f64>,
    /// Seconds by which the difference is stretched to the start and to the end.
    to_start: Vec<f64>,
    to_end: Vec<f64>,
}

/// Windows that are computed at a time.
const LANES: usize = 8;

impl Spans {
    /// Bytes for each step.
    pub(super) const STEP_BYTES: u64 = (size_of::<(u32, u32)>() + 3 * size_of::<f64>()) as u64 + 1;

    fn of(windows: &Windows, times: &[i64], layout: &Layout) -> Self {
        let steps = layout.from_step..layout.from_step + layout.firsts.len();
        let mut spans = Self { pairs: vec![0; steps.end.div_ceil(64)], from_step: layout.from_step, ..Self::default() };
        for (step, (first, after)) in steps.zip(layout.firsts.iter().zip(&layout.afters)) {
            let has_pair = *after > *first + 1;
            let (mut edges, mut stretches) = ((0, 0), (0.0, 0.0, 0.0));
            if has_pair {
                spans.pairs[step / 64] |= 1 << (step % 64);
                edges = (*first, *after - 1);
                let end_ms = windows.end_ms(step);
                let window = Edges {
                    start_ms: end_ms.saturating_sub(windows.range_ms),
                    end_ms,
                    first_ms: times[edges.0 as usize],
                    last_ms: times[edges.1 as usize],
                    intervals: f64::from(edges.1 - edges.0),
                    started_ms: None,
                };
                stretches = window.stretches();
            }
            spans.edges.push(edges);
            spans.sampled.push(stretches.0);
            spans.to_start.push(stretches.1);
            spans.to_end.push(stretches.2);
        }
        spans
    }

    /// Sets the extrapolated differences, over `seconds` if given. `correct` gets the edges of each window and the difference between
    /// them, and may add to it.
    fn extrapolate<const COUNTER: bool>(
        &self,
        values: &[f64],
        seconds: Option<f64>,
        row: &mut RowMut<'_>,
        mut correct: impl FnMut((usize, usize), f64) -> f64,
    ) {
        row.valid[..self.pairs.len()].copy_from_slice(&self.pairs);
        if values.is_empty() {
            return;
        }
        // A division by one changes nothing.
        let seconds = seconds.unwrap_or(1.0);
        let outs = row.values[self.from_step..].chunks_mut(LANES);
        let stretches = self.sampled.chunks(LANES).zip(self.to_start.chunks(LANES)).zip(self.to_end.chunks(LANES));
        for ((out, edges), ((sampled, to_start), to_end)) in outs.zip(self.edges.chunks(LANES)).zip(stretches) {
            let (mut froms, mut differences) = ([0.0; LANES], [0.0; LANES]);
            for (k, (first, last)) in edges.iter().enumerate() {
                froms[k] = values[*first as usize];
                differences[k] = correct((*first as usize, *last as usize), values[*last as usize] - froms[k]);
            }
            let columns = sampled.iter().zip(to_start).zip(to_end).zip(froms.iter().zip(&differences));
            for (out, (((sampled, to_start), to_end), (from, difference))) in out.iter_mut().zip(columns) {
                // Computed in any case: a branch that is hard to foretell takes longer than a division.
                let to_zero = sampled * (from / difference);
                let is_nearer = COUNTER & (*difference > 0.0) & (*from >= 0.0) & (to_zero < *to_start);
                let to_start = if is_nearer { to_zero } else { *to_start };
                *out = difference * ((sampled + to_start + to_end) / sampled / seconds);
            }
        }
    }
}

/// As [`extrapolated`], of counters some of whose start times are known.
fn extrapolated_from_starts(samples: Samples<'_>, windows: &Windows, function: RangeFunction, row: &mut RowMut<'_>) -> bool {
    let (resets, overlaps) = (reset_positions(samples), overlap_positions(samples));
    let (mut next_reset, mut does_overlap) = (0, false);
    windows.slide(samples, |step, window| {
        while next_reset < resets.len() && resets[next_reset] <= window.start {
            next_reset += 1;
        }
        let (first, last) = (window.start, window.end - 1);
        let end_ms = windows.end_ms(step);
        let mut edges = Edges {
            start_ms: end_ms.saturating_sub(windows.range_ms),
            end_ms,
            first_ms: samples.times[first],
            last_ms: samples.times[last],
            intervals: (window.len() - 1) as f64,
            started_ms: None,
        };
        edges.started_ms = samples.starts.get(first).copied().filter(|start| edges.may_start_at(*start));
        does_overlap |= overlaps.iter().any(|at| *at > first && *at <= last);
        if window.len() < 2 && edges.started_ms.is_none() {
            return;
        }
        let mut difference = samples.values[last] - samples.values[first];
        for at in resets[next_reset..].iter().take_while(|at| **at <= last) {
            difference += samples.values[at - 1];
        }
        if edges.started_ms.is_some() {
            difference += samples.values[first];
        }
        let mut factor = edges.factor(difference, Some(samples.values[first]));
        if function == RangeFunction::Rate {
            factor /= windows.range_ms as f64 / 1000.0;
        }
        row.set(step, difference * factor);
    });
    does_overlap
}

/// Whether the sample at `at` begins anew, seen from the one before it.
pub(crate) fn is_reset(samples: Samples<'_>, at: usize) -> bool {
    let is_restart = || is_start_reset((samples.starts[at - 1], samples.times[at - 1]), (samples.starts[at], samples.times[at]));
    samples.values[at] < samples.values[at - 1] || (!samples.starts.is_empty() && is_restart())
}

/// Whether the sample at `at` differs from the one before it.
pub(crate) fn is_change(samples: Samples<'_>, at: usize) -> bool {
    let (previous, current) = (samples.values[at - 1], samples.values[at]);
    current != previous && !(current.is_nan() && previous.is_nan())
}

/// Whether start times alone show that a counter began anew between two samples, each (start time, time).
pub(crate) fn is_start_reset(previous: (i64, i64), current: (i64, i64)) -> bool {
    // A start time of 0 is unknown, one that is not before its sample is invalid or means unknown.
    if current.0 == 0 || current.0 >= current.1 || current.0 < previous.1 {
        return false;
    }
    // A start at the very time of the previous sample is that of a delta, or of a counter whose start nobody knows; then the
    // previous sample's start is not known either.
    current.0 > previous.1 || (previous.0 != 0 && previous.0 < previous.1)
}

/// Whether a sample, given by its start time, claims to have begun before the one before it, (start time, time), was taken.
pub(crate) fn does_start_overlap(previous: (i64, i64), start_ms: i64) -> bool {
    start_ms != 0 && start_ms < previous.1 && start_ms != previous.0
}

/// Indices of samples that begin anew.
fn reset_positions(samples: Samples<'_>) -> Vec<usize> {
    let values = samples.values;
    // Most series have none, which is found faster than where they are.
    if samples.starts.is_empty() && !values.windows(2).fold(false, |found, pair| found | (pair[1] < pair[0])) {
        return Vec::new();
    }
    (1..values.len()).filter(|at| is_reset(samples, *at)).collect()
}

/// Indices of samples whose start time lies before the sample before them.
fn overlap_positions(samples: Samples<'_>) -> Vec<usize> {
    let overlaps = |at: &usize| does_start_overlap((samples.starts[at - 1], samples.times[at - 1]), samples.starts[*at]);
    (1..samples.starts.len()).filter(overlaps).collect()
}

/// A window and the samples at its edges.
pub(super) struct Edges {
    pub(super) start_ms: i64,
    pub(super) end_ms: i64,
    pub(super) first_ms: i64,
    pub(super) last_ms: i64,
    pub(super) intervals: f64,
    /// When the counter of the first sample was zero, if that is known and inside of the window.
    pub(super) started_ms: Option<i64>,
}

impl Edges {
    /// Whether a counter may have started at this time: within the window and before its first sample.
    pub(super) fn may_start_at(&self, started_ms: i64) -> bool {
        started_ms != 0 && started_ms > self.start_ms && started_ms < self.first_ms
    }

    /// Seconds between the samples, and by how many they are stretched to the start and to the end of the window, before anything is
    /// known of the values.
    fn stretches(&self) -> (f64, f64, f64) {
        let seconds = |from: i64, to: i64| to.saturating_sub(from) as f64 / 1000.0;
        let mut to_start = seconds(self.start_ms, self.first_ms);
        let mut to_end = seconds(self.last_ms, self.end_ms);
        let mut sampled = seconds(self.first_ms, self.last_ms);
        let average = if self.intervals > 0.0 { sampled / self.intervals } else { 0.0 };
        let threshold = average * 1.1;
        if let Some(started_ms) = self.started_ms {
            to_start = 0.0;
            sampled = seconds(started_ms, self.last_ms);
        } else if to_start >= threshold {
            to_start = average / 2.0;
        }
        if to_end >= threshold {
            to_end = average / 2.0;
        }
        (sampled, to_start, to_end)
    }

    /// By how much the difference grows when it is stretched to the window; `zero_from` is the first value of a counter.
    pub(super) fn factor(&self, difference: f64, zero_from: Option<f64>) -> f64 {
        let (sampled, mut to_start, to_end) = self.stretches();
        if self.started_ms.is_none()
            && let Some(first) = zero_from.filter(|first| difference > 0.0 && *first >= 0.0)
        {
            let to_zero = sampled * (first / difference);
            if to_zero < to_start {
                to_start = to_zero;
            }
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
        let mut difference = if is_rate && is_reset(samples, last) { current } else { current - previous };
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

/// How many samples of each window, seen from the one before them, satisfy `counts`.
pub(crate) fn count_pairs(samples: Samples<'_>, windows: &Windows, counts: impl Fn(usize) -> bool, row: &mut RowMut<'_>) {
    let mut before = Vec::with_capacity(samples.values.len());
    let mut count = 0_u64;
    for at in 0..samples.values.len() {
        count += u64::from(at > 0 && counts(at));
        before.push(count);
    }
    windows.slide(samples, |step, window| {
        let Some(window) = from_anchor(samples.times, windows, step, window) else { return };
        row.set(step, (before[window.end - 1] - before[window.start]) as f64);
    });
}

/// What `anchored` leaves of a window that was extended into the past: the newest sample at or before its start, and all after that.
/// None if there is nothing after that. Other windows stay as they are.
pub(super) fn from_anchor(times: &[i64], windows: &Windows, step: usize, window: Range<usize>) -> Option<Range<usize>> {
    if windows.extended().is_none() {
        return Some(window);
    }
    let start_ms = windows.end_ms(step).saturating_sub(windows.range_ms);
    let after = window.start + times[window.clone()].partition_point(|t| *t <= start_ms);
    let anchor = after.saturating_sub(1).max(window.start);
    (after < window.end).then_some(anchor..window.end)
}

/// The difference over each window of an `anchored` or `smoothed` selector: between what stands for its ends, not extrapolated.
pub(crate) fn extended(samples: Samples<'_>, windows: &Windows, function: RangeFunction, row: &mut RowMut<'_>) {
    let is_counter = function != RangeFunction::Delta;
    windows.slide(samples, |step, window| {
        let end_ms = windows.end_ms(step);
        let start_ms = end_ms.saturating_sub(windows.range_ms);
        let Some(mut result) = Ends::of(samples.slice(window), start_ms, end_ms, windows.is_smoothed(), is_counter).map(|ends| {
            let corrections = if is_counter { ends.corrections() } else { 0.0 };
            ends.right - ends.left + corrections
        }) else {
            return;
        };
        if function == RangeFunction::Rate {
            result /= windows.range_ms as f64 / 1000.0;
        }
        row.set(step, result);
    });
}

/// The values at both ends of an extended window, and the samples between.
pub(crate) struct Ends<'a> {
    left: f64,
    right: f64,
    between: Samples<'a>,
}

impl<'a> Ends<'a> {
    /// Of the samples of an extended window that is about `(start_ms, end_ms]`; none if it has no sample after its start.
    pub(crate) fn of(samples: Samples<'a>, start_ms: i64, end_ms: i64, is_smoothed: bool, is_counter: bool) -> Option<Self> {
        let times = samples.times;
        let last = times.len().checked_sub(1)?;
        let mut first = times[..last].partition_point(|t| *t <= start_ms).saturating_sub(1);
        let mut last = if is_smoothed { times[..last].partition_point(|t| *t < end_ms) } else { last };
        if times[last] <= start_ms || (is_smoothed && times[first] > end_ms) {
            return None;
        }
        let left = match is_smoothed && times[first] < start_ms {
            true => interpolated(samples, first, start_ms, is_counter),
            false => samples.values[first],
        };
        let right = match is_smoothed && last > 0 && times[last] > end_ms {
            true => interpolated(samples, last - 1, end_ms, is_counter),
            false => samples.values[last],
        };
        // What lies on or beyond the ends is in them already.
        last += 1;
        if times[first] <= start_ms {
            first += 1;
        }
        if times[last - 1] >= end_ms {
            last -= 1;
        }
        Some(Self { left, right, between: samples.slice(first..last.max(first)) })
    }

    /// What the counter had counted before each reset.
    fn corrections(&self) -> f64 {
        let mut previous = self.left;
        let mut corrections = 0.0;
        for value in self.between.values.iter().chain([&self.right]) {
            if *value < previous {
                corrections += previous;
            }
            previous = *value;
        }
        corrections
    }

    /// The window as a list of samples: the ends, and what is between them.
    pub(crate) fn points(&self, start_ms: i64, end_ms: i64) -> Vec<(i64, f64)> {
        let between = self.between.times.iter().copied().zip(self.between.values.iter().copied());
        std::iter::once((start_ms, self.left)).chain(between).chain([(end_ms, self.right)]).collect()
    }
}

/// The value at `at_ms` on the line from sample `first` to the next one; a counter that fell started from zero.
pub(crate) fn interpolated(samples: Samples<'_>, first: usize, at_ms: i64, is_counter: bool) -> f64 {
    let (from, to) = (samples.values[first], samples.values[first + 1]);
    let from = if is_counter && to < from { 0.0 } else { from };
    let (from_ms, to_ms) = (samples.times[first], samples.times[first + 1]);
    from + (to - from) * at_ms.saturating_sub(from_ms) as f64 / to_ms.saturating_sub(from_ms) as f64
}
