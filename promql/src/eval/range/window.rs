//! A window that slides over the samples of one series.

use super::rate::Spans;
use crate::ast::Extended;
use crate::plan::{Grid, TimeShift};
use crate::source::{HistogramSample, histogram_samples};
use crate::stats::Seen;
use std::cell::{RefCell, RefMut};
use std::ops::Range;

/// Samples of one series, times ascending.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Samples<'a> {
    /// Times in milliseconds.
    pub(crate) times: &'a [i64],
    /// `values[i]` belongs to `times[i]`.
    pub(crate) values: &'a [f64],
    /// `starts[i]` is when the counter of `values[i]` started, 0 if that is not known; empty if it is not known of any.
    pub(crate) starts: &'a [i64],
    /// The native histograms, times ascending.
    pub(crate) histograms: &'a [HistogramSample],
}

impl<'a> Samples<'a> {
    /// The samples in `(start_ms, end_ms]`.
    pub(crate) fn between(&self, start_ms: i64, end_ms: i64) -> Self {
        let first = self.times.partition_point(|t| *t <= start_ms);
        let last = self.times.partition_point(|t| *t <= end_ms).max(first);
        let starts = if self.starts.is_empty() { self.starts } else { &self.starts[first..last] };
        let (times, values) = (&self.times[first..last], &self.values[first..last]);
        let first = self.histograms.partition_point(|h| h.timestamp_ms <= start_ms);
        let last = self.histograms.partition_point(|h| h.timestamp_ms <= end_ms).max(first);
        Self { times, values, starts, histograms: &self.histograms[first..last] }
    }

    /// The floats at these indices.
    pub(crate) fn slice(&self, floats: Range<usize>) -> Self {
        let starts = if self.starts.is_empty() { self.starts } else { &self.starts[floats.clone()] };
        Self { times: &self.times[floats.clone()], values: &self.values[floats], starts, histograms: &[] }
    }
}

/// By how much windows of a selector reach back and ahead of their ends.
pub(crate) fn reach_ms(extended: Extended, lookback_ms: i64) -> (i64, i64) {
    match extended {
        Extended::Anchored => (lookback_ms, 0),
        Extended::Smoothed => (lookback_ms, lookback_ms),
    }
}

/// The windows of all steps.
#[derive(Clone, Debug)]
pub(crate) struct Windows {
    grid: Grid,
    /// Length in milliseconds.
    pub(crate) range_ms: i64,
    shift: TimeShift,
    extended: Option<Extended>,
    /// By how much more they reach back, and ahead.
    reach_ms: (i64, i64),
    /// Where the windows lie among the samples of the series before.
    layout: RefCell<Layout>,
    /// Samples in the window of each step, of all series that were counted; those of the layout above not yet.
    seen: RefCell<Seen>,
}

/// Where the windows of all steps lie among samples with certain times. Series that are read together have the same times, so that
/// this is found once for all of them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Layout {
    times: Vec<i64>,
    /// The first step whose window may hold samples.
    pub(crate) from_step: usize,
    /// The window of step `from_step + i` holds the samples from `firsts[i]` up to `afters[i]`; later windows hold none.
    pub(crate) firsts: Vec<u32>,
    /// See `firsts`.
    pub(crate) afters: Vec<u32>,
    /// Samples in all windows.
    samples: u64,
    /// Series that were counted and whose samples lay so.
    counted: u64,
    /// What differences need to know of the windows, once they were taken.
    pub(crate) spans: Option<Spans>,
}

impl Layout {
    /// Bytes for each step.
    pub(crate) const STEP_BYTES: u64 = 2 * size_of::<u32>() as u64 + Seen::STEP_BYTES + Spans::STEP_BYTES;
    /// Bytes for each sample of the longest series.
    pub(crate) const SAMPLE_BYTES: u64 = size_of::<i64>() as u64;

    /// In how many windows a sample is, about.
    pub(crate) fn overlap(&self) -> u64 {
        self.samples / (self.times.len() as u64).max(1)
    }
}

impl Windows {
    /// Windows of `range_ms` that end at the shifted times of `grid`.
    pub(crate) fn new(grid: Grid, range_ms: i64, shift: TimeShift) -> Self {
        let seen = RefCell::new(Seen::new(grid.steps));
        Self { grid, range_ms, shift, extended: None, reach_ms: (0, 0), layout: RefCell::default(), seen }
    }

    /// The same windows, reaching as far beyond their ends as `extended` asks for.
    #[must_use]
    pub(crate) fn reaching(self, extended: Option<Extended>, lookback_ms: i64) -> Self {
        Self { extended, reach_ms: extended.map_or((0, 0), |extended| reach_ms(extended, lookback_ms)), ..self }
    }

