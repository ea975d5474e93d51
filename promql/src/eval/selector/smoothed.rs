//! `smoothed` instant vectors: the value at each step lies on the line between the samples around it.

use super::{shift_of, tile_series};
use crate::error::EvalError;
use crate::eval::block::{Block, RowMut, SeriesMeta};
use crate::eval::range::histogram::{interpolated, mixed_schemas_text, reconciled_text};
use crate::eval::range::rate::interpolated as interpolated_float;
use crate::eval::range::window::Samples;
use crate::eval::range::{Floats, histograms_without_stale_markers, metric_suffix};
use crate::eval::{Evaluator, Sink};
use crate::plan::Node;
use crate::source::HistogramSample;
use model::Labels;
use model::histogram::{CounterResetHint, FloatHistogram};
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
    let lookback_ms = evaluator.plan.params.lookback_ms;
    let rows = tile_series(node.grid.steps, evaluator.tile_bytes);
    let mut block = evaluator.blank(node.grid.steps, rows)?;
    let mut floats = Floats::default();
    evaluator.visit_for(node, &mut |evaluator, series| {
        let mut notes = Notes::default();
        let histograms = histograms_without_stale_markers(series, true);
        let samples = Samples { starts: &[], ..floats.without_stale_markers(series, &histograms) };
        block.push_with(SeriesMeta { labels: series.labels.clone(), drop_name: false }, |row| {
            for step in 0..node.grid.steps {
                let at_ms = shift.apply(node.grid.time(step));
                let around = samples.between(at_ms.saturating_sub(lookback_ms), at_ms.saturating_add(lookback_ms));
                interpolate(around, at_ms, (step, row), &mut notes);
            }
        });
        notes.report(evaluator, node, series.labels);
        if block.len() < rows {
            return Ok(());
        }
        block.count_into(&mut evaluator.seen);
        let full = std::mem::replace(&mut block, Block::new(node.grid.steps)).hold_histograms(evaluator.budget)?;
        sink(evaluator, full)?;
        block = evaluator.blank(node.grid.steps, rows)?;
        Ok(())
    })?;
    block.count_into(&mut evaluator.seen);
    if block.is_empty() {
        return Ok(());
    }
    let rest = block.hold_histograms(evaluator.budget)?;
    sink(evaluator, rest)
}

impl Notes {
    fn report(self, evaluator: &mut Evaluator<'_>, node: &Node, labels: &Labels) {
        let annotations = &mut evaluator.annotations;
        if self.mixed_types {
            annotations.warn(node.span, format!("encountered a mix of histograms and floats{}", metric_suffix(labels)));
        }
        if self.mixed_buckets {
            annotations.warn(node.span, mixed_schemas_text(labels.metric_name()));
        }
        for (_, operation) in self.reconciled.iter().zip(["addition", "subtraction"]).filter(|(reconciled, _)| **reconciled) {
            annotations.info(node.span, reconciled_text(operation));
        }
    }
}

/// Sets what a step has, of the samples up to a lookback before and after its time.
fn interpolate(samples: Samples<'_>, at_ms: i64, (step, row): (usize, &mut RowMut<'_>), notes: &mut Notes) {
    if !samples.times.is_empty() && !samples.histograms.is_empty() {
        notes.mixed_types = true;
    } else if let Some(value) = float_at(samples, at_ms) {
        row.set(step, value);
    } else if let Some(histogram) = histogram_at(samples.histograms, at_ms, notes) {
        row.set_histogram(step, histogram);
    }
}

/// On the line, or the last value if there is no later one; none before the first sample.
fn float_at(samples: Samples<'_>, at_ms: i64) -> Option<f64> {
    let next = samples.times.partition_point(|t| *t < at_ms);
    match samples.times.get(next) {
        Some(t) if *t == at_ms => Some(samples.values[next]),
        Some(_) => Some(interpolated_float(samples, next.checked_sub(1)?, at_ms, false)),
        None => samples.values.last().copied(),
    }
}

fn histogram_at(histograms: &[HistogramSample], at_ms: i64, notes: &mut Notes) -> Option<Arc<FloatHistogram>> {
    let next = histograms.partition_point(|h| h.timestamp_ms < at_ms);
    let Some(to) = histograms.get(next) else {
        // What is known of a reset before it does not hold between it and what comes later.
        return histograms.last().map(|last| {
            let mut histogram = Arc::clone(&last.histogram);
            Arc::make_mut(&mut histogram).counter_reset_hint = CounterResetHint::Unknown;
            histogram
        });
    };
    if to.timestamp_ms == at_ms {
        return Some(Arc::clone(&to.histogram));
    }
    let from = &histograms[next.checked_sub(1)?];
    if from.histogram.uses_custom_buckets() != to.histogram.uses_custom_buckets() {
        notes.mixed_buckets = true;
        return None;
    }
    let is_gauge = |h: &HistogramSample| h.histogram.counter_reset_hint == CounterResetHint::Gauge;
    let Ok((result, reconciled)) = interpolated(from, to, at_ms, !(is_gauge(from) && is_gauge(to))) else {
        notes.mixed_buckets = true;
        return None;
    };
    notes.reconciled.iter_mut().zip(reconciled).for_each(|(known, new)| *known |= new);
    Some(Arc::new(result))
}
