//! A shard's share of a query: what is computed of its series alone, sent piece by piece.

use super::Evaluator;
use super::aggregate::{self, Grouping};
use super::block::{Block, SeriesMeta, set_bits};
use super::function::Function;
use super::range;
use crate::ast::AggregateOp;
use crate::budget::Budget;
use crate::error::EvalError;
use crate::frame::{Done, FRAME_BYTES, Failure, Frame, Piece};
use crate::plan::fragment::{Export, Fragment};
use crate::plan::{Grid, Node, NodeId, NodeKind};
use crate::source::{RawSeries, SelectId, SeriesSource, SourceError, histogram_bytes};
use crate::stats::Seen;
use model::Labels;
use std::sync::Arc;

/// Takes the frames of a shard's answer. An error ends the work: nobody waits for the answer any more.
pub(crate) type Send<'s> = &'s mut dyn FnMut(Frame) -> Result<(), EvalError>;

/// Takes the pieces of one export.
type Pieces<'s> = &'s mut dyn FnMut(Piece) -> Result<(), EvalError>;

impl Fragment {
    /// Computes the share of the series in `source` and sends it, the last frame telling how it ended: a share that cannot be
    /// computed is an answer too. CPU-bound; checks `budget` at least once a series.
    ///
    /// # Errors
    /// Those of `send` alone.
    pub fn execute(&self, source: &dyn SeriesSource, budget: &Budget, send: Send<'_>) -> Result<(), EvalError> {
        let mut evaluator = Evaluator::new(&self.plan, source, budget);
        for export in &self.exports {
            if let Export::Raw(select) = export {
                evaluator.keep(*select);
            }
        }
        let mut seen = Vec::new();
        for (number, export) in self.exports.iter().enumerate() {
            let mut is_wanted = true;
            let outcome = evaluator.share_seen((self.grid_of(*export), &mut seen), number, *export, &mut |piece| {
                let sent = send(Frame(piece));
                is_wanted &= sent.is_ok();
                sent
            });
            match outcome {
                Err(error) if !is_wanted => return Err(error),
                Err(error) => return send(Frame(Piece::Failed(Box::new(evaluator.failure(error))))),
                Ok(()) => {}
            }
        }
        let (annotations, mut stats) = evaluator.finish();
        (stats.samples_peak, stats.bytes_peak) = budget.peak();
        send(Frame(Piece::Done(Box::new(Done { annotations, stats, seen }))))
    }
}

impl<'p> Evaluator<'p> {
    /// The error with its place.
    fn failure(&self, error: EvalError) -> Failure {
        let (node, step) = (self.failed_at.map_or(0, |id| id.0), self.failed_step.get() as u64);
        let error = match error {
            EvalError::Source(SourceError::Refused(error)) => *error,
            error => error,
        };
        Failure { node, step, error }
    }

    /// As [`Self::share`]; notes what that looked at.
    fn share_seen(
        &mut self,
        (grid, seen): (Option<Grid>, &mut Vec<Seen>),
        export: usize,
        what: Export,
        send: Pieces<'_>,
    ) -> Result<(), EvalError> {
        let steps = grid.map_or(0, |grid| grid.steps);
        self.held.push(self.budget.reserve(0, (steps as u64).saturating_mul(Seen::STEP_BYTES))?);
        self.seen = Seen::new(steps);
        self.share(export, what, send)?;
        seen.push(std::mem::take(&mut self.seen));
        Ok(())
    }

    fn share(&mut self, export: usize, what: Export, send: Pieces<'_>) -> Result<(), EvalError> {
        match what {
            Export::Series(id) => self.stream(id, &mut |evaluator, block| send_rows((export, evaluator.budget), block, send)),
            Export::Raw(select) => self.samples(export, select, send),
            Export::Partial(id) => self.partial(export, id, send),
        }
    }

    fn samples(&mut self, export: usize, select: SelectId, send: Pieces<'_>) -> Result<(), EvalError> {
        let all = self.read(select)?;
        let mut series: Vec<Arc<RawSeries>> = Vec::new();
        let mut bytes = 0;
        for one in all.iter() {
            self.budget.check()?;
            bytes += one.heap_bytes();
            series.push(Arc::clone(one));
            if bytes >= FRAME_BYTES {
                send(Piece::Samples { export, series: std::mem::take(&mut series) })?;
                bytes = 0;
            }
        }
        if series.is_empty() { Ok(()) } else { send(Piece::Samples { export, series }) }
    }

