//! `and`, `or` and `unless`: whole bitmaps at a time.

use super::matching::signatures;
use crate::ast::{BinaryOp, VectorMatching};
use crate::error::EvalError;
use crate::eval::block::Block;
use crate::eval::labels::join_equal;

/// Combines the series of both sides.
pub(super) fn combine(op: BinaryOp, left: Block, right: Block, by: &VectorMatching) -> Result<Block, EvalError> {
    let (of_left, of_right, count) = signatures(&left, &right, by);
    match op {
        BinaryOp::And => Ok(masked(&left, &of_left, &presence(&right, &of_right, count), |mask| mask)),
        BinaryOp::Unless => Ok(masked(&left, &of_left, &presence(&right, &of_right, count), |mask| !mask)),
        _ => {
            let others = masked(&right, &of_right, &presence(&left, &of_left, count), |mask| !mask);
            let mut all = left;
            all.append(others);
            join_equal(all)
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
fn masked(block: &Block, signatures: &[usize], masks: &[Vec<u64>], allows: impl Fn(u64) -> u64) -> Block {
    let mut result = Block::with_rows(block.steps(), 0);
    for (row, signature) in signatures.iter().enumerate() {
        result.push_with(block.series[row].clone(), |out| {
            out.copy_from(block.row(row));
            let mask: Vec<u64> = masks[*signature].iter().map(|mask| allows(*mask)).collect();
            out.mask(&mask);
        });
    }
    result
}
