//! Differences of histograms over `anchored` and `smoothed` windows.

use crate::eval::block::RowMut;
use crate::eval::range::window::Samples;
use crate::eval::range::{RangeCall, RangeFunction};
use crate::source::HistogramSample;
use model::histogram::{CounterResetHint, FloatHistogram, HistogramError, Reconciled};
use std::sync::Arc;

/// The histogram at `at_ms` on the line between two; a counter that was reset in between started from zero. Also what an addition
/// and a subtraction had to reconcile.
///
/// # Errors
/// One has exponential, the other custom buckets.
pub(crate) fn interpolated(
    from: &HistogramSample,
    to: &HistogramSample,
    at_ms: i64,
    is_counter: bool,
) -> Result<(FloatHistogram, [bool; 2]), HistogramError> {
    let passed = at_ms.saturating_sub(from.timestamp_ms) as f64;
    let fraction = passed / to.timestamp_ms.saturating_sub(from.timestamp_ms) as f64;
    let mut result = FloatHistogram::clone(&to.histogram);
    if is_counter && to.histogram.detect_reset(&from.histogram) {
        result.mul(fraction);
        return Ok((result, [false; 2]));
    }
    let Reconciled { custom_bounds: subtracted, .. } = result.sub(&from.histogram)?;
    result.mul(fraction);
    let Reconciled { custom_bounds: added, .. } = result.add(&from.histogram)?;
    Ok((result, [added, subtracted]))
}

/// A window and the indices of the samples at or beyond its ends.
#[derive(Clone, Copy)]
struct Ends<'a> {
    all: &'a [HistogramSample],
    first: usize,
    last: usize,
    start_ms: i64,
    end_ms: i64,
    is_smoothed: bool,
}

impl<'a> Ends<'a> {
    /// None if there is no sample after the start.
    fn of(all: &'a [HistogramSample], start_ms: i64, end_ms: i64, is_smoothed: bool) -> Option<Self> {
        let last = all.len().checked_sub(1)?;
        let first = all[..last].partition_point(|h| h.timestamp_ms <= start_ms).saturating_sub(1);
        let last = if is_smoothed { all[..last].partition_point(|h| h.timestamp_ms < end_ms) } else { last };
        if all[last].timestamp_ms <= start_ms || (is_smoothed && all[first].timestamp_ms > end_ms) {
            return None;
        }
        Some(Self { all, first, last, start_ms, end_ms, is_smoothed })
    }

    fn interpolates_left(&self) -> bool {
        self.is_smoothed && self.all[self.first].timestamp_ms < self.start_ms
    }

    fn interpolates_right(&self) -> bool {
        self.is_smoothed && self.last > 0 && self.all[self.last].timestamp_ms > self.end_ms
    }
}

impl RangeCall<'_> {
    pub(super) fn extended_rates(&mut self, samples: Samples<'_>, row: &mut RowMut<'_>) {
        self.each_window(samples, |call, window| {
            row.clear(window.step);
            if !window.floats.is_empty() {
                return call.warn_mixed_types();
            }
            let end_ms = call.windows.end_ms(window.step);
            let start_ms = end_ms.saturating_sub(call.windows.range_ms);
            let all = &samples.histograms[window.histograms];
            let Some(ends) = Ends::of(all, start_ms, end_ms, call.windows.is_smoothed()) else { return };
            match call.extended_difference(&ends) {
                Ok(result) => row.set_histogram(window.step, Arc::new(result)),
                Err(_) => call.warn_mixed_schemas(),
            }
        });
    }

    fn extended_difference(&mut self, ends: &Ends<'_>) -> Result<FloatHistogram, HistogramError> {
        let is_counter = self.function != RangeFunction::Delta;
        let within = &ends.all[ends.first..=ends.last];
        let is_custom = within[0].histogram.uses_custom_buckets();
        let is_gauge = |h: &FloatHistogram| h.counter_reset_hint == CounterResetHint::Gauge;
        for sample in within {
            if sample.histogram.uses_custom_buckets() != is_custom {
                return Err(HistogramError::MixedSchemas);
            }
            if is_counter && is_gauge(&sample.histogram) {
                self.warn_not_counter();
            }
        }
        let (all, first, last) = (ends.all, ends.first, ends.last);
        let left = match ends.interpolates_left() {
            true => self.told(interpolated(&all[first], &all[first + 1], ends.start_ms, is_counter)?),
            false => FloatHistogram::clone(&all[first].histogram),
        };
        let right = match ends.interpolates_right() {
            true => self.told(interpolated(&all[last - 1], &all[last], ends.end_ms, is_counter)?),
            false => FloatHistogram::clone(&all[last].histogram),
        };
        if !is_counter && (!is_gauge(&left) || !is_gauge(&right)) {
            self.warn_not_gauge();
        }
        let mut result = right.clone();
        if result.sub(&left)?.custom_bounds {
            self.info_reconciled("subtraction");
        }
        if is_counter {
            for correction in corrections(ends, &left, &right) {
                if result.add(correction)?.custom_bounds {
                    self.info_reconciled("addition");
                }
            }
        }
        if self.function == RangeFunction::Rate {
            result.div(self.windows.range_ms as f64 / 1000.0);
        }
        result.counter_reset_hint = CounterResetHint::Gauge;
        result.compact(0);
        Ok(result)
    }

    fn told(&mut self, (histogram, [added, subtracted]): (FloatHistogram, [bool; 2])) -> FloatHistogram {
        if added {
            self.info_reconciled("addition");
        }
        if subtracted {
            self.info_reconciled("subtraction");
        }
        histogram
    }
}

/// What the counter had counted before each reset between the ends.
fn corrections<'a>(ends: &Ends<'a>, left: &'a FloatHistogram, right: &FloatHistogram) -> Vec<&'a FloatHistogram> {
    let (all, mut next) = (ends.all, ends.first + 1);
    let mut previous = left;
    if ends.interpolates_left() && all[next].histogram.detect_reset(&all[ends.first].histogram) {
        // That reset is in what was interpolated.
        previous = &all[next].histogram;
        next += 1;
    }
    // The last sample is the right end or stands behind it, and hands its hint to it.
    if next > ends.last {
        return Vec::new();
    }
    let mut found = Vec::new();
    for sample in &all[next..ends.last] {
        if sample.histogram.detect_reset(previous) {
            found.push(previous);
        }
        previous = &sample.histogram;
    }
    if right.detect_reset(previous) {
        found.push(previous);
    }
    found
}
