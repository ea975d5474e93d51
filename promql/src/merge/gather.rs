//! The shares of all shards become one, and the root is computed of it.

use crate::annotations::Annotations;
use crate::budget::{Budget, Reservation};
use crate::error::EvalError;
use crate::eval::Evaluator;
use crate::eval::aggregate::Partial;
use crate::eval::block::Block;
use crate::eval::import::Import;
use crate::frame::{Done, Failure, Frame, Piece};
use crate::plan::fragment::{Distributed, Entry, Fragment, Merge};
use crate::source::{GatheredSource, RawSeries, SelectId, SeriesSource, histogram_bytes};
use crate::stats::{Seen, Stats};
use crate::value::{QueryOutput, Series, Value};
use model::Labels;
use std::collections::HashMap;
use std::sync::Arc;

/// Takes the answers of all shards in any order. States are merged as they come, so that they take the room of one shard's.
#[derive(Debug)]
pub struct Gather {
    shares: Vec<Share>,
    failure: Option<Failure>,
    annotations: Annotations,
    stats: Stats,
    /// What all shards looked at for each export.
    seen: Vec<Seen>,
    budget: Budget,
    held: Vec<Reservation>,
    /// Samples of series that are spread over shards, by read of the fragment.
    moved: Vec<(SelectId, Vec<Arc<RawSeries>>)>,
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
            seen: vec![Seen::default(); distributed.fragment.exports.len()],
            budget: budget.clone(),
            held: Vec::new(),
            moved: Vec::new(),
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
            Piece::Moved { select, series } => {
                let bytes: usize = series.iter().map(|one| one.heap_bytes()).sum();
                self.held.push(self.budget.reserve(0, bytes as u64)?);
                self.moved.push((select, series));
            }
            Piece::Done(done) => {
                let Done { annotations, stats, seen } = *done;
                let grown: usize = self.seen.iter().zip(&seen).map(|(all, seen)| seen.steps().saturating_sub(all.steps())).sum();
                self.held.push(self.budget.reserve(0, grown as u64 * Seen::STEP_BYTES)?);
                self.seen.iter_mut().zip(&seen).for_each(|(all, seen)| all.grow_and_merge(seen));
                self.annotations.merge(annotations);
                self.stats.series_read += stats.series_read;
                self.stats.samples_read += stats.samples_read;
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

    /// Computes the share of the series that are spread over shards, whose samples have all come.
    fn compute_moved(&mut self, fragment: &Fragment) -> Result<(), EvalError> {
        if self.moved.is_empty() {
            return Ok(());
        }
        let mut parts = std::mem::take(&mut self.moved);
        parts.extend(fragment.selects().iter().map(|select| (select.id, Vec::new())));
        let source = GatheredSource::of_shared(parts);
        let budget = self.budget.clone();
        let mut answer = Vec::new();
        fragment.execute(&source, &budget, &mut |frame| {
            answer.push(frame);
            Ok(())
        })?;
        // The shards have counted what they read.
        let read = (self.stats.series_read, self.stats.samples_read);
        self.add(answer)?;
        (self.stats.series_read, self.stats.samples_read) = read;
        Ok(())
    }

    /// Computes the root of the plan. CPU-bound. `query` is the text that was parsed, for the positions of annotations.
    ///
    /// # Errors
    /// A shard failed, the budget ended, or the data does not fit the query (duplicate series and the like).
    pub fn finish(self, distributed: &Distributed, query: &str) -> Result<QueryOutput, EvalError> {
        self.finish_steps(distributed).map(|part| part.output(query))
    }

    /// As [`Self::finish`], where `distributed` is of some steps of a query.
    ///
    /// # Errors
    /// As [`Self::finish`].
    pub fn finish_steps(mut self, distributed: &Distributed) -> Result<Steps, EvalError> {
        self.compute_moved(&distributed.fragment)?;
        if let Some(failure) = self.failure {
            return Err(failure.error);
        }
        let (mut imports, mut seen_at_shards) = (HashMap::new(), HashMap::new());
        for (seen, entry) in self.seen.into_iter().zip(&distributed.entries) {
            if let Entry::Node(node) = entry {
                seen_at_shards.insert(*node, seen);
            }
        }
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
        evaluator.seen_at_shards = seen_at_shards;
        evaluator.annotations = self.annotations;
        let value = evaluator.run()?;
        let (annotations, of_root) = evaluator.finish();
        // What the root read, shards read before.
        let mut stats = Stats { series_read: self.stats.series_read, samples_read: self.stats.samples_read, ..of_root };
        (stats.samples_peak, stats.bytes_peak) = self.budget.peak();
        Ok(Steps { value, annotations, stats })
    }
}

/// The value of a query at some of its steps, and what was told beside it.
#[derive(Debug)]
pub struct Steps {
    value: Value,
    annotations: Annotations,
    stats: Stats,
}

impl Steps {
    /// Adds the value at later steps of the same query.
    pub fn append(&mut self, later: Self) {
        self.annotations.merge(later.annotations);
        self.stats.series_read = self.stats.series_read.max(later.stats.series_read);
        self.stats.samples_read += later.stats.samples_read;
        self.stats.samples_queryable += later.stats.samples_queryable;
        self.stats.samples_per_step.extend(later.stats.samples_per_step);
        self.stats.samples_read_per_step.extend(later.stats.samples_read_per_step);
        self.stats.samples_peak = self.stats.samples_peak.max(later.stats.samples_peak);
        self.stats.bytes_peak = self.stats.bytes_peak.max(later.stats.bytes_peak);
        let (Value::Matrix(series), Value::Matrix(more)) = (&mut self.value, later.value) else { return };
        let mut places: HashMap<Labels, usize> = series.iter().enumerate().map(|(i, one)| (one.labels.clone(), i)).collect();
        for one in more {
            match places.get(&one.labels) {
                Some(at) => {
                    series[*at].points.extend(one.points);
                    series[*at].histograms.extend(one.histograms);
                }
                None => {
                    places.insert(one.labels.clone(), series.len());
                    series.push(one);
                }
            }
        }
        series.sort_by(|a, b| a.labels.cmp(&b.labels));
    }

    /// Bytes that the value takes.
    #[must_use]
    pub fn heap_bytes(&self) -> u64 {
        let Value::Matrix(series) = &self.value else { return 0 };
        let histograms = |one: &Series| one.histograms.iter().map(|(_, h)| histogram_bytes(h)).sum::<usize>();
        let bytes = |one: &Series| size_of::<Series>() + one.labels.heap_bytes() + one.points.len() * 16 + histograms(one);
        series.iter().map(bytes).sum::<usize>() as u64
    }

    /// The whole answer. `query` is the text that was parsed, for the positions of annotations.
    #[must_use]
    pub fn output(self, query: &str) -> QueryOutput {
        let (warnings, infos) = self.annotations.render(query);
        QueryOutput { value: self.value, warnings, infos, stats: self.stats }
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
