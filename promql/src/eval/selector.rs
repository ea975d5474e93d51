//! Instant vector selectors: the newest sample of each series at each step, unless it is too old or a stale marker.

use super::block::{Block, RowMut, SeriesMeta, TILE_SERIES};
use super::{Evaluator, Sink};
use crate::error::EvalError;
use crate::plan::{Grid, Node, TimeShift};
use crate::source::{RawSeries, SelectId};
use model::sample::STALE_NAN_BITS;

/// Bytes of values in a tile, at most (if one series fits).
const TILE_BYTES: usize = 2 << 20;

/// Series of a tile on a grid of so many steps.
pub(crate) fn tile_series(steps: usize) -> usize {
    (TILE_BYTES / 8 / steps.max(1)).clamp(1, TILE_SERIES)
}

/// Streams the series of a selector.
pub(crate) fn stream<'p>(
    evaluator: &mut Evaluator<'p>,
    node: &'p Node,
    select: SelectId,
    shift: TimeShift,
    sink: Sink<'_, 'p>,
) -> Result<(), EvalError> {
    stream_newest(evaluator, node, select, shift, &mut |evaluator, block| sink(evaluator, block), |_, value| value)
}

/// Streams what `of` makes of the newest sample, (its time, its value), of each series at each step.
pub(crate) fn stream_newest<'p>(
    evaluator: &mut Evaluator<'p>,
    node: &'p Node,
    select: SelectId,
    shift: TimeShift,
    sink: Sink<'_, 'p>,
    of: impl Fn(i64, f64) -> f64,
) -> Result<(), EvalError> {
    let series = evaluator.read(select)?;
    let lookback_ms = evaluator.plan.params.lookback_ms;
    let rows = tile_series(node.grid.steps);
    for chunk in series.chunks(rows) {
        let mut block = Block::with_rows(node.grid.steps, chunk.len());
        for raw in chunk {
            evaluator.budget.check()?;
            let meta = SeriesMeta { labels: raw.labels.clone(), drop_name: false };
            block.push_with(meta, |row| newest(raw, &node.grid, shift, lookback_ms, row, &of));
        }
        evaluator.stats.samples_queryable += block.values() as u64;
        if !block.is_empty() {
            sink(evaluator, block)?;
        }
    }
    Ok(())
}

fn newest(raw: &RawSeries, grid: &Grid, shift: TimeShift, lookback_ms: i64, row: &mut RowMut<'_>, of: &impl Fn(i64, f64) -> f64) {
    let (times, values) = (&raw.timestamps[..], &raw.values[..raw.timestamps.len()]);
    let mut next = times.partition_point(|t| *t <= shift.apply(grid.start_ms));
    let mut reference = shift.apply(grid.start_ms);
    let step_ms = if shift.at_ms.is_some() { 0 } else { grid.step_ms };
    row.fill_with(|_| {
        while next < times.len() && times[next] <= reference {
            next += 1;
        }
        let oldest = reference.saturating_sub(lookback_ms);
        reference = reference.saturating_add(step_ms);
        let (time, value) = next.checked_sub(1).map(|last| (times[last], values[last]))?;
        (time > oldest && value.to_bits() != STALE_NAN_BITS).then(|| of(time, value))
    });
}
