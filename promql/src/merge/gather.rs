//! The shares of all shards become one, and the root is computed of it.

use crate::annotations::Annotations;
use crate::budget::{Budget, Reservation};
use crate::error::EvalError;
use crate::eval::Evaluator;
use crate::eval::aggregate::Partial;
use crate::eval::block::Block;
use crate::eval::import::Import;
use crate::frame::{Done, Failure, Frame, Piece};
use crate::plan::fragment::{Distributed, Entry, Merge};
use crate::source::{GatheredSource, RawSeries, SelectId, SeriesSource};
use crate::stats::Stats;
use crate::value::QueryOutput;
use std::collections::HashMap;
use std::sync::Arc;

/// Takes the answers of all shards in any order. States are merged as they come, so that they take the room of one shard's.
#[derive(Debug)]
pub struct Gather {
    shares: Vec<Share>,
    failure: Option<Failure>,
    annotations: Annotations,
    stats: Stats,
    budget: Budget,
    held: Vec<Reservation>,
}

/// What has come of one export.
#[derive(Debug)]
enum Share {
    Rows(Vec<Block>, Merge),
    States(Partial),
    Samples(Vec<Arc<RawSeries>>),
}

impl Gather {
    /// Nothing yet.
    #[must_use]
    pub fn new(distributed: &Distributed, budget: &Budget) -> Self {
        let share = |export: &_| match distributed.fragment.merge_of(*export) {
            Merge::States => Share::States(Partial::default()),
            Merge::Samples => Share::Samples(Vec::new()),
            merge => Share::Rows(Vec::new(), merge),
        };
        Self {
            shares: distributed.fragment.exports.iter().map(share).collect(),
            failure: None,
            annotations: Annotations::default(),
            stats: Stats::default(),
            budget: budget.clone(),
            held: Vec::new(),
        }
    }

    /// Takes the whole answer of one shard.
    ///
    /// # Errors
    /// The last frame is missing, or what has come would take more memory than the query may. That a shard could not compute its
    /// share is told at the end, so that of several errors the same is told whichever came first.
    pub fn add(&mut self, answer: Vec<Frame>) -> Result<(), EvalError> {
        if !answer.last().is_some_and(Frame::is_last) {
            return Err(EvalError::BadAnswer { detail: "it has no end".to_owned() });
        }
        for frame in answer {
            self.take(frame.0)?;
        }
        Ok(())
    }

    fn take(&mut self, piece: Piece) -> Result<(), EvalError> {
        match piece {
            Piece::Rows { export, block } => match self.shares.get_mut(export) {
                Some(Share::Rows(blocks, _)) => blocks.push(block.account(&self.budget)?),
                _ => return Err(misplaced()),
            },
            Piece::States { export, groups, states } => match self.shares.get_mut(export) {
                Some(Share::States(partial)) => partial.merge(groups, states, &self.budget)?,
                _ => return Err(misplaced()),
            },
            Piece::Samples { export, series } => match self.shares.get_mut(export) {
                Some(Share::Samples(all)) => {
                    let bytes: usize = series.iter().map(|one| one.heap_bytes()).sum();
                    self.held.push(self.budget.reserve(0, bytes as u64)?);
                    all.extend(series);
                }
                _ => return Err(misplaced()),
            },
            Piece::Done(done) => {
                let Done { annotations, stats } = *done;
                self.annotations.merge(annotations);
                self.stats.series_read += stats.series_read;
                self.stats.samples_read += stats.samples_read;
                self.stats.samples_queryable += stats.samples_queryable;
            }
            Piece::Failed(failure) => {
                self.failure = Some(match self.failure.take() {
                    Some(known) => known.first(*failure),
                    None => *failure,
                });
            }
        }
        Ok(())
    }

    /// Computes the root of the plan. CPU-bound. `query` is the text that was parsed, for the positions of annotations.
    ///
    /// # Errors
    /// A shard failed, the budget ended, or the data does not fit the query (duplicate series and the like).
    pub fn finish(self, distributed: &Distributed, query: &str) -> Result<QueryOutput, EvalError> {
        if let Some(failure) = self.failure {
            return Err(failure.error);
        }
        let mut imports = HashMap::new();
        let mut samples: Vec<(SelectId, Vec<Arc<RawSeries>>)> = Vec::new();
        for (share, entry) in self.shares.into_iter().zip(&distributed.entries) {
            match (share, entry) {
                (Share::Samples(series), Entry::Select(select)) => samples.push((*select, series)),
                (Share::Rows(blocks, merge), Entry::Node(node)) => {
                    imports.insert(*node, Import::Rows { blocks, merge });
                }
                (Share::States(partial), Entry::Node(node)) => {
                    imports.insert(*node, Import::States(partial));
                }
                _ => return Err(misplaced()),
            }
        }
        let source = GatheredSource::of_shared(samples);
        let mut evaluator = Evaluator::new(&distributed.root, &source, &self.budget);
        evaluator.imports = imports;
        evaluator.annotations = self.annotations;
        let value = evaluator.run()?;
        let (annotations, of_root) = evaluator.finish();
        let mut stats = self.stats;
        // What the root read, shards read before.
        stats.samples_queryable += of_root.samples_queryable;
        (stats.samples_peak, stats.bytes_peak) = self.budget.peak();
        let (warnings, infos) = annotations.render(query);
        Ok(QueryOutput { value, warnings, infos, stats })
    }
}

fn misplaced() -> EvalError {
    EvalError::BadAnswer { detail: "a frame is of another kind than its export".to_owned() }
}

impl Distributed {
    /// Evaluates in this process, each source a shard.
    ///
    /// # Errors
    /// As [`Gather::finish`].
    pub fn evaluate(&self, query: &str, shards: &[&dyn SeriesSource], budget: &Budget) -> Result<QueryOutput, EvalError> {
        let mut gather = Gather::new(self, budget);
        if !self.fragment.is_empty() {
            for shard in shards {
                let mut answer = Vec::new();
                self.fragment.execute(*shard, budget, &mut |frame| {
                    answer.push(frame);
                    Ok(())
                })?;
                gather.add(answer)?;
            }
        }
        gather.finish(self, query)
    }
}
