//! `rate`, `increase`, `delta`, `irate` and `idelta` of histograms.

use super::{Of, Window, in_order, is_histogram_reset};
use crate::eval::block::RowMut;
use crate::eval::range::rate::{Edges, does_start_overlap};
use crate::eval::range::window::Samples;
use crate::eval::range::{RangeCall, RangeFunction};
use crate::source::HistogramSample;
use model::histogram::{CounterResetHint, FloatHistogram};
use std::ops::Range;
use std::sync::Arc;

/// What is known of the histograms of a series, found once for all windows.
struct Course {
    /// `resets[i]`: histogram `i` begins anew, seen from the one before it.
    resets: Vec<bool>,
    /// Start times lie before the previous sample.
    overlaps: Vec<bool>,
    /// All have one schema and none is a gauge.
    is_plain: bool,
}

impl Course {
    fn of(histograms: &[HistogramSample], is_counter: bool) -> Self {
        let pairs = |test: &dyn Fn(&HistogramSample, &HistogramSample) -> bool| -> Vec<bool> {
            let later = histograms.windows(2).map(|pair| is_counter && test(&pair[0], &pair[1]));
            std::iter::once(false).chain(later).collect()
        };
        let schema = histograms.first().map_or(0, |first| first.histogram.schema);
        Self {
            resets: pairs(&is_histogram_reset),
            overlaps: pairs(&|previous, current| does_start_overlap((previous.start_ms, previous.timestamp_ms), current.start_ms)),
            is_plain: histograms.iter().all(|h| h.histogram.schema == schema && !is_gauge(&h.histogram)),
        }
    }
}

fn is_gauge(histogram: &FloatHistogram) -> bool {
    histogram.counter_reset_hint == CounterResetHint::Gauge
}

