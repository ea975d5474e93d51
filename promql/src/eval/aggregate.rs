//! Aggregations over series.
//!
//! Those whose state is small (sums, counts, extremes) take tiles as they come; the others see all series at once. All are
//! independent of the order of series: sums are exact, ties are broken by labels.

pub(crate) mod count_values;
pub(crate) mod quantile;
pub(crate) mod rank;
mod sampler;
pub(crate) mod state;

use super::Evaluator;
use super::block::{Block, SeriesMeta};
use crate::ast::AggregateOp;
use crate::error::EvalError;
use crate::plan::{Node, NodeId, NodeKind};
use model::Labels;
use model::labels::METRIC_NAME;
use state::State;
use std::collections::HashMap;

/// Labels of a `by` or `without` modifier.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Grouping<'p> {
    /// Sorted.
    pub(crate) names: &'p [String],
    /// Whether they are left out instead of kept.
    pub(crate) without: bool,
}

impl Grouping<'_> {
    /// Whether `name` is named.
    pub(crate) fn names(&self, name: &str) -> bool {
        self.names.iter().any(|n| n == name)
    }

    /// The labels of the group to which a series belongs.
    pub(crate) fn labels_of(&self, labels: &Labels) -> Labels {
        if self.without {
            labels.filtered(|name| name != METRIC_NAME && !self.names(name))
        } else if self.names.is_empty() {
            Labels::empty()
        } else {
            labels.filtered(|name| self.names(name))
        }
    }
}

/// Numbers groups in the order in which they appear.
#[derive(Debug, Default)]
pub(crate) struct Groups {
    numbers: HashMap<Labels, usize>,
    /// Meta data of each group.
    pub(crate) metas: Vec<SeriesMeta>,
}

impl Groups {
    /// The number of the group with these labels; `drop_name` if the name of any of its series goes away.
    pub(crate) fn number(&mut self, labels: Labels, drop_name: bool) -> usize {
        let next = self.metas.len();
        let number = *self.numbers.entry(labels.clone()).or_insert(next);
        if number == next {
            self.metas.push(SeriesMeta { labels, drop_name: false });
        }
        self.metas[number].drop_name |= drop_name;
        number
    }

    /// Number of groups.
    pub(crate) fn len(&self) -> usize {
        self.metas.len()
    }

    /// The group of each series of a block.
    pub(crate) fn of_block(&mut self, block: &Block, grouping: Grouping<'_>) -> Vec<usize> {
        block.series.iter().map(|meta| self.number(grouping.labels_of(&meta.labels), meta.drop_name)).collect()
    }
}

/// Evaluates an aggregation.
pub(crate) fn evaluate<'p>(evaluator: &mut Evaluator<'p>, node: &'p Node) -> Result<Block, EvalError> {
    let NodeKind::Aggregate { op, input, param, grouping, without } = &node.kind else { unreachable!("called for aggregations only") };
    let grouping = Grouping { names: grouping, without: *without };
    match op {
        AggregateOp::LimitRatio => {
            let ratios = parameter(evaluator, *param)?;
            let span = param.map_or(node.span, |param| evaluator.node(param).span);
            rank::limit_ratio(evaluator, *input, &ratios, span)
        }
        AggregateOp::Topk | AggregateOp::Bottomk | AggregateOp::Limitk => {
            let values = parameter(evaluator, *param)?;
            rank::evaluate(evaluator, *op, *input, &values, grouping)
        }
        AggregateOp::Quantile => {
            let values = parameter(evaluator, *param)?;
            let span = param.map_or(node.span, |param| evaluator.node(param).span);
            quantile::warn_about(evaluator, &values, span);
            quantile::evaluate(evaluator, *input, &values, grouping)
        }
        AggregateOp::CountValues => {
            let label = param.map(|param| evaluator.string(param)).unwrap_or_default();
            count_values::evaluate(evaluator, *input, &label, grouping)
        }
        _ => incremental(evaluator, node, *op, *input, grouping),
    }
}

fn parameter(evaluator: &mut Evaluator<'_>, param: Option<NodeId>) -> Result<Vec<f64>, EvalError> {
    param.map_or_else(|| Ok(Vec::new()), |param| evaluator.scalar(param))
}

fn incremental<'p>(
    evaluator: &mut Evaluator<'p>,
    node: &Node,
    op: AggregateOp,
    input: NodeId,
    grouping: Grouping<'_>,
) -> Result<Block, EvalError> {
    let steps = node.grid.steps;
    let mut groups = Groups::default();
    let mut states: Vec<State> = Vec::new();
    let mut held = Vec::new();
    evaluator.stream(input, &mut |evaluator, block| {
        for (i, meta) in block.series.iter().enumerate() {
            let group = groups.number(grouping.labels_of(&meta.labels), meta.drop_name);
            if group == states.len() {
                let state = State::new(op, steps);
                let bytes = state.heap_bytes() + meta.labels.heap_bytes();
                held.push(evaluator.budget.reserve(0, bytes as u64)?);
                states.push(state);
            }
            states[group].add(block.row(i));
        }
        Ok(())
    })?;
    let mut result = Block::with_rows(steps, states.len());
    for (meta, state) in groups.metas.into_iter().zip(states) {
        result.push_with(meta, |row| state.finish(op, row));
    }
    Ok(result)
}
