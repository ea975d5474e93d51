//! `sort`, `sort_desc` and `sort_by_label`: orders of an instant vector. Range results are ordered by labels anyway.

use crate::budget::Budget;
use crate::error::EvalError;
use crate::eval::block::Block;
use crate::eval::{Evaluator, Sink};
use crate::plan::{Node, NodeId};
use std::cmp::Ordering;

/// `sort` and `sort_desc`; NaN comes last in both, histograms are left out. Labels decide between equals.
pub(crate) fn by_value<'p>(
    evaluator: &mut Evaluator<'p>,
    node: &Node,
    input: NodeId,
    descending: bool,
    sink: Sink<'_, 'p>,
) -> Result<(), EvalError> {
    let mut block = evaluator.vector(input)?;
    // What has no number has no place in the order.
    block.clear_histograms();
    if is_range_query(evaluator, node) {
        return sink(evaluator, block);
    }
    let value = |i: usize| block.row(i).get(0).unwrap_or(f64::NAN);
    let sorted = reordered(&block, evaluator.budget, |a, b| {
        let (left, right) = (value(a), value(b));
        let order = if descending { right.partial_cmp(&left) } else { left.partial_cmp(&right) };
        let order = order.unwrap_or_else(|| left.is_nan().cmp(&right.is_nan()));
        order.then_with(|| block.series[a].labels.cmp(&block.series[b].labels))
    })?;
    sink(evaluator, sorted)
}

/// `sort_by_label` and `sort_by_label_desc`: by the named labels in natural order, then by all labels.
pub(crate) fn by_label<'p>(
    evaluator: &mut Evaluator<'p>,
    node: &Node,
    args: &[NodeId],
    descending: bool,
    sink: Sink<'_, 'p>,
) -> Result<(), EvalError> {
    let names: Vec<String> = args[1..].iter().map(|arg| String::from_utf8_lossy(&evaluator.string(*arg)).into_owned()).collect();
    let block = evaluator.vector(args[0])?;
    if is_range_query(evaluator, node) {
        return sink(evaluator, block);
    }
    let sorted = reordered(&block, evaluator.budget, |a, b| {
        let (a, b) = (&block.series[a].labels, &block.series[b].labels);
        let by_names = names.iter().map(|name| natural(a.get(name).unwrap_or(""), b.get(name).unwrap_or("")));
        let order = by_names.fold(Ordering::Equal, Ordering::then).then_with(|| a.cmp(b));
        if descending { order.reverse() } else { order }
    })?;
    sink(evaluator, sorted)
}

fn is_range_query(evaluator: &mut Evaluator<'_>, node: &Node) -> bool {
    if evaluator.plan.params.step_ms == 0 {
        return false;
    }
    let text = "sort is ineffective for range queries since results are always ordered by labels";
    evaluator.annotations.warn(node.span, text);
    true
}

fn reordered(block: &Block, budget: &Budget, compare: impl Fn(usize, usize) -> Ordering) -> Result<Block, EvalError> {
    let mut order: Vec<usize> = (0..block.len()).collect();
    order.sort_by(|a, b| compare(*a, *b));
    let mut sorted = Block::reserved(block.steps(), block.len(), budget)?;
    order.iter().for_each(|i| sorted.push(block.series[*i].clone(), block.row(*i)));
    Ok(sorted)
}

/// Compares texts piece by piece: runs of digits as numbers, all else byte by byte.
fn natural(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a.as_bytes(), b.as_bytes());
    while !a.is_empty() && !b.is_empty() {
        let ((first, rest_of_a), (second, rest_of_b)) = (piece(a), piece(b));
        let are_numbers = first[0].is_ascii_digit() && second[0].is_ascii_digit();
        let order = if are_numbers { compare_numbers(first, second) } else { first.cmp(second) };
        if order != Ordering::Equal {
            return order;
        }
        (a, b) = (rest_of_a, rest_of_b);
    }
    a.len().cmp(&b.len())
}

/// The longest beginning that is all digits or has none, and the rest.
fn piece(text: &[u8]) -> (&[u8], &[u8]) {
    let kind = text[0].is_ascii_digit();
    text.split_at(text.iter().position(|c| c.is_ascii_digit() != kind).unwrap_or(text.len()))
}

fn compare_numbers(a: &[u8], b: &[u8]) -> Ordering {
    let significant = |digits: &[u8]| digits.iter().position(|c| *c != b'0').unwrap_or(digits.len());
    let (x, y) = (&a[significant(a)..], &b[significant(b)..]);
    x.len().cmp(&y.len()).then_with(|| x.cmp(y)).then_with(|| b.len().cmp(&a.len()))
}

#[cfg(test)]
mod tests {
    use super::natural;

    #[test]
    fn digits_compare_as_numbers() {
        let mut texts = ["node10", "node9", "node", "4m5", "4m600", "10", "1x"];
        texts.sort_by(|a, b| natural(a, b));
        assert_eq!(texts, ["1x", "4m5", "4m600", "10", "node", "node9", "node10"]);
    }
}
