//! Instant vector selectors: the newest sample of each series at each step, unless it is too old or a stale marker.

pub(crate) mod smoothed;

use super::block::{Block, RowMut, SeriesMeta, TILE_SERIES};
use super::{Evaluator, Sink};
use crate::ast::Extended;
use crate::error::EvalError;
use crate::plan::{Grid, Node, NodeKind, TimeShift};
use crate::source::SeriesView;
use model::sample::{STALE_NAN_BITS, is_stale};
use std::ops::Range;
use std::sync::Arc;

/// Bytes of values in a tile, at most (if one series fits).
pub(crate) const TILE_BYTES: usize = 2 << 20;
/// The same of a tile that is done with at once: what stays in the caches of a processor between two operators.
pub(crate) const SMALL_TILE_BYTES: usize = 256 << 10;

/// Series of a tile of so many bytes on a grid of so many steps.
pub(crate) fn tile_series(steps: usize, bytes: usize) -> usize {
    (bytes / 8 / steps.max(1)).clamp(1, TILE_SERIES)
}

/// What is taken of the newest sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Of {
    /// Its value.
    Value,
    /// Its time in seconds.
    Timestamp,
    /// Its time in milliseconds.
    Milliseconds,
    /// When its counter started, in seconds.
    StartTimestamp,
}

/// Streams the series of a selector.
pub(crate) fn stream<'p>(evaluator: &mut Evaluator<'p>, node: &'p Node, sink: Sink<'_, 'p>) -> Result<(), EvalError> {
    if let NodeKind::Vector { extended: Some(Extended::Smoothed), .. } = node.kind {
        return smoothed::stream(evaluator, node, sink);
    }
    stream_newest(evaluator, node, &mut |evaluator, block| sink(evaluator, block), Of::Value)
}

/// Where a selector looks.
fn shift_of(node: &Node) -> TimeShift {
    match &node.kind {
        NodeKind::Vector { shift, .. } => *shift,
        _ => unreachable!("called for selectors only"),
    }
}

/// Streams something of the newest sample of each series at each step.
pub(crate) fn stream_newest<'p>(evaluator: &mut Evaluator<'p>, node: &'p Node, sink: Sink<'_, 'p>, of: Of) -> Result<(), EvalError> {
    let shift = shift_of(node);
    let newest = Newest { grid: node.grid, shift, lookback_ms: evaluator.plan.params.lookback_ms };
    let steps = node.grid.steps;
    let rows = tile_series(steps, evaluator.tile_bytes);
    let mut block = evaluator.blank(steps, rows)?;
    evaluator.visit_for(node, &mut |evaluator, series| {
        let meta = SeriesMeta { labels: series.labels.clone(), drop_name: false };
        block.push_with(meta, |row| {
            if series.histograms.is_empty() {
                newest.of_floats(series, row, of);
            } else {
                newest.of_both(series, row, of);
            }
        });
        if block.len() < rows {
            return Ok(());
        }
        block.count_into(&mut evaluator.seen);
        let full = std::mem::replace(&mut block, Block::new(steps)).hold_histograms(evaluator.budget)?;
        sink(evaluator, full)?;
        block = evaluator.blank(steps, rows)?;
        Ok(())
    })?;
    block.count_into(&mut evaluator.seen);
    if block.is_empty() {
        return Ok(());
    }
    let rest = block.hold_histograms(evaluator.budget)?;
    sink(evaluator, rest)
}

/// Finds the newest sample at each step.
struct Newest {
    grid: Grid,
    shift: TimeShift,
    lookback_ms: i64,
}

impl Newest {
    fn of_floats(&self, series: SeriesView<'_>, row: &mut RowMut<'_>, of: Of) {
        match of {
            Of::Value => self.fill(series, row, |_, _, value| value),
            Of::Timestamp => self.fill(series, row, |_, time, _| seconds(time)),
            Of::Milliseconds => self.fill(series, row, |_, time, _| time as f64),
            Of::StartTimestamp => self.fill(series, row, |index, _, _| seconds(series.start_ms(index))),
        }
    }

