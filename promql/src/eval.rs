//! Evaluates plans: operators pass tiles of series, each with its values at all steps.
//!
//! Operators that work series by series stream tiles ([`Evaluator::stream`]); those that must see all series first collect them
//! ([`Evaluator::vector`]). Where Prometheus has an order of operations inside one series it is kept to the bit; sums over series
//! are exact and therefore do not depend on any order.

pub(crate) mod absent;
pub(crate) mod aggregate;
pub(crate) mod binary;
pub(crate) mod block;
pub(crate) mod function;
pub(crate) mod import;
pub(crate) mod info;
pub(crate) mod labels;
pub(crate) mod range;
pub(crate) mod resets;
pub(crate) mod selector;
pub(crate) mod share;

use crate::annotations::Annotations;
use crate::ast::{AggregateOp, ValueType};
use crate::budget::{Budget, Reservation};
use crate::error::EvalError;
use crate::plan::{Node, NodeId, NodeKind, Plan, RangeInput};
use crate::source::{RawSeries, SelectId, SeriesSource, SeriesView, histogram_bytes, histogram_samples};
use crate::stats::{Seen, Stats};
use crate::value::{SampleValue, Series, Value, VectorSample};
use block::Block;
use function::Function;
use import::Import;
use std::cell::Cell;
use std::collections::HashMap;
use std::sync::Arc;

/// Takes the tiles of a stream one by one.
pub(crate) type Sink<'s, 'p> = &'s mut dyn FnMut(&mut Evaluator<'p>, Block) -> Result<(), EvalError>;

/// Takes the series of a read one by one.
pub(crate) type ViewSink<'s, 'p> = &'s mut dyn FnMut(&mut Evaluator<'p>, SeriesView<'_>) -> Result<(), EvalError>;

/// One run of one plan.
pub(crate) struct Evaluator<'p> {
    pub(crate) plan: &'p Plan,
    pub(crate) budget: &'p Budget,
    pub(crate) annotations: Annotations,
    pub(crate) stats: Stats,
    /// What was looked at at the steps of the grid on which is being evaluated now.
    pub(crate) seen: Seen,
    /// What shards looked at for what is imported, by the node whose value it is.
    pub(crate) seen_at_shards: HashMap<NodeId, Seen>,
    source: &'p dyn SeriesSource,
    read: HashMap<SelectId, KeptRead>,
    /// Reads that are looked at more than once, so that they are kept: how often they still will be.
    kept: HashMap<SelectId, usize>,
    /// A node that is about to be streamed to where nobody looks at the names of its series.
    pub(crate) names_unread: Option<NodeId>,
    /// Bytes of values in a tile of a stream, at most.
    pub(crate) tile_bytes: usize,
    /// A block whose room is free to be used again.
    spare: Option<Block>,
    held: Vec<Reservation>,
    /// What shards computed, by the node whose value it is.
    pub(crate) imports: HashMap<NodeId, Import>,
    /// The node that failed.
    failed_at: Option<NodeId>,
    /// The step at which it failed.
    failed_step: Cell<usize>,
}

impl<'p> Evaluator<'p> {
    pub(crate) fn new(plan: &'p Plan, source: &'p dyn SeriesSource, budget: &'p Budget) -> Self {
        Self {
            plan,
            budget,
            annotations: Annotations::default(),
            stats: Stats::default(),
            seen: Seen::default(),
            seen_at_shards: HashMap::new(),
            source,
            read: HashMap::new(),
            kept: kept_reads(plan),
            names_unread: None,
            tile_bytes: selector::TILE_BYTES,
            spare: None,
            held: Vec::new(),
            imports: HashMap::new(),
            failed_at: None,
            failed_step: Cell::new(0),
        }
    }

    /// What was collected beside the value.
    pub(crate) fn finish(self) -> (Annotations, Stats) {
        let samples_queryable = self.seen.total();
        let Seen { looked: samples_per_step, read: samples_read_per_step } = self.seen;
        let stats = Stats { samples_queryable, samples_per_step, samples_read_per_step, ..self.stats };
        (self.annotations, stats)
    }

    /// Evaluates something on another grid; also answers how many samples that looked at and read. The room for the grid must be
    /// reserved.
    pub(crate) fn on_grid<T>(
        &mut self,
        steps: usize,
        evaluate: impl FnOnce(&mut Self) -> Result<T, EvalError>,
    ) -> Result<(T, Seen), EvalError> {
        let outer = std::mem::replace(&mut self.seen, Seen::new(steps));
        let outcome = evaluate(self);
        let inner = std::mem::replace(&mut self.seen, outer);
        outcome.map(|value| (value, inner))
    }

