//! `smoothed` instant vectors: the value at each step lies on the line between the samples around it.

use super::{shift_of, tile_series};
use crate::error::EvalError;
use crate::eval::block::{Block, RowMut, SeriesMeta};
use crate::eval::range::histogram::{interpolated, mixed_schemas_text, reconciled_text};
use crate::eval::range::metric_suffix;
use crate::eval::{Evaluator, Sink};
use crate::plan::Node;
use crate::source::{HistogramSample, RawSeries};
use model::histogram::{CounterResetHint, FloatHistogram};
use model::sample::is_stale;
use std::sync::Arc;

/// What is to be told of the steps of a series.
#[derive(Clone, Copy, Debug, Default)]
struct Notes {
    /// Floats and histograms around one step.
    mixed_types: bool,
    /// Histograms with exponential and with custom buckets.
    mixed_buckets: bool,
    /// Custom bounds differed in an addition, and in a subtraction.
    reconciled: [bool; 2],
}

/// Streams the series of a selector, interpolated.
pub(super) fn stream<'p>(evaluator: &mut Evaluator<'p>, node: &'p Node, sink: Sink<'_, 'p>) -> Result<(), EvalError> {
    let shift = shift_of(node);
    let series = evaluator.read_for(node)?;
    let lookback_ms = evaluator.plan.params.lookback_ms;
    for chunk in series.chunks(tile_series(node.grid.steps)) {
        let mut block = Block::with_rows(node.grid.steps, chunk.len());
        for raw in chunk {
            evaluator.budget.check()?;
            let mut notes = Notes::default();
            block.push_with(SeriesMeta { labels: raw.labels.clone(), drop_name: false }, |row| {
                for step in 0..node.grid.steps {
                    let at_ms = shift.apply(node.grid.time(step));
                    Window::of(raw, at_ms, lookback_ms).interpolate(step, row, &mut notes);
                }
            });
            notes.report(evaluator, node, raw);
        }
        evaluator.stats.samples_queryable += block.samples();
        if !block.is_empty() {
            sink(evaluator, block)?;
        }
    }
    Ok(())
}

impl Notes {
    fn report(self, evaluator: &mut Evaluator<'_>, node: &Node, raw: &RawSeries) {
        let annotations = &mut evaluator.annotations;
        if self.mixed_types {
            annotations.warn(node.span, format!("encountered a mix of histograms and floats{}", metric_suffix(&raw.labels)));
        }
        if self.mixed_buckets {
            annotations.warn(node.span, mixed_schemas_text(raw.labels.metric_name()));
        }
        for (_, operation) in self.reconciled.iter().zip(["addition", "subtraction"]).filter(|(reconciled, _)| **reconciled) {
            annotations.info(node.span, reconciled_text(operation));
        }
    }
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
        let first = raw.histograms.partition_point(|h| h.timestamp_ms <= after_ms);
        let last = raw.histograms.partition_point(|h| h.timestamp_ms <= to_ms).max(first);
        let histograms = raw.histograms[first..last].iter().filter(|h| !is_stale(h.histogram.sum)).collect();
        Self { at_ms, floats, histograms }
    }

    fn interpolate(&self, step: usize, row: &mut RowMut<'_>, notes: &mut Notes) {
        if !self.floats.is_empty() && !self.histograms.is_empty() {
            notes.mixed_types = true;
        } else if let Some(value) = self.float() {
            row.set(step, value);
        } else if let Some(histogram) = self.histogram(notes) {
            row.set_histogram(step, histogram);
        }
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

    fn histogram(&self, notes: &mut Notes) -> Option<Arc<FloatHistogram>> {
        let next = self.histograms.partition_point(|h| h.timestamp_ms < self.at_ms);
        let Some(to) = self.histograms.get(next) else {
            // What is known of a reset before it does not hold between it and what comes later.
            return self.histograms.last().map(|last| {
                let mut histogram = Arc::clone(&last.histogram);
                Arc::make_mut(&mut histogram).counter_reset_hint = CounterResetHint::Unknown;
                histogram
            });
        };
        if to.timestamp_ms == self.at_ms {
            return Some(Arc::clone(&to.histogram));
        }
        let from = self.histograms[next.checked_sub(1)?];
        if from.histogram.uses_custom_buckets() != to.histogram.uses_custom_buckets() {
            notes.mixed_buckets = true;
            return None;
        }
        let is_gauge = |h: &HistogramSample| h.histogram.counter_reset_hint == CounterResetHint::Gauge;
        let Ok((result, reconciled)) = interpolated(from, to, self.at_ms, !(is_gauge(from) && is_gauge(to))) else {
            notes.mixed_buckets = true;
            return None;
        };
        notes.reconciled.iter_mut().zip(reconciled).for_each(|(known, new)| *known |= new);
        Some(Arc::new(result))
    }
}
