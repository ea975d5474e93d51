//! Series as `histogram_count` and its kin read them: without a look at the buckets later, so that resets are found on reading.

use super::{Evaluator, ViewSink};
use crate::error::EvalError;
use crate::plan::{Node, NodeKind, RangeInput};
use crate::source::{HistogramSample, SeriesView, histogram_bytes};
use model::histogram::{CounterResetHint, FloatHistogram};
use model::sample::is_stale;
use std::sync::Arc;

impl<'p> Evaluator<'p> {
    /// Hands the series of a selector to `each`, those of windows with the samples only that the windows are about. If resets are to be
    /// looked for on reading, each histogram of which nothing is known says whether it continues the one before it.
    pub(crate) fn visit_for(&mut self, node: &Node, each: ViewSink<'_, 'p>) -> Result<(), EvalError> {
        let lookback_ms = self.plan.params.lookback_ms;
        let (NodeKind::Vector { select, detects_resets, .. } | NodeKind::Matrix { input: RangeInput::Select(select), detects_resets, .. }) =
            node.kind
        else {
            unreachable!("called for selectors only")
        };
        let (after_ms, to_ms) = node.span_of_samples(lookback_ms).unwrap_or((i64::MIN, i64::MAX));
        if matches!(node.kind, NodeKind::Vector { .. }) && !detects_resets {
            return self.visit(select, each);
        }
        self.visit(select, &mut |evaluator, series| {
            // Others may need more of the same read.
            let series = series.between(after_ms, to_ms);
            if !detects_resets || series.histograms.is_empty() {
                return each(evaluator, series);
            }
            let bytes: usize = series.histograms.iter().map(|h| histogram_bytes(&h.histogram)).sum();
            let _held = evaluator.budget.reserve(0, bytes as u64)?;
            let histograms = detected(series.histograms);
            each(evaluator, SeriesView { histograms: &histograms, ..series })
        })
    }
}

/// Copies of histograms that tell of resets.
fn detected(histograms: &[HistogramSample]) -> Vec<HistogramSample> {
    let mut copies = histograms.to_vec();
    let mut previous: Option<Arc<FloatHistogram>> = None;
    for sample in &mut copies {
        if is_stale(sample.histogram.sum) {
            continue;
        }
        let as_stored = Arc::clone(&sample.histogram);
        if let Some(previous) = previous.as_ref().filter(|_| as_stored.counter_reset_hint == CounterResetHint::Unknown) {
            let is_reset = as_stored.detect_reset(previous);
            let hint = if is_reset { CounterResetHint::Reset } else { CounterResetHint::NotReset };
            Arc::make_mut(&mut sample.histogram).counter_reset_hint = hint;
        }
        previous = Some(as_stored);
    }
    copies
}
