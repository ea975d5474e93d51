//! The `_over_time` functions on windows with histograms.

use super::{Window, collision_text};
use crate::eval::block::RowMut;
use crate::eval::range::window::Samples;
use crate::eval::range::{RangeCall, RangeFunction};
use crate::source::HistogramSample;
use model::histogram::{CompensatedHistogram, CounterResetHint, FloatHistogram, HistogramError, Reconciled};
use model::labels::quote;
use std::sync::Arc;

impl RangeCall<'_> {
    /// Computes the function for one window with histograms.
    pub(super) fn over_time(&mut self, samples: Samples<'_>, window: &Window, row: &mut RowMut<'_>) {
        use RangeFunction as F;
        let step = window.step;
        let histograms = &samples.histograms[window.histograms.clone()];
        let times = &samples.times[window.floats.clone()];
        let (first, last) = (&histograms[0], &histograms[histograms.len() - 1]);
        let is_first = times.first().is_none_or(|time| first.timestamp_ms < *time);
        let is_last = times.last().is_none_or(|time| last.timestamp_ms > *time);
        match self.function {
            F::Count => row.set(step, (times.len() + histograms.len()) as f64),
            F::Present => row.set(step, 1.0),
            F::First if is_first => set(row, step, Arc::clone(&first.histogram)),
            F::Last if is_last => set(row, step, Arc::clone(&last.histogram)),
            F::TimeOfFirst if is_first => row.set(step, first.timestamp_ms as f64 / 1000.0),
            F::TimeOfLast if is_last => row.set(step, last.timestamp_ms as f64 / 1000.0),
            F::First | F::Last | F::TimeOfFirst | F::TimeOfLast => {}
            F::Sum | F::Avg if !times.is_empty() => {
                row.clear(step);
                self.warn_mixed_types();
            }
            F::Sum | F::Avg => {
                if let Some(result) = self.total(histograms) {
                    set(row, step, Arc::new(result));
                }
            }
            // All others are of floats alone.
            _ if !times.is_empty() => {
                let name = quote(self.labels.metric_name());
                let text = format!("ignored histograms in a range containing both floats and histograms for metric name {name}");
                self.annotations.info(self.span, text);
            }
            _ => {}
        }
    }

    /// The sum or mean of histograms.
    fn total(&mut self, histograms: &[HistogramSample]) -> Option<FloatHistogram> {
        let has = |hint: CounterResetHint| histograms.iter().any(|h| h.histogram.counter_reset_hint == hint);
        if has(CounterResetHint::Reset) && has(CounterResetHint::NotReset) {
            self.annotations.warn(self.span, collision_text("aggregation"));
        }
        let all: Vec<&FloatHistogram> = histograms.iter().map(|h| &*h.histogram).collect();
        let mut reconciled = false;
        let result = if self.function == RangeFunction::Sum { sum(&all, &mut reconciled) } else { mean(&all, &mut reconciled) };
        if reconciled {
            self.info_reconciled("aggregation");
        }
        if result.is_err() {
            self.warn_mixed_schemas();
        }
        result.ok()
    }
}

fn set(row: &mut RowMut<'_>, step: usize, histogram: Arc<FloatHistogram>) {
    row.clear(step);
    row.set_histogram(step, histogram);
}

fn sum(all: &[&FloatHistogram], reconciled: &mut bool) -> Result<FloatHistogram, HistogramError> {
    let mut total = CompensatedHistogram::new(all[0].clone());
    for histogram in &all[1..] {
        *reconciled |= total.add(histogram)?.custom_bounds;
    }
    Ok(total.sum())
}

/// The mean; if the sum overflows, by weighing each histogram in.
fn mean(all: &[&FloatHistogram], reconciled: &mut bool) -> Result<FloatHistogram, HistogramError> {
    let mut total = CompensatedHistogram::new(all[0].clone());
    for (i, histogram) in all.iter().enumerate().skip(1) {
        let before = total.clone();
        let Reconciled { custom_bounds, .. } = total.add(histogram)?;
        *reconciled |= custom_bounds;
        if total.is_infinite() {
            return incremental_mean(before, i, &all[i..], reconciled);
        }
    }
    Ok(total.over(all.len() as f64))
}

/// Continues a mean of `count` histograms, whose sum is `sum`, over `rest`.
fn incremental_mean(
    mut sum: CompensatedHistogram,
    count: usize,
    rest: &[&FloatHistogram],
    reconciled: &mut bool,
) -> Result<FloatHistogram, HistogramError> {
    sum.scale(1.0 / count as f64);
    for (i, histogram) in rest.iter().enumerate() {
        let n = (count + i + 1) as f64;
        sum.scale((n - 1.0) / n);
        let mut part = FloatHistogram::clone(histogram);
        part.div(n);
        *reconciled |= sum.add(&part)?.custom_bounds;
    }
    Ok(sum.sum())
}
