//! Functions over ranges with native histograms, alone or among floats.

mod extended;
mod over_time;
mod rate;

pub(crate) use extended::interpolated;

use super::rate::{from_anchor, is_change, is_reset, is_start_reset};
use super::window::Samples;
use super::{RangeCall, RangeFunction};
use crate::eval::block::RowMut;
use crate::source::HistogramSample;
use model::labels::quote;
use std::ops::Range;

/// Which samples a window holds.
struct Window {
    step: usize,
    floats: Range<usize>,
    histograms: Range<usize>,
}

/// A sample of either kind, by its index among its kind.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Of {
    Float(usize),
    Histogram(usize),
}

impl RangeCall<'_> {
    /// Computes the windows that hold histograms; `row` has what became of the floats of all windows.
    pub(super) fn compute_histograms(&mut self, samples: Samples<'_>, row: &mut RowMut<'_>) {
        use RangeFunction as F;
        match self.function {
            F::Rate | F::Increase | F::Delta if self.windows.extended().is_some() => self.extended_rates(samples, row),
            F::Rate | F::Increase | F::Delta => self.rates(samples, row),
            F::Irate | F::Idelta => self.each_window(samples, |call, window| call.instant_rate(samples, &window, row)),
            F::Resets => self.count_pairs(samples, row, |previous, current| match (previous, current) {
                (Of::Float(_), Of::Float(at)) => is_reset(samples, at),
                (Of::Histogram(before), Of::Histogram(at)) => is_histogram_reset(&samples.histograms[before], &samples.histograms[at]),
                _ => true,
            }),
            F::Changes => self.count_pairs(samples, row, |previous, current| match (previous, current) {
                (Of::Float(_), Of::Float(at)) => is_change(samples, at),
                (Of::Histogram(before), Of::Histogram(at)) => {
                    !samples.histograms[at].histogram.equals(&samples.histograms[before].histogram)
                }
                _ => true,
            }),
            _ => self.each_window(samples, |call, window| call.over_time(samples, &window, row)),
        }
    }

    /// Calls `each` with every window that holds histograms.
    fn each_window(&mut self, samples: Samples<'_>, mut each: impl FnMut(&mut Self, Window)) {
        let windows = self.windows;
        windows.slide_both(samples, |step, floats, histograms| {
            if !histograms.is_empty() {
                each(self, Window { step, floats, histograms });
            }
        });
    }

    /// How many samples of each window, seen from the one before them, satisfy `counts`.
    fn count_pairs(&mut self, samples: Samples<'_>, row: &mut RowMut<'_>, counts: impl Fn(Of, Of) -> bool) {
        let order = in_order(samples);
        let mut before = Vec::with_capacity(order.len());
        let mut count = 0_u64;
        for (at, (_, current)) in order.iter().enumerate() {
            count += u64::from(at > 0 && counts(order[at - 1].1, *current));
            before.push(count);
        }
        let times: Vec<i64> = order.iter().map(|(time, _)| *time).collect();
        let windows = self.windows;
        windows.slide_both(samples, |step, floats, histograms| {
            let window = floats.start + histograms.start..floats.end + histograms.end;
            row.clear(step);
            if let Some(window) = from_anchor(&times, windows, step, window) {
                row.set(step, (before[window.end - 1] - before[window.start]) as f64);
            }
        });
    }

    fn warn_mixed_types(&mut self) {
        let name = quote(self.labels.metric_name());
        self.annotations.warn(self.span, format!("encountered a mix of histograms and floats for metric name {name}"));
    }

    fn warn_mixed_schemas(&mut self) {
        self.annotations.warn(self.span, mixed_schemas_text(self.labels.metric_name()));
    }

    fn warn_not_counter(&mut self) {
        let name = quote(self.labels.metric_name());
        self.annotations.warn(self.span, format!("this native histogram metric is not a counter: {name}"));
    }

    fn warn_not_gauge(&mut self) {
        let name = quote(self.labels.metric_name());
        self.annotations.warn(self.span, format!("this native histogram metric is not a gauge: {name}"));
    }

    fn info_reconciled(&mut self, operation: &str) {
        self.annotations.info(self.span, reconciled_text(operation));
    }
}

/// The text of the warning that exponential and custom buckets do not go together.
pub(crate) fn mixed_schemas_text(metric_name: &str) -> String {
    let name = quote(metric_name);
    format!("vector contains a mix of histograms with exponential and custom buckets schemas for metric name {name}")
}

/// The text of the info that custom bounds differed in an `addition`, `subtraction` or `aggregation`.
pub(crate) fn reconciled_text(operation: &str) -> String {
    format!("mismatched custom buckets were reconciled during {operation}")
}

/// The text of the warning that a counter reset and none collided in an `addition`, `subtraction` or `aggregation`.
pub(crate) fn collision_text(operation: &str) -> String {
    format!("conflicting counter resets during histogram {operation}")
}

/// All samples by time.
fn in_order(samples: Samples<'_>) -> Vec<(i64, Of)> {
    let floats = samples.times.iter().enumerate().map(|(i, time)| (*time, Of::Float(i)));
    let histograms = samples.histograms.iter().enumerate().map(|(i, h)| (h.timestamp_ms, Of::Histogram(i)));
    let mut all: Vec<(i64, Of)> = floats.chain(histograms).collect();
    all.sort_by_key(|(time, _)| *time);
    all
}

/// Whether a histogram begins anew, by its start time or its counts.
fn is_histogram_reset(previous: &HistogramSample, current: &HistogramSample) -> bool {
    is_start_reset((previous.start_ms, previous.timestamp_ms), (current.start_ms, current.timestamp_ms))
        || current.histogram.detect_reset(&previous.histogram)
}