impl RangeCall<'_> {
    /// The difference over each window, extrapolated to its borders.
    pub(super) fn rates(&mut self, samples: Samples<'_>, row: &mut RowMut<'_>) {
        let course = Course::of(samples.histograms, self.function != RangeFunction::Delta);
        self.each_window(samples, |call, window| {
            row.clear(window.step);
            if !window.floats.is_empty() {
                call.warn_mixed_types();
            } else if let Some(result) = call.rate(samples.histograms, window.histograms, &course, window.step) {
                row.set_histogram(window.step, Arc::new(result));
            }
        });
    }

    fn rate(&mut self, all: &[HistogramSample], window: Range<usize>, course: &Course, step: usize) -> Option<FloatHistogram> {
        let is_counter = self.function != RangeFunction::Delta;
        let (first, last) = (&all[window.start], &all[window.end - 1]);
        let end_ms = self.windows.end_ms(step);
        let mut edges = Edges {
            start_ms: end_ms.saturating_sub(self.windows.range_ms),
            end_ms,
            first_ms: first.timestamp_ms,
            last_ms: last.timestamp_ms,
            intervals: (window.len() - 1) as f64,
            started_ms: None,
        };
        edges.started_ms = Some(first.start_ms).filter(|start| is_counter && edges.may_start_at(*start));
        let difference = if window.len() > 1 { Some(self.difference(all, window, course)?) } else { None };
        let (mut result, factor) = match (difference, edges.started_ms) {
            (Some(difference), None) => {
                let factor = edges.factor(difference.count, is_counter.then_some(first.histogram.count));
                (difference, factor)
            }
            (Some(mut difference), Some(_)) => {
                let Ok(reconciled) = difference.add(&first.histogram) else {
                    self.warn_mixed_schemas();
                    return None;
                };
                if reconciled.custom_bounds {
                    self.info_reconciled("addition");
                }
                (difference, edges.factor(0.0, None))
            }
            (None, Some(_)) => (FloatHistogram::clone(&first.histogram), edges.factor(0.0, None)),
            (None, None) => return None,
        };
        let seconds = self.windows.range_ms as f64 / 1000.0;
        result.mul(if self.function == RangeFunction::Rate { factor / seconds } else { factor });
        Some(result)
    }

    /// The last histogram less the first, and what was counted before each reset.
    fn difference(&mut self, all: &[HistogramSample], window: Range<usize>, course: &Course) -> Option<FloatHistogram> {
        let is_counter = self.function != RangeFunction::Delta;
        let (first, last) = (&all[window.start].histogram, &all[window.end - 1].histogram);
        // What came before a reset at the second histogram does not matter, not even its buckets.
        let second = &all[window.start + 1].histogram;
        let nothing =
            FloatHistogram { schema: second.schema, custom_values: Arc::clone(&second.custom_values), ..FloatHistogram::default() };
        let base = if course.resets[window.start + 1] { &nothing } else { &**first };
        if !self.check_hints(all, &window, base, course) {
            self.warn_mixed_schemas();
            return None;
        }
        let mut schema = last.schema.min(base.schema);
        if is_counter && !course.is_plain {
            schema = all[window.clone()][1..].iter().map(|h| h.histogram.schema).min().map_or(schema, |min| schema.min(min));
        }
        let mut result = last.at_schema(schema).ok()?;
        if result.sub(base).ok()?.custom_bounds {
            self.info_reconciled("subtraction");
        }
        // Adding back the base of a reset at the second histogram would add nothing.
        for at in (window.start + 2..window.end).filter(|at| course.resets[*at]) {
            let Ok(reconciled) = result.add(&all[at - 1].histogram) else {
                self.warn_mixed_schemas();
                return None;
            };
            if reconciled.custom_bounds {
                self.info_reconciled("addition");
            }
        }
        if course.overlaps[window.start + 1..window.end].contains(&true) {
            self.warn_overlap();
        }
        result.counter_reset_hint = CounterResetHint::Gauge;
        result.compact(0);
        Some(result)
    }

    /// Warns of hints that do not suit the function; false if exponential and custom buckets are mixed.
    fn check_hints(&mut self, all: &[HistogramSample], window: &Range<usize>, base: &FloatHistogram, course: &Course) -> bool {
        let within = &all[window.clone()];
        let is_custom = base.uses_custom_buckets();
        let (first, last) = (&within[0].histogram, &within[within.len() - 1].histogram);
        if last.uses_custom_buckets() != is_custom {
            return false;
        }
        if self.function == RangeFunction::Delta {
            if !is_gauge(first) || !is_gauge(last) {
                self.warn_not_gauge();
            }
            return true;
        }
        if course.is_plain {
            return true;
        }
        if within[1..].iter().any(|h| h.histogram.uses_custom_buckets() != is_custom) {
            return false;
        }
        if within.iter().any(|h| is_gauge(&h.histogram)) {
            self.warn_not_counter();
        }
        true
    }

    /// The difference of the last two samples of a window; per second, and from zero after a reset, for `irate`.
    pub(super) fn instant_rate(&mut self, samples: Samples<'_>, window: &Window, row: &mut RowMut<'_>) {
        let is_rate = self.function == RangeFunction::Irate;
        let ends_of = |window: &Range<usize>| window.end.saturating_sub(2).max(window.start)..window.end;
        let last_two = Samples { histograms: &samples.histograms[ends_of(&window.histograms)], ..samples.slice(ends_of(&window.floats)) };
        let order = in_order(last_two);
        let [.., (_, previous), (_, current)] = order[..] else { return };
        let (previous, current) = match (previous, current) {
            // What became of the floats is right.
            (Of::Float(_), Of::Float(_)) => return,
            (Of::Histogram(previous), Of::Histogram(current)) => (&last_two.histograms[previous], &last_two.histograms[current]),
            _ => {
                row.clear(window.step);
                return self.warn_mixed_types();
            }
        };
        row.clear(window.step);
        let interval_ms = current.timestamp_ms.saturating_sub(previous.timestamp_ms);
        let gauges = [previous, current].into_iter().filter(|h| is_gauge(&h.histogram)).count();
        if is_rate && gauges > 0 {
            self.warn_not_counter();
        }
        if !is_rate && gauges < 2 {
            self.warn_not_gauge();
        }
        let mut result = FloatHistogram::clone(&current.histogram);
        if !is_rate || !is_histogram_reset(previous, current) {
            match result.sub(&previous.histogram) {
                Err(_) => return self.warn_mixed_schemas(),
                Ok(reconciled) if reconciled.custom_bounds => self.info_reconciled("subtraction"),
                Ok(_) => {}
            }
        }
        result.counter_reset_hint = CounterResetHint::Gauge;
        result.compact(0);
        if is_rate {
            result.div(interval_ms as f64 / 1000.0);
        }
        if interval_ms > 0 {
            row.set_histogram(window.step, Arc::new(result));
        }
    }
}