    /// Whether samples beyond the ends are among those of a window.
    pub(crate) fn extended(&self) -> Option<Extended> {
        self.extended
    }

    /// Whether the ends are interpolated.
    pub(crate) fn is_smoothed(&self) -> bool {
        self.extended == Some(Extended::Smoothed)
    }

    /// The time at which the window of `step` ends, its last moment included.
    pub(crate) fn end_ms(&self, step: usize) -> i64 {
        self.shift.apply(self.grid.time(step))
    }

    /// After which time and up to which the samples of a window are.
    fn reached(&self, step: usize) -> (i64, i64) {
        let end_ms = self.end_ms(step);
        let (back_ms, ahead_ms) = self.reach_ms;
        (end_ms.saturating_sub(self.range_ms).saturating_sub(back_ms), end_ms.saturating_add(ahead_ms))
    }

    /// Counts the samples of a series, one in each window that holds it.
    pub(crate) fn count(&self, samples: Samples<'_>) {
        if !samples.times.is_empty() {
            self.layout_of(samples.times).counted += 1;
        }
        if !samples.histograms.is_empty() {
            self.count_histograms(samples.histograms);
        }
    }

    fn count_histograms(&self, histograms: &[HistogramSample]) {
        let (mut all, mut passed) = (0, 0);
        let mut up_to = vec![0];
        up_to.extend(histograms.iter().map(|h| {
            all += histogram_samples(&h.histogram);
            all
        }));
        let mut seen = self.seen.borrow_mut();
        for step in 0..self.grid.steps {
            let (start_ms, end_ms) = self.reached(step);
            let first = histograms.partition_point(|h| h.timestamp_ms <= start_ms);
            let last = histograms.partition_point(|h| h.timestamp_ms <= end_ms).max(first);
            let unread = last.min(first.max(passed));
            seen.add_window(step, up_to[last] - up_to[first], up_to[last] - up_to[unread]);
            passed = last;
        }
    }

    /// What was counted, at each step. Of a subquery was read what its own evaluation read, `inner` on the inner grid: each inner step
    /// for the first window that holds it.
    pub(crate) fn count_into(&self, seen: &mut Seen, inner: Option<(Grid, Seen)>) {
        self.count_layout(&mut self.layout.borrow_mut());
        let mut counted = self.seen.take();
        if let Some((grid, inner)) = inner {
            counted.read.fill(0);
            for (inner_step, read) in inner.read.iter().enumerate().filter(|(_, read)| **read > 0) {
                let time_ms = grid.time(inner_step);
                let (mut step, mut end) = (0, self.grid.steps);
                while step < end {
                    let middle = step + (end - step) / 2;
                    if self.end_ms(middle) < time_ms { step = middle + 1 } else { end = middle }
                }
                if time_ms > self.end_ms(step).saturating_sub(self.range_ms) {
                    counted.add_window(step, 0, *read);
                }
            }
        }
        seen.merge(&counted);
    }

    fn count_layout(&self, layout: &mut Layout) {
        let series = std::mem::take(&mut layout.counted);
        if series == 0 {
            return;
        }
        let mut seen = self.seen.borrow_mut();
        let mut passed = 0;
        for (i, (first, after)) in layout.firsts.iter().zip(&layout.afters).enumerate() {
            let unread = (*after).min(passed.max(*first));
            seen.add_window(layout.from_step + i, u64::from(after - first) * series, u64::from(after - unread) * series);
            passed = *after;
        }
    }

    /// The evaluation time of `step`.
    pub(crate) fn evaluation_ms(&self, step: usize) -> i64 {
        self.grid.time(step)
    }

    /// Calls `each(step, floats, histograms)` with indices, for every step whose window `(end - range, end]` holds samples.
    pub(crate) fn slide_both(&self, samples: Samples<'_>, mut each: impl FnMut(usize, Range<usize>, Range<usize>)) {
        if samples.histograms.is_empty() {
            return self.slide(samples, |step, floats| each(step, floats, 0..0));
        }
        for step in 0..self.grid.steps {
            let (start_ms, end_ms) = self.reached(step);
            let first = samples.times.partition_point(|t| *t <= start_ms);
            let floats = first..samples.times.partition_point(|t| *t <= end_ms).max(first);
            let first = samples.histograms.partition_point(|h| h.timestamp_ms <= start_ms);
            let histograms = first..samples.histograms.partition_point(|h| h.timestamp_ms <= end_ms).max(first);
            if !floats.is_empty() || !histograms.is_empty() {
                each(step, floats, histograms);
            }
        }
    }

