//! Instant vector selectors: the newest sample of each series at each step, unless it is too old or a stale marker.

pub(crate) mod smoothed;

use super::block::{Block, RowMut, SeriesMeta, TILE_SERIES};
use super::{Evaluator, Sink};
use crate::ast::Extended;
use crate::error::EvalError;
use crate::plan::{Grid, Node, NodeKind, TimeShift};
use crate::source::RawSeries;
use model::sample::{STALE_NAN_BITS, is_stale};
use std::sync::Arc;

/// Bytes of values in a tile, at most (if one series fits).
const TILE_BYTES: usize = 2 << 20;

/// Series of a tile on a grid of so many steps.
pub(crate) fn tile_series(steps: usize) -> usize {
    (TILE_BYTES / 8 / steps.max(1)).clamp(1, TILE_SERIES)
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
    let series = evaluator.read_for(node)?;
    let newest = Newest { grid: node.grid, shift, lookback_ms: evaluator.plan.params.lookback_ms };
    let rows = tile_series(node.grid.steps);
    for chunk in series.chunks(rows) {
        let mut block = Block::with_rows(node.grid.steps, chunk.len());
        for raw in chunk {
            evaluator.budget.check()?;
            let meta = SeriesMeta { labels: raw.labels.clone(), drop_name: false };
            block.push_with(meta, |row| {
                if raw.histograms.is_empty() {
                    newest.of_floats(raw, row, of);
                } else {
                    newest.of_both(raw, row, of);
                }
            });
        }
        evaluator.stats.samples_queryable += block.samples();
        if !block.is_empty() {
            sink(evaluator, block)?;
        }
    }
    Ok(())
}

/// Finds the newest sample at each step.
struct Newest {
    grid: Grid,
    shift: TimeShift,
    lookback_ms: i64,
}

impl Newest {
    fn of_floats(&self, raw: &RawSeries, row: &mut RowMut<'_>, of: Of) {
        match of {
            Of::Value => self.fill(raw, row, |_, _, value| value),
            Of::Timestamp => self.fill(raw, row, |_, time, _| seconds(time)),
            Of::Milliseconds => self.fill(raw, row, |_, time, _| time as f64),
            Of::StartTimestamp => self.fill(raw, row, |index, _, _| seconds(raw.start_ms(index))),
        }
    }

    fn fill(&self, raw: &RawSeries, row: &mut RowMut<'_>, of: impl Fn(usize, i64, f64) -> f64) {
        let (times, values) = (&raw.timestamps[..], &raw.values[..raw.timestamps.len()]);
        let mut reference = self.shift.apply(self.grid.start_ms);
        let mut next = times.partition_point(|t| *t <= reference);
        let step_ms = if self.shift.at_ms.is_some() { 0 } else { self.grid.step_ms };
        row.fill_with(|_| {
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

    fn of_both(&self, raw: &RawSeries, row: &mut RowMut<'_>, of: Of) {
        for step in 0..self.grid.steps {
            let reference = self.shift.apply(self.grid.time(step));
            let oldest = reference.saturating_sub(self.lookback_ms);
            let float = raw.timestamps.partition_point(|t| *t <= reference).checked_sub(1).filter(|i| raw.timestamps[*i] > oldest);
            let histogram = raw.histograms.partition_point(|h| h.timestamp_ms <= reference).checked_sub(1);
            let histogram = histogram.map(|i| &raw.histograms[i]).filter(|h| h.timestamp_ms > oldest);
            match (float, histogram) {
                (Some(i), None) => set_float(row, step, of, raw, i),
                (Some(i), Some(h)) if raw.timestamps[i] >= h.timestamp_ms => set_float(row, step, of, raw, i),
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

fn set_float(row: &mut RowMut<'_>, step: usize, of: Of, raw: &RawSeries, index: usize) {
    let value = raw.values[index];
    if !is_stale(value) {
        row.set(
            step,
            match of {
                Of::Value => value,
                Of::Timestamp => seconds(raw.timestamps[index]),
                Of::Milliseconds => raw.timestamps[index] as f64,
                Of::StartTimestamp => seconds(raw.start_ms(index)),
            },
        );
    }
}

fn seconds(ms: i64) -> f64 {
    ms as f64 / 1000.0
}
