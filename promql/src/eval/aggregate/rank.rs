//! Aggregations that choose some series of each group: `topk`, `bottomk`, `limitk`, `limit_ratio`.

use super::{Grouping, Groups, sampler};
use crate::annotations::general;
use crate::ast::{AggregateOp, Span};
use crate::error::EvalError;
use crate::eval::Evaluator;
use crate::eval::block::{Block, set_bits};
use crate::plan::NodeId;
use std::cmp::Ordering;

/// Evaluates `op` with parameter `k` at each step.
pub(super) fn evaluate(
    evaluator: &mut Evaluator<'_>,
    op: AggregateOp,
    input: NodeId,
    k: &[f64],
    grouping: Grouping<'_>,
) -> Result<Block, EvalError> {
    let limits = limits(k)?;
    let mut block = evaluator.vector(input)?;
    if limits.iter().all(|k| *k == 0) {
        return Ok(Block::new(block.steps()));
    }
    if op != AggregateOp::Limitk {
        super::leave_out_histograms(evaluator, op, input, &mut block);
    }
    let mut groups = Groups::default();
    let numbers = groups.of_block(&block, grouping);
    let steps = block.steps();
    let of_group = limits.iter().max().map_or(0, |k| trim_length(*k));
    let candidates = block.len().min(groups.len().saturating_mul(of_group));
    let bytes = steps * (groups.len() * size_of::<Vec<usize>>() + candidates * size_of::<usize>());
    let _held = evaluator.budget.reserve(0, bytes as u64)?;
    // Candidates of each group at each step: the best so far, then those not compared with them yet. They are told by their places in
    // the order of labels, which decide between equals.
    let mut chosen: Vec<Vec<usize>> = vec![Vec::new(); groups.len() * steps];
    let rows = rows_by_labels(&block);
    let best = Best { op, block: &block, rows: &rows };
    for (place, row) in rows.iter().enumerate() {
        evaluator.budget.check()?;
        set_bits(&block.row(*row).present()).for_each(|step| {
            let candidates = &mut chosen[numbers[*row] * steps + step];
            candidates.push(place);
            if candidates.len() >= trim_length(limits[step]) {
                best.trim(step, candidates, limits[step]);
            }
        });
    }
    for (i, candidates) in chosen.iter_mut().enumerate() {
        best.finish(i % steps, candidates, limits[i % steps]);
    }
    if evaluator.plan.params.step_ms == 0 && steps == 1 {
        let mut order: Vec<usize> = (0..groups.len()).collect();
        order.sort_by(|a, b| groups.metas[*a].labels.cmp(&groups.metas[*b].labels));
        return Ok(in_order(&block, order.iter().map(|group| &chosen[*group])));
    }
    by_row(evaluator, &block, &chosen)
}

/// `limit_ratio`: the share of all series that their hashes choose. Grouping makes no difference.
pub(super) fn limit_ratio(evaluator: &mut Evaluator<'_>, input: NodeId, ratios: &[f64], span: Span) -> Result<Block, EvalError> {
    if ratios.iter().any(|ratio| ratio.is_nan()) {
        return Err(EvalError::RatioIsNan);
    }
    for ratio in ratios.iter().filter(|ratio| ratio.abs() > 1.0) {
        let (found, capped) = (general(*ratio), general(ratio.clamp(-1.0, 1.0)));
        let text = format!("ratio value should be between -1 and 1, got {found}, capping to {capped}");
        evaluator.annotations.warn(span, text);
    }
    let mut result = Block::new(ratios.len());
    evaluator.stream(input, &mut |_, block| {
        for (row, meta) in block.series.iter().enumerate() {
            let position = sampler::position(&meta.labels);
            result.push_with(meta.clone(), |out| {
                let from = block.row(row);
                let is_kept = |step: usize| sampler::keeps(ratios[step].clamp(-1.0, 1.0), position);
                set_bits(&from.present()).filter(|step| is_kept(*step)).for_each(|step| out.copy_step(from, step));
            });
        }
        Ok(())
    })?;
    result.account(evaluator.budget)
}

