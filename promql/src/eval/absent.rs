//! `absent` and `absent_over_time`.

use super::block::{Block, SeriesMeta, set_bits};
use super::{Evaluator, Sink, range};
use crate::error::EvalError;
use crate::plan::{Node, NodeId, NodeKind, RangeInput};
use crate::source::SelectId;
use model::labels::METRIC_NAME;
use model::{Labels, LabelsBuilder, MatchOp};
use std::collections::HashSet;

/// `absent(vector)`.
pub(crate) fn of_vector<'p>(evaluator: &mut Evaluator<'p>, node: &Node, input: NodeId, sink: Sink<'_, 'p>) -> Result<(), EvalError> {
    let labels = match &argument(evaluator, input).kind {
        NodeKind::Vector { select, .. } => labels_of(evaluator, *select),
        _ => Labels::empty(),
    };
    let mut present = vec![false; node.grid.steps];
    evaluator.stream(input, &mut |_, block| {
        for i in 0..block.len() {
            set_bits(&block.row(i).present()).for_each(|step| present[step] = true);
        }
        Ok(())
    })?;
    emit(evaluator, labels, &present, sink)
}

/// `absent_over_time(range)`.
pub(crate) fn over_time<'p>(evaluator: &mut Evaluator<'p>, node: &Node, input: NodeId, sink: Sink<'_, 'p>) -> Result<(), EvalError> {
    let labels = match &evaluator.node(input).kind {
        NodeKind::Matrix { input: RangeInput::Select(select), .. } => labels_of(evaluator, *select),
        _ => Labels::empty(),
    };
    let present = range::presence(evaluator, node, input)?;
    emit(evaluator, labels, &present, sink)
}

/// The node behind folding.
fn argument<'p>(evaluator: &Evaluator<'p>, id: NodeId) -> &'p Node {
    match &evaluator.node(id).kind {
        NodeKind::StepInvariant(inner) => argument(evaluator, *inner),
        _ => evaluator.node(id),
    }
}

/// What an absent series would certainly be labelled with: the labels that exactly one condition, an equality, is about.
fn labels_of(evaluator: &Evaluator<'_>, select: SelectId) -> Labels {
    let mut builder = LabelsBuilder::default();
    let mut seen = HashSet::new();
    for matcher in &evaluator.plan.select(select).matchers {
        if matcher.name == METRIC_NAME {
            continue;
        }
        if seen.insert(&matcher.name) && matcher.op == MatchOp::Equal {
            builder.set(&matcher.name, &matcher.value);
        } else {
            builder.remove(&matcher.name);
        }
    }
    builder.build()
}

fn emit<'p>(evaluator: &mut Evaluator<'p>, labels: Labels, present: &[bool], sink: Sink<'_, 'p>) -> Result<(), EvalError> {
    let mut block = Block::with_rows(present.len(), 1);
    block.push_with(SeriesMeta { labels, drop_name: false }, |row| {
        (0..present.len()).filter(|step| !present[*step]).for_each(|step| row.set(step, 1.0));
    });
    if block.is_empty() { Ok(()) } else { sink(evaluator, block) }
}
