//! What the shards computed, where it enters the root's operators.
//!
//! The series of all shards come in the order of their labels, so that nothing above depends on which shard had which.

use super::aggregate::Partial;
use super::block::{Block, Row, SeriesMeta, set_bits};
use super::labels::join_equal;
use super::selector::tile_series;
use super::{Evaluator, Sink};
use crate::budget::Budget;
use crate::error::EvalError;
use crate::plan::fragment::Merge;
use crate::plan::{Node, NodeId};

/// The merged shares of an export.
#[derive(Debug)]
pub(crate) enum Import {
    /// Rows.
    Rows {
        /// In any order.
        blocks: Vec<Block>,
        /// What becomes of rows with equal labels.
        merge: Merge,
    },
    /// The states of an aggregation.
    States(Partial),
}

impl<'p> Evaluator<'p> {
    /// Streams what was imported for a node.
    pub(super) fn stream_import(&mut self, id: NodeId, import: Import, sink: Sink<'_, 'p>) -> Result<(), EvalError> {
        let node = self.node(id);
        match import {
            Import::Rows { blocks, merge } => stream_rows(self, node, blocks, merge, sink),
            Import::States(partial) => {
                let block = partial.finish(self, node)?;
                sink(self, block)
            }
        }
    }

    /// For each step, whether any imported row has a value.
    pub(super) fn imported_presence(&mut self, id: NodeId) -> Option<Vec<bool>> {
        let Some(Import::Rows { blocks, .. }) = self.imports.remove(&id) else { return None };
        self.see_imported(id);
        let mut present = vec![false; self.node(id).grid.steps];
        for block in &blocks {
            (0..block.len()).for_each(|i| set_bits(&block.row(i).present()).for_each(|step| present[step] = true));
        }
        Some(present)
    }
}

/// One of the imported rows.
#[derive(Clone, Copy)]
struct Imported<'a> {
    meta: &'a SeriesMeta,
    row: Row<'a>,
}

fn stream_rows<'p>(
    evaluator: &mut Evaluator<'p>,
    node: &Node,
    blocks: Vec<Block>,
    merge: Merge,
    sink: Sink<'_, 'p>,
) -> Result<(), EvalError> {
    let labels = || blocks.iter().flat_map(|block| &block.series).map(|meta| &meta.labels);
    // One shard reads its series in order, and most operators keep it.
    if labels().zip(labels().skip(1)).all(|(a, b)| a < b || (a == b && merge == Merge::Append)) {
        return blocks.into_iter().try_for_each(|block| sink(evaluator, block));
    }
    let mut rows: Vec<Imported<'_>> = Vec::new();
    for block in &blocks {
        rows.extend((0..block.len()).map(|i| Imported { meta: &block.series[i], row: block.row(i) }));
    }
    rows.sort_by(|a, b| a.meta.labels.cmp(&b.meta.labels));
    let is_unique = rows.windows(2).all(|pair| pair[0].meta.labels != pair[1].meta.labels);
    if is_unique || merge == Merge::Append {
        for tile in rows.chunks(tile_series(node.grid.steps, evaluator.tile_bytes)) {
            evaluator.budget.check()?;
            let tile = copy(node, tile, evaluator.budget)?;
            sink(evaluator, tile)?;
        }
        return Ok(());
    }
    let all = copy(node, &rows, evaluator.budget)?.account(evaluator.budget)?;
    let all = if merge == Merge::Add { add_equal(&all, evaluator.budget)? } else { join_equal(all, evaluator.budget)? };
    sink(evaluator, all)
}

fn copy(node: &Node, rows: &[Imported<'_>], budget: &Budget) -> Result<Block, EvalError> {
    let mut block = Block::reserved(node.grid.steps, rows.len(), budget)?;
    rows.iter().for_each(|one| block.push(one.meta.clone(), one.row));
    Ok(block)
}

/// Adds the values of rows with equal labels, which are neighbours.
fn add_equal(block: &Block, budget: &Budget) -> Result<Block, EvalError> {
    let mut sums = Block::reserved(block.steps(), block.len(), budget)?;
    for (i, meta) in block.series.iter().enumerate() {
        if sums.series.last().is_some_and(|last| last.labels == meta.labels) {
            let last = sums.len() - 1;
            sums.series[last].drop_name |= meta.drop_name;
            let mut into = sums.tile.row_mut(last);
            block.row(i).for_each(|step, value| {
                let sum = into.as_row().get(step).unwrap_or(0.0) + value;
                into.set(step, sum);
            });
        } else {
            sums.push(meta.clone(), block.row(i));
        }
    }
    Ok(sums)
}
