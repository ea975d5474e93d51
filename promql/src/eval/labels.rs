//! Label sets between operators: dropping names, and joining series that become one.

use super::block::{Block, RowMut, SeriesMeta};
use crate::budget::Budget;
use crate::error::EvalError;
use crate::plan::{NodeId, NodeKind, Plan};
use model::labels::METRIC_NAME;
use model::{Labels, MatchOp};
use std::collections::HashMap;
use std::sync::Arc;

/// Labels that describe a metric rather than a series.
pub(crate) fn is_metadata(name: &str) -> bool {
    name == METRIC_NAME || name == "__type__" || name == "__unit__"
}

/// The labels without those that describe the metric.
pub(crate) fn without_name(labels: &Labels) -> Labels {
    if labels.iter().any(|(name, _)| is_metadata(name)) { labels.filtered(|name| !is_metadata(name)) } else { labels.clone() }
}

/// Takes the name from a series, now or at the end of the query.
pub(crate) fn drop_name(meta: &mut SeriesMeta, delayed: bool) {
    if delayed {
        meta.drop_name = true;
    } else {
        meta.labels = without_name(&meta.labels);
    }
}

/// Whether no two series of a node differ only in what [`without_name`] removes.
pub(crate) fn is_unique_without_name(plan: &Plan, id: NodeId) -> bool {
    match &plan.node(id).kind {
        NodeKind::Vector { select, .. } => selects_one_name(plan, *select),
        NodeKind::Matrix { input: crate::plan::RangeInput::Select(select), .. } => selects_one_name(plan, *select),
        NodeKind::Matrix { input: crate::plan::RangeInput::Subquery(inner), .. } => is_unique_without_name(plan, *inner),
        NodeKind::StepInvariant(inner) | NodeKind::Negate(inner) => is_unique_without_name(plan, *inner),
        NodeKind::Call { function, args } => match function.series_argument() {
            Some(index) => args.get(index).is_some_and(|arg| is_unique_without_name(plan, *arg)),
            None => false,
        },
        NodeKind::Aggregate { op, grouping, without, .. } => {
            let keeps_series = matches!(op, crate::ast::AggregateOp::Topk | crate::ast::AggregateOp::Bottomk);
            let counts = matches!(op, crate::ast::AggregateOp::CountValues);
            let limits = matches!(op, crate::ast::AggregateOp::Limitk | crate::ast::AggregateOp::LimitRatio);
            !keeps_series && !counts && !limits && !*without && !grouping.iter().any(|name| is_metadata(name))
        }
        NodeKind::Binary { .. } | NodeKind::Number(_) | NodeKind::String(_) => false,
    }
}

fn selects_one_name(plan: &Plan, select: crate::source::SelectId) -> bool {
    let matchers = &plan.select(select).matchers;
    let fixed = |name: &str| matchers.iter().any(|m| m.name == name && m.op == MatchOp::Equal);
    // A series may still differ in `__type__` or `__unit__` alone; those are rare enough to be collected.
    fixed(METRIC_NAME) && !matchers.iter().any(|m| m.name == "__type__" || m.name == "__unit__")
}

/// Joins series with equal labels whose values never meet at one step.
///
/// # Errors
/// Two of them have a value at the same step, or there is no room for the result.
pub(crate) fn join_equal(block: Block, budget: &Budget) -> Result<Block, EvalError> {
    let mut first: HashMap<Labels, usize> = HashMap::with_capacity(block.len());
    let is_unique = block.series.iter().enumerate().all(|(i, meta)| first.insert(meta.labels.clone(), i).is_none());
    if is_unique {
        return Ok(block);
    }
    let mut joined = Block::reserved(block.steps(), block.len(), budget)?;
    first.clear();
    for (i, meta) in block.series.iter().enumerate() {
        match first.get(&meta.labels) {
            Some(at) => {
                merge_row(&mut joined.tile.row_mut(*at), block.row(i))?;
                joined.series[*at].drop_name |= meta.drop_name;
            }
            None => {
                first.insert(meta.labels.clone(), joined.len());
                joined.push(meta.clone(), block.row(i));
            }
        }
    }
    Ok(joined)
}

fn merge_row(into: &mut RowMut<'_>, from: super::block::Row<'_>) -> Result<(), EvalError> {
    if into.as_row().present().iter().zip(from.present().iter()).any(|(a, b)| a & b != 0) {
        return Err(EvalError::DuplicateLabelSet);
    }
    from.iter().for_each(|(step, value)| into.set(step, value));
    from.histograms.iter().for_each(|(step, histogram)| into.set_histogram(*step, Arc::clone(histogram)));
    Ok(())
}

/// Fails if two series that have any values have equal labels, whether or not their values meet.
///
/// # Errors
/// There are such series.
pub(crate) fn require_unique(block: &Block) -> Result<(), EvalError> {
    let mut seen = std::collections::HashSet::with_capacity(block.len());
    let mut has_values = block.series.iter().enumerate().filter(|(row, _)| !block.row(*row).is_empty());
    if has_values.all(|(_, meta)| seen.insert(&meta.labels)) { Ok(()) } else { Err(EvalError::DuplicateLabelSet) }
}

/// Ends delayed name removal: takes the names, joins what became equal.
///
/// # Errors
/// Series that became equal have a value at the same step.
pub(crate) fn remove_dropped_names(mut block: Block, is_instant: bool, budget: &Budget) -> Result<Block, EvalError> {
    for meta in block.series.iter_mut().filter(|meta| meta.drop_name) {
        meta.labels = without_name(&meta.labels);
        meta.drop_name = false;
    }
    if is_instant {
        require_unique(&block)?;
        return Ok(block);
    }
    join_equal(block, budget)
}
