//! A window that slides over the samples of one series.

use crate::ast::Extended;
use crate::plan::{Grid, TimeShift};
use crate::source::{HistogramSample, histogram_samples};
use std::cell::Cell;
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
    seen: Cell<u64>,
    grid: Grid,
    /// Length in milliseconds.
    pub(crate) range_ms: i64,
    shift: TimeShift,
    extended: Option<Extended>,
    /// By how much more they reach back, and ahead.
    reach_ms: (i64, i64),
}

impl Windows {
    /// Windows of `range_ms` that end at the shifted times of `grid`.
    pub(crate) fn new(grid: Grid, range_ms: i64, shift: TimeShift) -> Self {
        Self { seen: Cell::new(0), grid, range_ms, shift, extended: None, reach_ms: (0, 0) }
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

    /// Samples of all windows of all series so far, one counted in each window that holds it.
    pub(crate) fn samples_seen(&self) -> u64 {
        self.seen.get()
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
        let mut seen = 0;
        for step in 0..self.grid.steps {
            let (start_ms, end_ms) = self.reached(step);
            let first = samples.times.partition_point(|t| *t <= start_ms);
            let floats = first..samples.times.partition_point(|t| *t <= end_ms).max(first);
            let first = samples.histograms.partition_point(|h| h.timestamp_ms <= start_ms);
            let histograms = first..samples.histograms.partition_point(|h| h.timestamp_ms <= end_ms).max(first);
            if !floats.is_empty() || !histograms.is_empty() {
                let counted = samples.histograms[histograms.clone()].iter().map(|h| histogram_samples(&h.histogram)).sum::<u64>();
                seen += floats.len() as u64 + counted;
                each(step, floats, histograms);
            }
        }
        self.seen.set(self.seen.get() + seen);
    }

    /// Calls `each(step, indices)` for every step whose window `(end - range, end]` holds floats.
    pub(crate) fn slide(&self, samples: Samples<'_>, mut each: impl FnMut(usize, Range<usize>)) {
        let times = samples.times;
        let mut first = times.partition_point(|t| *t <= self.reached(0).0);
        let mut after = first;
        let mut seen = 0;
        for step in 0..self.grid.steps {
            let (start_ms, end_ms) = self.reached(step);
            while first < times.len() && times[first] <= start_ms {
                first += 1;
            }
            after = after.max(first);
            while after < times.len() && times[after] <= end_ms {
                after += 1;
            }
            if first < after {
                seen += (after - first) as u64;
                each(step, first..after);
            }
        }
        self.seen.set(self.seen.get() + seen);
    }
}