/// Candidates that are gathered before all but the best `k` are dropped; several times `k`, so that dropping is rare.
fn trim_length(k: usize) -> usize {
    k.saturating_mul(2).saturating_add(16)
}

/// Tells the better of two series by their places in the order of labels.
struct Best<'a> {
    op: AggregateOp,
    block: &'a Block,
    /// The rows in the order of labels.
    rows: &'a [usize],
}

impl Best<'_> {
    fn order(&self, step: usize, a: usize, b: usize) -> Ordering {
        let value = |place: usize| self.block.row(self.rows[place]).values[step];
        order(self.op, value(a), value(b)).then(a.cmp(&b))
    }

    /// Keeps the best `k`, in any order.
    fn trim(&self, step: usize, places: &mut Vec<usize>, k: usize) {
        if k > 0 && k < places.len() {
            places.select_nth_unstable_by(k - 1, |a, b| self.order(step, *a, *b));
        }
        places.truncate(k);
    }

    /// Leaves the rows of the best `k`, best first.
    fn finish(&self, step: usize, places: &mut Vec<usize>, k: usize) {
        self.trim(step, places, k);
        places.sort_unstable_by(|a, b| self.order(step, *a, *b));
        places.iter_mut().for_each(|place| *place = self.rows[*place]);
    }
}

/// How many series each step may have.
fn limits(k: &[f64]) -> Result<Vec<usize>, EvalError> {
    if k.iter().any(|k| k.is_nan()) {
        return Err(EvalError::ParameterIsNan);
    }
    let limit = |k: &f64| {
        if *k <= i64::MIN as f64 {
            return Err(EvalError::ParameterOutOfRange { value: general(*k), direction: "under" });
        }
        if *k >= i64::MAX as f64 {
            return Err(EvalError::ParameterOutOfRange { value: general(*k), direction: "over" });
        }
        Ok((*k as i64).max(0) as usize)
    };
    k.iter().map(limit).collect()
}

/// Which of two values comes first; NaN last.
fn order(op: AggregateOp, a: f64, b: f64) -> Ordering {
    match op {
        AggregateOp::Topk => b.partial_cmp(&a),
        AggregateOp::Bottomk => a.partial_cmp(&b),
        _ => Some(Ordering::Equal),
    }
    .unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
}

fn rows_by_labels(block: &Block) -> Vec<usize> {
    let mut rows: Vec<usize> = (0..block.len()).collect();
    rows.sort_by(|a, b| block.series[*a].labels.cmp(&block.series[*b].labels));
    rows
}

/// The chosen rows of an instant query, group after group, best first.
fn in_order<'a>(block: &Block, chosen: impl Iterator<Item = &'a Vec<usize>>) -> Block {
    let mut result = Block::new(1);
    chosen.flatten().for_each(|row| result.push(block.series[*row].clone(), block.row(*row)));
    result
}

/// The rows that were chosen at any step, with their values at those steps.
fn by_row(evaluator: &Evaluator<'_>, block: &Block, chosen: &[Vec<usize>]) -> Result<Block, EvalError> {
    let steps = block.steps();
    let mut steps_of = vec![Vec::new(); block.len()];
    for (i, rows) in chosen.iter().enumerate() {
        rows.iter().for_each(|row| steps_of[*row].push(i % steps));
    }
    let rows = steps_of.iter().filter(|at| !at.is_empty()).count();
    let mut result = Block::reserved(steps, rows, evaluator.budget)?;
    for (row, chosen_at) in steps_of.iter().enumerate().filter(|(_, at)| !at.is_empty()) {
        result.push_with(block.series[row].clone(), |out| {
            chosen_at.iter().for_each(|step| out.copy_step(block.row(row), *step));
        });
    }
    Ok(result)
}