    /// The value of the whole query.
    pub(crate) fn run(&mut self) -> Result<Value, EvalError> {
        let root = self.plan.root;
        let node = self.node(root);
        let is_instant = self.plan.params.step_ms == 0;
        let at = node.grid.start_ms;
        self.held.push(self.budget.reserve(0, (node.grid.steps as u64).saturating_mul(Seen::STEP_BYTES))?);
        self.seen = Seen::new(node.grid.steps);
        match node.value_type {
            ValueType::String => Ok(Value::String { timestamp_ms: at, value: self.string(root) }),
            ValueType::Scalar => {
                let values = self.scalar(root)?;
                Ok(match (is_instant, values.first()) {
                    (true, Some(value)) => Value::Scalar { timestamp_ms: at, value: *value },
                    _ => {
                        let points = values.iter().enumerate().map(|(i, v)| (node.grid.time(i), *v)).collect();
                        Value::Matrix(vec![Series::floats(model::Labels::empty(), points)])
                    }
                })
            }
            ValueType::Matrix => range::matrix_value(self, node).map(Value::Matrix),
            ValueType::Vector if is_instant => {
                let mut samples = Vec::new();
                self.stream_result(true, &mut |evaluator, block| {
                    samples.extend(vector_samples(&block));
                    evaluator.recycle(block);
                    Ok(())
                })?;
                if !self.is_ordered(root) {
                    samples.sort_by(|a, b| a.labels.cmp(&b.labels));
                }
                Ok(Value::Vector { timestamp_ms: at, samples })
            }
            ValueType::Vector => {
                let mut series = Vec::new();
                self.stream_result(false, &mut |evaluator, block| {
                    let held = append_series(evaluator, node, &block, &mut series)?;
                    evaluator.held.push(held);
                    evaluator.recycle(block);
                    Ok(())
                })?;
                series.sort_by(|a, b| a.labels.cmp(&b.labels));
                Ok(Value::Matrix(series))
            }
        }
    }

    /// Whether the order of the elements of an instant vector is part of its value: operators that sort give it, those that work
    /// series by series keep it.
    fn is_ordered(&self, id: NodeId) -> bool {
        match &self.node(id).kind {
            NodeKind::StepInvariant(inner) | NodeKind::Negate(inner) => self.is_ordered(*inner),
            NodeKind::Aggregate { op, .. } => matches!(op, AggregateOp::Topk | AggregateOp::Bottomk | AggregateOp::Limitk),
            NodeKind::Call { function: Function::Sort { .. } | Function::SortByLabel { .. }, .. } => true,
            NodeKind::Call { function, args } => {
                function.series_argument().and_then(|index| args.get(index)).is_some_and(|arg| self.is_ordered(*arg))
            }
            NodeKind::Binary { left, right, matching: None, .. } => self.is_ordered(*left) || self.is_ordered(*right),
            _ => false,
        }
    }

    /// Streams the series of the query, their names dropped if that was put off.
    fn stream_result(&mut self, is_instant: bool, sink: Sink<'_, 'p>) -> Result<(), EvalError> {
        if !self.plan.params.delayed_name_removal {
            return self.stream(self.plan.root, sink);
        }
        let block = self.vector(self.plan.root)?;
        let block = labels::remove_dropped_names(block, is_instant, self.budget)?;
        sink(self, block)
    }