    /// Calls `each(step, indices)` for every step whose window `(end - range, end]` holds floats.
    pub(crate) fn slide(&self, samples: Samples<'_>, each: impl FnMut(usize, Range<usize>)) {
        drop(self.layout_of(samples.times));
        self.slide_again(each);
    }

    /// As [`Self::slide`], over the samples that were laid out last.
    pub(crate) fn slide_again(&self, mut each: impl FnMut(usize, Range<usize>)) {
        let layout = self.layout.borrow();
        for (i, (first, after)) in layout.firsts.iter().zip(&layout.afters).enumerate() {
            if first < after {
                each(layout.from_step + i, *first as usize..*after as usize);
            }
        }
    }

    /// Where the windows lie among samples with these times.
    pub(crate) fn layout_of(&self, times: &[i64]) -> RefMut<'_, Layout> {
        let mut layout = self.layout.borrow_mut();
        if layout.times != times {
            self.lay_out(times, &mut layout);
        }
        layout
    }

    fn lay_out(&self, times: &[i64], layout: &mut Layout) {
        self.count_layout(layout);
        layout.times.clear();
        layout.times.extend_from_slice(times);
        (layout.samples, layout.spans) = (0, None);
        layout.firsts.clear();
        layout.afters.clear();
        let (mut first, mut after) = (Edge::default(), Edge::default());
        let steps = self.steps_about(times);
        layout.from_step = steps.start;
        for step in steps {
            let (start_ms, end_ms) = self.reached(step);
            let from = first.advance(times, start_ms);
            let to = after.advance(times, end_ms).max(from);
            layout.samples += (to - from) as u64;
            layout.firsts.push(from as u32);
            layout.afters.push(to as u32);
        }
    }
}

impl Windows {
    /// The steps whose windows are not wholly before or after these times.
    fn steps_about(&self, times: &[i64]) -> Range<usize> {
        let (Some(oldest), Some(newest)) = (times.first(), times.last()) else { return 0..0 };
        let first_step = |holds: &dyn Fn((i64, i64)) -> bool| {
            let (mut low, mut high) = (0, self.grid.steps);
            while low < high {
                let middle = low + (high - low) / 2;
                if holds(self.reached(middle)) { high = middle } else { low = middle + 1 }
            }
            low
        };
        let from = first_step(&|(_, end_ms)| end_ms >= *oldest);
        from..first_step(&|(start_ms, _)| start_ms >= *newest).max(from)
    }
}

/// An end of a window on its way over the samples.
#[derive(Default)]
struct Edge {
    /// Samples that it has passed.
    passed: usize,
    /// How many it passed last: mostly it will be as many again.
    stride: usize,
}

impl Edge {
    /// How many samples are not after `limit_ms`, which grows from call to call.
    fn advance(&mut self, times: &[i64], limit_ms: i64) -> usize {
        let is_passed = |at: usize| times.get(at).is_some_and(|t| *t <= limit_ms);
        let guess = self.passed + self.stride;
        if guess > 0 && is_passed(guess - 1) && !is_passed(guess) {
            self.passed = guess;
            return guess;
        }
        let from = self.passed;
        // Far ahead is looked for by halves, near by by steps.
        let mut reach = 1;
        while is_passed(self.passed + reach) {
            self.passed += reach + 1;
            reach *= 2;
        }
        let rest = &times[self.passed..times.len().min(self.passed + reach + 1)];
        self.passed += rest.partition_point(|t| *t <= limit_ms);
        self.stride = self.passed - from;
        self.passed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn windows_hold_what_lies_in_them_whatever_the_times(
            gaps in prop::collection::vec(prop_oneof![5 => Just(10_i64), 1 => 1_i64..100], 0..60),
            (start_ms, step_ms, range_ms) in (-50_i64..400, 1_i64..120, 1_i64..300),
        ) {
            let times: Vec<i64> = gaps.iter().scan(0, |t, gap| { *t += gap; Some(*t) }).collect();
            let windows = Windows::new(Grid { start_ms, step_ms, steps: 20 }, range_ms, TimeShift { at_ms: None, offset_ms: 0 });
            // Twice, as the second series with the same times takes another path.
            for _ in 0..2 {
                let mut found = vec![Vec::new(); 20];
                let samples = Samples { times: &times, values: &[], starts: &[], histograms: &[] };
                windows.slide(samples, |step, window| found[step] = times[window].to_vec());
                for (step, found) in found.iter().enumerate() {
                    let end_ms = start_ms + step as i64 * step_ms;
                    let inside: Vec<i64> = times.iter().copied().filter(|t| *t > end_ms - range_ms && *t <= end_ms).collect();
                    prop_assert_eq!(found, &inside);
                }
            }
        }
    }
}