    fn partial(&mut self, export: usize, id: NodeId, send: Pieces<'_>) -> Result<(), EvalError> {
        let node = self.node(id);
        match &node.kind {
            NodeKind::Aggregate { op, input, grouping, without, .. } => match op {
                AggregateOp::Topk | AggregateOp::Bottomk | AggregateOp::Limitk | AggregateOp::CountValues => {
                    self.stream(id, &mut |evaluator, block| send_rows((export, evaluator.budget), block, send))
                }
                AggregateOp::Quantile => {
                    let grouping = Grouping { names: grouping, without: *without };
                    self.stream(*input, &mut |evaluator, mut block| {
                        block.series.iter_mut().for_each(|meta| meta.labels = grouping.labels_of(&meta.labels));
                        send_rows((export, evaluator.budget), block, send)
                    })
                }
                _ => self.states(export, node, send),
            },
            NodeKind::Call { function: Function::Scalar, args } => {
                let block = self.first_two(args[0])?;
                send_rows((export, self.budget), block, send)
            }
            NodeKind::Call { function: Function::AbsentOverTime, args } => {
                let present = range::presence(self, node, args[0])?;
                send_rows((export, self.budget), presence(present), send)
            }
            NodeKind::Call { function: Function::Absent, args } => {
                let mut present = vec![false; node.grid.steps];
                self.stream(args[0], &mut |_, block| {
                    for i in 0..block.len() {
                        set_bits(&block.row(i).present()).for_each(|step| present[step] = true);
                    }
                    Ok(())
                })?;
                send_rows((export, self.budget), presence(present), send)
            }
            _ => unreachable!("only aggregations and summaries have partial results"),
        }
    }

    fn states(&mut self, export: usize, node: &'p Node, send: Pieces<'_>) -> Result<(), EvalError> {
        let mut partial = aggregate::partial(self, node)?;
        while !partial.is_empty() {
            let (groups, states) = partial.take(FRAME_BYTES);
            send(Piece::States { export, groups, states })?;
        }
        Ok(())
    }

    /// Two rows with the first two floats of each step: they tell whether there is one, which, and whether there are more.
    fn first_two(&mut self, input: NodeId) -> Result<Block, EvalError> {
        let steps = self.node(input).grid.steps;
        let _held = self.budget.reserve(0, steps as u64 * 16)?;
        let mut two = Block::with_rows(steps, 2);
        let mut rows = [vec![None; steps], vec![None; steps]];
        self.stream(input, &mut |_, block| {
            for i in 0..block.len() {
                block.row(i).for_each(|step, value| {
                    let [first, second] = &mut rows;
                    let slot = if first[step].is_none() { &mut first[step] } else { &mut second[step] };
                    *slot = slot.or(Some(value));
                });
            }
            Ok(())
        })?;
        for row in rows {
            two.push_with(anonymous(), |out| {
                row.iter().enumerate().filter_map(|(step, value)| Some((step, (*value)?))).for_each(|(step, value)| out.set(step, value));
            });
        }
        Ok(two)
    }
}

fn anonymous() -> SeriesMeta {
    SeriesMeta { labels: Labels::empty(), drop_name: false }
}

/// One row with a value where there is something.
fn presence(present: Vec<bool>) -> Block {
    let mut block = Block::with_rows(present.len(), 1);
    block.push_with(anonymous(), |row| (0..present.len()).filter(|step| present[*step]).for_each(|step| row.set(step, 1.0)));
    block
}

/// Comparisons leave rows without values.
fn without_empty_rows(block: Block, budget: &Budget) -> Result<Block, EvalError> {
    let is_empty = |i: &usize| block.row(*i).is_empty();
    if !(0..block.len()).any(|i| is_empty(&i)) {
        return Ok(block);
    }
    let mut kept = Block::new(block.steps());
    (0..block.len()).filter(|i| !is_empty(i)).for_each(|i| kept.push(block.series[i].clone(), block.row(i)));
    kept.hold(budget)
}

/// Sends a block in pieces of a size that a message takes.
fn send_rows((export, budget): (usize, &Budget), block: Block, send: Pieces<'_>) -> Result<(), EvalError> {
    let block = without_empty_rows(block, budget)?;
    if block.is_empty() {
        return Ok(());
    }
    let row_bytes = |i: usize| block.steps() * 8 + block.row(i).histograms.iter().map(|(_, h)| histogram_bytes(h)).sum::<usize>();
    let bytes: usize = (0..block.len()).map(row_bytes).sum();
    if bytes <= 2 * FRAME_BYTES {
        return send(Piece::Rows { export, block });
    }
    let mut piece = Block::new(block.steps());
    let mut held = 0;
    for (i, meta) in block.series.iter().enumerate() {
        piece.push(meta.clone(), block.row(i));
        held += row_bytes(i);
        if held >= FRAME_BYTES || i + 1 == block.len() {
            let full = std::mem::replace(&mut piece, Block::new(block.steps()));
            send(Piece::Rows { export, block: full.hold(budget)? })?;
            held = 0;
        }
    }
    Ok(())
}