    pub(crate) fn node(&self, id: NodeId) -> &'p Node {
        self.plan.node(id)
    }

    /// The bytes of a string node; empty for any other.
    pub(crate) fn string(&self, id: NodeId) -> Vec<u8> {
        match &self.node(id).kind {
            NodeKind::String(bytes) => bytes.clone(),
            _ => Vec::new(),
        }
    }

    /// The series of a select; read once.
    pub(crate) fn read(&mut self, id: SelectId) -> Result<Arc<[Arc<RawSeries>]>, EvalError> {
        if let Some(read) = self.read.get(&id) {
            return Ok(Arc::clone(&read.series));
        }
        self.budget.check()?;
        let set = self.source.select(self.plan.select(id))?;
        self.stats.series_read += set.series.len() as u64;
        self.stats.samples_read += set.series.iter().map(|s| s.len() as u64).sum::<u64>();
        let bytes = set.series.iter().map(|series| series.heap_bytes()).sum::<usize>();
        let held = self.budget.reserve(0, bytes as u64)?;
        let series: Arc<[Arc<RawSeries>]> = Arc::from(set.series);
        self.read.insert(id, KeptRead { series: Arc::clone(&series), _held: held });
        Ok(series)
    }

    /// Hands the series of a read to `each`: those that are kept in the order of their labels, others as the source finds them.
    pub(crate) fn visit(&mut self, id: SelectId, each: ViewSink<'_, 'p>) -> Result<(), EvalError> {
        if self.kept.contains_key(&id) || self.read.contains_key(&id) {
            self.read(id)?.iter().try_for_each(|series| {
                self.budget.check()?;
                each(self, series.view())
            })?;
            self.let_go(id);
            return Ok(());
        }
        self.budget.check()?;
        let source = self.source;
        source.visit(self.plan.select(id), &mut |series| {
            self.budget.check()?;
            self.stats.series_read += 1;
            self.stats.samples_read += (series.timestamps.len() + series.histograms.len()) as u64;
            each(self, series)
        })
    }

    /// Notes that a kept read was looked at; its room is free after the last time.
    fn let_go(&mut self, id: SelectId) {
        let left = self.kept.get_mut(&id).map(|left| {
            *left = left.saturating_sub(1);
            *left
        });
        if left == Some(0) {
            self.kept.remove(&id);
            self.read.remove(&id);
        }
    }

    /// Keeps a read, whoever looks at it, until the end.
    pub(crate) fn keep(&mut self, id: SelectId) {
        self.kept.insert(id, usize::MAX);
    }

    /// A tile without series that will have up to `rows`.
    ///
    /// # Errors
    /// There is no room for it.
    pub(crate) fn blank(&mut self, steps: usize, rows: usize) -> Result<Block, EvalError> {
        match self.spare.take() {
            Some(spare) if spare.steps() == steps => Ok(spare),
            _ => Block::growing(steps, rows, self.budget),
        }
    }

    /// Takes a block that is done with, so that the next one has its room.
    pub(crate) fn recycle(&mut self, mut block: Block) {
        // What is kept must be counted.
        if block.has_room() {
            block.clear();
            self.spare = Some(block);
        }
    }

    /// The value of a scalar node at each step.
    pub(crate) fn scalar(&mut self, id: NodeId) -> Result<Vec<f64>, EvalError> {
        let node = self.node(id);
        let steps = node.grid.steps;
        let _held = self.budget.reserve(0, (steps as u64).saturating_mul(8))?;
        match &node.kind {
            NodeKind::Number(value) => Ok(vec![*value; steps]),
            NodeKind::StepInvariant(once) => {
                let (values, seen) = self.on_grid(1, |evaluator| evaluator.scalar(*once))?;
                self.seen.add_invariant(&seen);
                Ok(vec![values.first().copied().unwrap_or(f64::NAN); steps])
            }
            NodeKind::Negate(inner) => Ok(self.scalar(*inner)?.into_iter().map(|v| -v).collect()),
            NodeKind::Binary { op, left, right, .. } => {
                let (left, right) = (self.scalar(*left)?, self.scalar(*right)?);
                Ok(left.into_iter().zip(right).map(|(l, r)| binary::scalar_operation(*op, l, r)).collect())
            }
            NodeKind::Call { function, args } => function::scalar(self, node, *function, args),
            _ => unreachable!("the type check lets only scalars be used as scalars"),
        }
    }

    /// All series of a vector node.
    pub(crate) fn vector(&mut self, id: NodeId) -> Result<Block, EvalError> {
        let mut all = Block::new(self.node(id).grid.steps);
        self.stream(id, &mut |evaluator, block| {
            all.append(block.account(evaluator.budget)?);
            Ok(())
        })?;
        Ok(all)
    }

    /// Hands the series of a vector node to `sink`, tile by tile.
    pub(crate) fn stream(&mut self, id: NodeId, sink: Sink<'_, 'p>) -> Result<(), EvalError> {
        self.see_imported(id);
        let outcome = match self.imports.remove(&id) {
            Some(import) => self.stream_import(id, import, sink),
            None => self.compute(id, sink),
        };
        if outcome.is_err() {
            // The innermost node comes first.
            self.failed_at.get_or_insert(id);
        }
        outcome
    }

    /// Counts what shards looked at for a node.
    pub(crate) fn see_imported(&mut self, id: NodeId) {
        if let Some(seen) = self.seen_at_shards.remove(&id) {
            self.seen.merge(&seen);
        }
    }

    /// Notes at which step a node is about to fail.
    pub(crate) fn fail_at(&self, step: usize) {
        self.failed_step.set(step);
    }

    fn compute(&mut self, id: NodeId, sink: Sink<'_, 'p>) -> Result<(), EvalError> {
        let node = self.node(id);
        self.budget.check()?;
        let _row = self.budget.reserve(0, (node.grid.steps as u64).saturating_mul(8))?;
        match &node.kind {
            NodeKind::Vector { .. } => selector::stream(self, node, sink),
            NodeKind::Call { function: Function::Range(function), args } => range::stream(self, node, *function, args, sink),
            NodeKind::Call { function, args } => function::stream(self, node, *function, args, sink),
            NodeKind::Negate(inner) => function::map_rows(self, *inner, sink, |_, row| {
                row.values.iter_mut().for_each(|v| *v = -*v);
                row.histograms.iter_mut().for_each(|(_, histogram)| Arc::make_mut(histogram).mul(-1.0));
            }),
            NodeKind::StepInvariant(once) => {
                let steps = node.grid.steps;
                let stream = |evaluator: &mut Self| {
                    evaluator.stream(*once, &mut |evaluator, block| {
                        let block = repeat(&block, steps, evaluator.budget)?;
                        sink(evaluator, block)
                    })
                };
                let ((), seen) = self.on_grid(1, stream)?;
                self.seen.add_invariant(&seen);
                Ok(())
            }
            NodeKind::Aggregate { .. } => {
                let block = aggregate::evaluate(self, node)?;
                sink(self, block)
            }
            NodeKind::Binary { .. } => binary::stream(self, node, sink),
            NodeKind::Number(_) | NodeKind::String(_) | NodeKind::Matrix { .. } => {
                unreachable!("the type check lets only instant vectors be used as vectors")
            }
        }
    }
}

