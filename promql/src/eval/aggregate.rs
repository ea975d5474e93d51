//! Aggregations over series.
//!
//! Those whose state is small (sums, counts, extremes) take tiles as they come; the others see all series at once. All are
//! independent of the order of series: sums are exact, ties are broken by labels.

pub(crate) mod count_values;
pub(crate) mod histogram;
pub(crate) mod quantile;
pub(crate) mod rank;
mod sampler;
pub(crate) mod state;

use super::Evaluator;
use super::block::{Block, SeriesMeta};
use super::function::Function;
use super::labels::is_metadata;
use super::selector::SMALL_TILE_BYTES;
use crate::ast::AggregateOp;
use crate::budget::{Budget, Reservation};
use crate::error::EvalError;
use crate::plan::{Node, NodeId, NodeKind};
use histogram::SumNotes;
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

    /// Whether the label `name` of a series is one of its group.
    fn keeps(&self, name: &str) -> bool {
        if self.without { name != METRIC_NAME && !self.names(name) } else { self.names(name) }
    }

    /// The labels of the group to which a series belongs.
    pub(crate) fn labels_of(&self, labels: &Labels) -> Labels {
        if self.is_one() { Labels::empty() } else { labels.filtered(|name| self.keeps(name)) }
    }

    /// Whether all series are of one group.
    fn is_one(&self) -> bool {
        !self.without && self.names.is_empty()
    }

    /// Whether groups may differ in what names a metric.
    fn reads_names(&self) -> bool {
        self.without || self.names.iter().any(|name| is_metadata(name))
    }
}

/// Numbers groups in the order in which they appear. A group is looked for by its labels as bytes, written into a buffer that stays,
/// so that only a new one takes memory.
#[derive(Debug, Default)]
pub(crate) struct Groups {
    numbers: HashMap<Box<[u8]>, usize>,
    key: Vec<u8>,
    /// Key and number of the group that was asked for last: neighbours are often of one group.
    last: (Vec<u8>, usize),
    /// Meta data of each group.
    pub(crate) metas: Vec<SeriesMeta>,
}

impl Groups {
    /// The number of the group with these labels; `drop_name` if the name of any of its series goes away.
    pub(crate) fn number(&mut self, labels: Labels, drop_name: bool) -> usize {
        self.write_key(&labels, |_| true);
        self.find(drop_name, || labels)
    }

    /// The number of the group to which a series with these labels belongs.
    pub(crate) fn number_of(&mut self, labels: &Labels, grouping: Grouping<'_>, drop_name: bool) -> usize {
        if grouping.is_one() {
            self.key.clear();
        } else {
            self.write_key(labels, |name| grouping.keeps(name));
        }
        self.find(drop_name, || grouping.labels_of(labels))
    }

    /// No text has the byte that ends names and values.
    fn write_key(&mut self, labels: &Labels, keeps: impl Fn(&str) -> bool) {
        const END: u8 = 0xff;
        self.key.clear();
        for (name, value) in labels.iter().filter(|(name, _)| keeps(name)) {
            self.key.extend_from_slice(name.as_bytes());
            self.key.push(END);
            self.key.extend_from_slice(value.as_bytes());
            self.key.push(END);
        }
    }

    fn find(&mut self, drop_name: bool, labels: impl FnOnce() -> Labels) -> usize {
        if self.last.0 != self.key || self.metas.is_empty() {
            let number = self.numbers.get(&self.key[..]).copied().unwrap_or_else(|| {
                self.numbers.insert(self.key.clone().into_boxed_slice(), self.metas.len());
                self.metas.push(SeriesMeta { labels: labels(), drop_name: false });
                self.metas.len() - 1
            });
            std::mem::swap(&mut self.last.0, &mut self.key);
            self.last.1 = number;
        }
        let number = self.last.1;
        self.metas[number].drop_name |= drop_name;
        number
    }

    /// Number of groups.
    pub(crate) fn len(&self) -> usize {
        self.metas.len()
    }

    /// The group of each series of a block.
    pub(crate) fn of_block(&mut self, block: &Block, grouping: Grouping<'_>) -> Vec<usize> {
        block.series.iter().map(|meta| self.number_of(&meta.labels, grouping, meta.drop_name)).collect()
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
        _ => partial(evaluator, node)?.finish(evaluator, node),
    }
}

/// Removes the histograms of an input, and tells of it, where the operator is about numbers only.
fn leave_out_histograms(evaluator: &mut Evaluator<'_>, op: AggregateOp, input: NodeId, block: &mut Block) {
    if block.clear_histograms() {
        info_ignored(evaluator, op, input);
    }
}

fn parameter(evaluator: &mut Evaluator<'_>, param: Option<NodeId>) -> Result<Vec<f64>, EvalError> {
    param.map_or_else(|| Ok(Vec::new()), |param| evaluator.scalar(param))
}

/// What a group takes beside its state and its labels: its key and its place in the table.
const GROUP_BYTES: usize = size_of::<SeriesMeta>() + size_of::<State>() + 128;

/// The groups of an aggregation and their states.
#[derive(Debug, Default)]
pub(crate) struct Partial {
    groups: Groups,
    states: Vec<State>,
    held: Vec<Reservation>,
    held_bytes: u64,
}