    fn fill(&self, series: SeriesView<'_>, row: &mut RowMut<'_>, of: impl Fn(usize, i64, f64) -> f64) {
        let (times, values) = (series.timestamps, &series.values[..series.timestamps.len()]);
        let step_ms = if self.shift.at_ms.is_some() { 0 } else { self.grid.step_ms };
        let words = self.words_about(times, step_ms);
        let first_step = i64::try_from(words.start * 64).unwrap_or(i64::MAX);
        let mut reference = self.shift.apply(self.grid.start_ms).saturating_add(step_ms.saturating_mul(first_step));
        let mut next = times.partition_point(|t| *t <= reference);
        row.fill_with(words, || {
            while next < times.len() && times[next] <= reference {
                next += 1;
            }
            let oldest = reference.saturating_sub(self.lookback_ms);
            reference = reference.saturating_add(step_ms);
            let last = next.checked_sub(1)?;
            let (time, value) = (times[last], values[last]);
            (time > oldest && value.to_bits() != STALE_NAN_BITS).then(|| of(last, time, value))
        });
    }

    /// The words of bits of the steps that samples at these times may have a value at: not those before the first, nor those so long
    /// after the last that it is too old.
    fn words_about(&self, times: &[i64], step_ms: i64) -> Range<usize> {
        let (Some(oldest), Some(newest)) = (times.first(), times.last()) else { return 0..0 };
        if step_ms <= 0 {
            return 0..self.grid.steps.div_ceil(64);
        }
        let start_ms = self.shift.apply(self.grid.start_ms);
        // The first step whose time is not before `ms`.
        let step_at = |ms: i64| {
            let steps = ms.saturating_sub(start_ms).max(0).cast_unsigned().div_ceil(step_ms.cast_unsigned());
            usize::try_from(steps).unwrap_or(usize::MAX).min(self.grid.steps)
        };
        let from = step_at(*oldest);
        let after = step_at(newest.saturating_add(self.lookback_ms)).max(from);
        from / 64..after.div_ceil(64)
    }

    fn of_both(&self, series: SeriesView<'_>, row: &mut RowMut<'_>, of: Of) {
        for step in 0..self.grid.steps {
            let reference = self.shift.apply(self.grid.time(step));
            let oldest = reference.saturating_sub(self.lookback_ms);
            let float = series.timestamps.partition_point(|t| *t <= reference).checked_sub(1).filter(|i| series.timestamps[*i] > oldest);
            let histogram = series.histograms.partition_point(|h| h.timestamp_ms <= reference).checked_sub(1);
            let histogram = histogram.map(|i| &series.histograms[i]).filter(|h| h.timestamp_ms > oldest);
            match (float, histogram) {
                (Some(i), None) => set_float(row, step, of, series, i),
                (Some(i), Some(h)) if series.timestamps[i] >= h.timestamp_ms => set_float(row, step, of, series, i),
                (_, Some(h)) if !is_stale(h.histogram.sum) => match of {
                    Of::Value => row.set_histogram(step, Arc::clone(&h.histogram)),
                    Of::Timestamp => row.set(step, seconds(h.timestamp_ms)),
                    Of::Milliseconds => row.set(step, h.timestamp_ms as f64),
                    Of::StartTimestamp => row.set(step, seconds(h.start_ms)),
                },
                _ => {}
            }
        }
    }
}

fn set_float(row: &mut RowMut<'_>, step: usize, of: Of, series: SeriesView<'_>, index: usize) {
    let value = series.values[index];
    if !is_stale(value) {
        row.set(
            step,
            match of {
                Of::Value => value,
                Of::Timestamp => seconds(series.timestamps[index]),
                Of::Milliseconds => series.timestamps[index] as f64,
                Of::StartTimestamp => seconds(series.start_ms(index)),
            },
        );
    }
}

fn seconds(ms: i64) -> f64 {
    ms as f64 / 1000.0
}