impl std::fmt::Debug for Evaluator<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Evaluator").field("stats", &self.stats).finish_non_exhaustive()
    }
}

/// The reads that are looked at more than once, and how often: by several selectors, or by `info`, which asks for times and values.
fn kept_reads(plan: &Plan) -> HashMap<SelectId, usize> {
    let mut looks: HashMap<SelectId, usize> = HashMap::new();
    for node in &plan.nodes {
        if let NodeKind::Vector { select, .. } | NodeKind::Matrix { input: RangeInput::Select(select), .. } = &node.kind {
            let count = looks.entry(*select).or_default();
            *count = count.saturating_add(1);
        }
        if let NodeKind::Call { function: Function::Info { .. }, args } = &node.kind
            && let NodeKind::Vector { select, .. } = &plan.node(args[1]).kind
        {
            looks.insert(*select, usize::MAX);
        }
    }
    looks.retain(|_, count| *count > 1);
    looks
}

/// A read that is kept.
struct KeptRead {
    series: Arc<[Arc<RawSeries>]>,
    _held: Reservation,
}

/// Copies the only step of each series to all `steps`.
fn repeat(once: &Block, steps: usize, budget: &Budget) -> Result<Block, EvalError> {
    let mut block = Block::reserved(steps, once.len(), budget)?;
    for (i, meta) in once.series.iter().enumerate() {
        if let Some(value) = once.row(i).get(0) {
            block.push_with(meta.clone(), |row| row.fill(value));
        } else if let Some(histogram) = once.row(i).histogram(0) {
            block.push_with(meta.clone(), |row| (0..steps).for_each(|step| row.set_histogram(step, Arc::clone(histogram))));
        }
    }
    Ok(block)
}

fn vector_samples(block: &Block) -> impl Iterator<Item = VectorSample> + '_ {
    let sample = |(i, meta): (usize, &block::SeriesMeta)| {
        let row = block.row(i);
        let value = row.get(0).map(SampleValue::Float).or_else(|| row.histogram(0).cloned().map(SampleValue::Histogram))?;
        Some(VectorSample { labels: meta.labels.clone(), value })
    };
    block.series.iter().enumerate().filter_map(sample)
}

/// Adds the series of a tile to a matrix and reserves the room they take.
fn append_series(evaluator: &Evaluator<'_>, node: &Node, block: &Block, matrix: &mut Vec<Series>) -> Result<Reservation, EvalError> {
    let (mut samples, mut bytes) = (0, 0);
    for (i, meta) in block.series.iter().enumerate() {
        let row = block.row(i);
        let mut points = Vec::with_capacity(row.count());
        row.for_each(|step, value| points.push((node.grid.time(step), value)));
        let histograms: Vec<_> = row.histograms.iter().map(|(step, h)| (node.grid.time(*step), Arc::clone(h))).collect();
        samples += points.len() as u64 + histograms.iter().map(|(_, h)| histogram_samples(h)).sum::<u64>();
        bytes += points.len() * 16 + histograms.iter().map(|(_, h)| histogram_bytes(h)).sum::<usize>();
        if !points.is_empty() || !histograms.is_empty() {
            matrix.push(Series { labels: meta.labels.clone(), points, histograms });
        }
    }
    evaluator.budget.reserve(samples, bytes as u64)
}
