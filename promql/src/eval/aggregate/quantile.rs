//! Quantiles of a set of values.

use super::{Grouping, Groups};
use crate::annotations::general;
use crate::ast::{AggregateOp, Span};
use crate::error::EvalError;
use crate::eval::Evaluator;
use crate::eval::block::Block;
use crate::plan::NodeId;
use std::cmp::Ordering;

/// The `q`-quantile of `values`, which are reordered; NaN sorts below all numbers.
pub(crate) fn quantile(q: f64, values: &mut [f64]) -> f64 {
    if values.is_empty() || q.is_nan() {
        return f64::NAN;
    }
    if q < 0.0 {
        return f64::NEG_INFINITY;
    }
    if q > 1.0 {
        return f64::INFINITY;
    }
    let n = values.len() as f64;
    let rank = q * (n - 1.0);
    let lower = rank.floor().max(0.0);
    let upper = (lower + 1.0).min(n - 1.0);
    let weight = rank - rank.floor();
    let (_, low, above) = values.select_nth_unstable_by(lower as usize, nan_first);
    let low = *low;
    let high = if upper > lower { above.iter().copied().min_by(nan_first).unwrap_or(low) } else { low };
    low * (1.0 - weight) + high * weight
}

fn nan_first(a: &f64, b: &f64) -> Ordering {
    a.partial_cmp(b).unwrap_or_else(|| b.is_nan().cmp(&a.is_nan()))
}

/// Warns of quantiles outside of [0, 1].
pub(crate) fn warn_about(evaluator: &mut Evaluator<'_>, quantiles: &[f64], span: Span) {
    let mut last = None;
    for q in quantiles.iter().filter(|q| !(0.0..=1.0).contains(*q)) {
        if last.replace(q.to_bits()) != Some(q.to_bits()) {
            let text = format!("quantile value should be between 0 and 1, got {}", general(*q));
            evaluator.annotations.warn(span, text);
        }
    }
}

/// `quantile(q, …)`.
pub(super) fn evaluate(evaluator: &mut Evaluator<'_>, input: NodeId, q: &[f64], grouping: Grouping<'_>) -> Result<Block, EvalError> {
    let mut block = evaluator.vector(input)?;
    super::leave_out_histograms(evaluator, AggregateOp::Quantile, input, &mut block);
    let mut groups = Groups::default();
    let numbers = groups.of_block(&block, grouping);
    let mut members = vec![Vec::new(); groups.len()];
    numbers.iter().enumerate().for_each(|(row, group)| members[*group].push(row));
    let mut result = Block::reserved(block.steps(), groups.len(), evaluator.budget)?;
    let mut values = Vec::new();
    for (meta, rows) in groups.metas.into_iter().zip(members) {
        evaluator.budget.check()?;
        result.push_with(meta, |out| {
            for (step, q) in q.iter().enumerate() {
                values.clear();
                values.extend(rows.iter().filter_map(|row| block.row(*row).get(step)));
                if !values.is_empty() {
                    out.set(step, quantile(*q, &mut values));
                }
            }
        });
    }
    Ok(result)
}
