//! `smoothed` instant vectors: the value at each step lies on the line between the samples around it.

use super::{selector, tile_series};
use crate::error::EvalError;
use crate::eval::block::{Block, RowMut, SeriesMeta};
use crate::eval::range::metric_suffix;
use crate::eval::{Evaluator, Sink};
use crate::plan::Node;
use crate::source::{HistogramSample, RawSeries};
use model::histogram::{CounterResetHint, FloatHistogram};
use model::sample::is_stale;
use std::sync::Arc;

/// What keeps a step from having a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mixed {
    /// Floats and histograms.
    Types,
    /// Histograms with exponential and with custom buckets.
    Buckets,
}

/// Streams the series of a selector, interpolated.
pub(super) fn stream<'p>(evaluator: &mut Evaluator<'p>, node: &'p Node, sink: Sink<'_, 'p>) -> Result<(), EvalError> {
    let (select, shift) = selector(node);
    let series = evaluator.read(select)?;
    let lookback_ms = evaluator.plan.params.lookback_ms;
    for chunk in series.chunks(tile_series(node.grid.steps)) {
        let mut block = Block::with_rows(node.grid.steps, chunk.len());
        for raw in chunk {
            evaluator.budget.check()?;
            let mut mixed = Vec::new();
            block.push_with(SeriesMeta { labels: raw.labels.clone(), drop_name: false }, |row| {
                for step in 0..node.grid.steps {
                    let at_ms = shift.apply(node.grid.time(step));
                    let window = Window::of(raw, at_ms, lookback_ms);
                    if let Err(problem) = window.interpolate(step, row) {
                        mixed.push(problem);
                    }
                }
            });
            let of_metric = metric_suffix(&raw.labels);
            mixed.dedup();
            for problem in mixed {
                let text = match problem {
                    Mixed::Types => format!("encountered a mix of histograms and floats{of_metric}"),
                    Mixed::Buckets => {
                        format!("vector contains a mix of histograms with exponential and custom buckets schemas{of_metric}")
                    }
                };
                evaluator.annotations.warn(node.span, text);
            }
        }
        evaluator.stats.samples_queryable += block.samples();
        if !block.is_empty() {
            sink(evaluator, block)?;
        }
    }
    Ok(())
}

/// The samples up to a lookback before and after one time.
struct Window<'a> {
    at_ms: i64,
    floats: Vec<(i64, f64)>,
    histograms: Vec<&'a HistogramSample>,
}

impl<'a> Window<'a> {
    fn of(raw: &'a RawSeries, at_ms: i64, lookback_ms: i64) -> Self {
        let (after_ms, to_ms) = (at_ms.saturating_sub(lookback_ms), at_ms.saturating_add(lookback_ms));
        let first = raw.timestamps.partition_point(|t| *t <= after_ms);
        let last = raw.timestamps.partition_point(|t| *t <= to_ms).max(first);
        let floats = (first..last).map(|i| (raw.timestamps[i], raw.values[i])).filter(|(_, value)| !is_stale(*value)).collect();
        let within = |h: &&HistogramSample| h.timestamp_ms > after_ms && h.timestamp_ms <= to_ms && !is_stale(h.histogram.sum);
        Self { at_ms, floats, histograms: raw.histograms.iter().filter(within).collect() }
    }

    fn interpolate(&self, step: usize, row: &mut RowMut<'_>) -> Result<(), Mixed> {
        match (self.floats.is_empty(), self.histograms.is_empty()) {
            (true, true) => {}
            (false, false) => return Err(Mixed::Types),
            (false, true) => {
                if let Some(value) = self.float() {
                    row.set(step, value);
                }
            }
            (true, false) => {
                if let Some(histogram) = self.histogram()? {
                    row.set_histogram(step, histogram);
                }
            }
        }
        Ok(())
    }

    /// On the line, or the last value if there is no later one; none before the first sample.
    fn float(&self) -> Option<f64> {
        let next = self.floats.partition_point(|(t, _)| *t < self.at_ms);
        match self.floats.get(next) {
            Some((t, value)) if *t == self.at_ms => Some(*value),
            Some((to_ms, to)) => {
                let (from_ms, from) = self.floats[next.checked_sub(1)?];
                Some(from + (to - from) * (self.at_ms - from_ms) as f64 / (to_ms - from_ms) as f64)
            }
            None => self.floats.last().map(|(_, value)| *value),
        }
    }

    fn histogram(&self) -> Result<Option<Arc<FloatHistogram>>, Mixed> {
        let next = self.histograms.partition_point(|h| h.timestamp_ms < self.at_ms);
        let Some(to) = self.histograms.get(next) else {
            // What is known of a reset before it does not hold between it and what comes later.
            return Ok(self.histograms.last().map(|last| {
                let mut histogram = Arc::clone(&last.histogram);
                Arc::make_mut(&mut histogram).counter_reset_hint = CounterResetHint::Unknown;
                histogram
            }));
        };
        if to.timestamp_ms == self.at_ms {
            return Ok(Some(Arc::clone(&to.histogram)));
        }
        let Some(from) = next.checked_sub(1).map(|i| self.histograms[i]) else { return Ok(None) };
        let is_gauge = |h: &HistogramSample| h.histogram.counter_reset_hint == CounterResetHint::Gauge;
        let is_counter = !(is_gauge(from) && is_gauge(to));
        let (result, _) = between(from, to, self.at_ms, is_counter).ok_or(Mixed::Buckets)?;
        Ok(Some(Arc::new(result)))
    }
}

/// Which custom buckets had to be reconciled on the way.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Reconciliations {
    pub(crate) subtraction: bool,
    pub(crate) addition: bool,
}

/// The histogram at `at_ms` on the line between two; a counter that was reset started from zero. None if one has exponential and the
/// other custom buckets.
pub(crate) fn between(
    from: &HistogramSample,
    to: &HistogramSample,
    at_ms: i64,
    is_counter: bool,
) -> Option<(FloatHistogram, Reconciliations)> {
    let mut reconciliations = Reconciliations::default();
    if at_ms == from.timestamp_ms {
        return Some((FloatHistogram::clone(&from.histogram), reconciliations));
    }
    let mut result = FloatHistogram::clone(&to.histogram);
    if at_ms == to.timestamp_ms {
        return Some((result, reconciliations));
    }
    let fraction = (at_ms - from.timestamp_ms) as f64 / (to.timestamp_ms - from.timestamp_ms) as f64;
    if is_counter && to.histogram.detect_reset(&from.histogram) {
        result.mul(fraction);
        return Some((result, reconciliations));
    }
    reconciliations.subtraction = result.sub(&from.histogram).ok()?.custom_bounds;
    result.mul(fraction);
    reconciliations.addition = result.add(&from.histogram).ok()?.custom_bounds;
    Some((result, reconciliations))
}