impl Partial {
    /// Whether there are no groups.
    pub(crate) fn is_empty(&self) -> bool {
        self.states.is_empty()
    }

    fn hold(&mut self, state: State, labels_bytes: usize, budget: &Budget) -> Result<(), EvalError> {
        let bytes = (state.heap_bytes() + labels_bytes + GROUP_BYTES) as u64;
        self.held.push(budget.reserve(0, bytes)?);
        self.held_bytes += bytes;
        self.states.push(state);
        Ok(())
    }

    /// Takes room for what states have grown by: sums of histograms have more buckets than they began with.
    fn hold_growth(&mut self, budget: &Budget) -> Result<(), EvalError> {
        let bytes: usize = self.states.iter().map(State::heap_bytes).sum();
        let growth = (bytes as u64).saturating_sub(self.held_bytes);
        if growth > 0 {
            self.held.push(budget.reserve(0, growth)?);
            self.held_bytes += growth;
        }
        Ok(())
    }

    /// Takes states of other series.
    pub(crate) fn merge(&mut self, groups: Vec<SeriesMeta>, states: Vec<State>, budget: &Budget) -> Result<(), EvalError> {
        for (meta, state) in groups.into_iter().zip(states) {
            let labels_bytes = meta.labels.heap_bytes();
            let group = self.groups.number(meta.labels, meta.drop_name);
            if group == self.states.len() {
                self.hold(state, labels_bytes, budget)?;
            } else {
                self.states[group].merge(state);
            }
        }
        self.hold_growth(budget)
    }

    /// Removes some groups, whose states take about `bytes`; none are added any more.
    pub(crate) fn take(&mut self, bytes: usize) -> (Vec<SeriesMeta>, Vec<State>) {
        let (mut at, mut taken) = (self.states.len(), 0);
        while at > 0 && taken < bytes {
            at -= 1;
            taken += self.states[at].heap_bytes();
        }
        (self.groups.metas.split_off(at), self.states.split_off(at))
    }

    /// The results of the aggregation `node`, groups in the order of their labels.
    ///
    /// # Errors
    /// There is no room for them beside the states.
    pub(crate) fn finish(self, evaluator: &mut Evaluator<'_>, node: &Node) -> Result<Block, EvalError> {
        let NodeKind::Aggregate { op, input, .. } = &node.kind else { unreachable!("called for aggregations only") };
        let mut result = Block::reserved(node.grid.steps, self.states.len(), evaluator.budget)?;
        let mut groups: Vec<(SeriesMeta, State)> = self.groups.metas.into_iter().zip(self.states).collect();
        groups.sort_by(|(a, _), (b, _)| a.labels.cmp(&b.labels));
        let mut notes = SumNotes::default();
        for (meta, state) in groups {
            result.push_with(meta, |row| state.finish(*op, row, &mut notes));
        }
        notes.report(evaluator.node(*input).span, &mut evaluator.annotations);
        Ok(result)
    }
}

/// The states of an aggregation whose state is small, over the series that are here.
pub(crate) fn partial<'p>(evaluator: &mut Evaluator<'p>, node: &'p Node) -> Result<Partial, EvalError> {
    let NodeKind::Aggregate { op, input, grouping, without, .. } = &node.kind else { unreachable!("called for aggregations only") };
    let grouping = Grouping { names: grouping, without: *without };
    let mut partial = Partial::default();
    let loses_name = matches!(&evaluator.node(*input).kind, NodeKind::Call { function: Function::Range(function), .. }
        if !function.keeps_name() && !evaluator.plan.params.delayed_name_removal);
    evaluator.names_unread = (loses_name && !grouping.reads_names()).then_some(*input);
    let tile_bytes = std::mem::replace(&mut evaluator.tile_bytes, SMALL_TILE_BYTES);
    let outcome = evaluator.stream(*input, &mut |evaluator, block| {
        for (i, meta) in block.series.iter().enumerate() {
            let group = partial.groups.number_of(&meta.labels, grouping, meta.drop_name);
            if group == partial.states.len() {
                partial.hold(State::new(*op, node.grid.steps), meta.labels.heap_bytes(), evaluator.budget)?;
            }
            let row = block.row(i);
            let name = if loses_name || row.histograms.is_empty() { "" } else { meta.labels.metric_name() };
            let grown = partial.states[group].add(row, name);
            if grown > 0 {
                partial.held.push(evaluator.budget.reserve(0, grown as u64)?);
                partial.held_bytes += grown as u64;
            }
            if !block.row(i).histograms.is_empty() {
                info_ignored(evaluator, *op, *input);
            }
        }
        evaluator.recycle(block);
        Ok(())
    });
    evaluator.tile_bytes = tile_bytes;
    outcome.map(|()| partial)
}

/// Adds the info that an aggregation leaves histograms out, if it does.
fn info_ignored(evaluator: &mut Evaluator<'_>, op: AggregateOp, input: NodeId) {
    use AggregateOp as A;
    if matches!(op, A::Min | A::Max | A::Stddev | A::Stdvar | A::Quantile | A::Topk | A::Bottomk) {
        let span = evaluator.node(input).span;
        evaluator.annotations.info(span, format!("ignored histogram in {} aggregation", op.as_str()));
    }
}
