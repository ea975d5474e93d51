//! `and`, `or` and `unless`: whole bitmaps at a time.

use super::matching::{signature_bytes, signatures};
use crate::ast::{BinaryOp, VectorMatching};
use crate::budget::Budget;
use crate::error::EvalError;
use crate::eval::block::Block;
use crate::eval::labels::join_equal;

/// Combines the series of both sides.
pub(super) fn combine(op: BinaryOp, (left, right): (Block, Block), by: &VectorMatching, budget: &Budget) -> Result<Block, EvalError> {
    let words = left.steps().div_ceil(64) + size_of::<Vec<u64>>() / 8;
    let _numbers = budget.reserve(0, signature_bytes(&left) + signature_bytes(&right))?;
    let (of_left, of_right, count) = signatures(&left, &right, by);
    let _masks = budget.reserve(0, (count * words * 8) as u64)?;
    match op {
        BinaryOp::And => masked((left, &of_left), &presence(&right, &of_right, count), budget, |mask| mask),
        BinaryOp::Unless => masked((left, &of_left), &presence(&right, &of_right, count), budget, |mask| !mask),
        _ => {
            let others = masked((right, &of_right), &presence(&left, &of_left, count), budget, |mask| !mask)?;
            let mut all = left;
            all.append(others);
            join_equal(all, budget)
        }
    }
}

/// For each signature, the steps at which any of its series has a value.
fn presence(block: &Block, signatures: &[usize], count: usize) -> Vec<Vec<u64>> {
    let mut present = vec![vec![0; block.steps().div_ceil(64)]; count];
    for (row, signature) in signatures.iter().enumerate() {
        present[*signature].iter_mut().zip(block.row(row).present().iter()).for_each(|(mask, word)| *mask |= word);
    }
    present
}

/// The series of `block` where the mask of their signature allows.
fn masked(
    (mut block, signatures): (Block, &[usize]),
    masks: &[Vec<u64>],
    budget: &Budget,
    allows: impl Fn(u64) -> u64,
) -> Result<Block, EvalError> {
    let mut mask = Vec::with_capacity(block.steps().div_ceil(64));
    let mut has_values = Vec::with_capacity(block.len());
    for (row, signature) in signatures.iter().enumerate() {
        mask.clear();
        mask.extend(masks[*signature].iter().map(|mask| allows(*mask)));
        let mut row = block.tile.row_mut(row);
        row.mask(&mask);
        has_values.push(!row.as_row().is_empty());
    }
    block.retain(&has_values);
    block.hold(budget)
}
