//! Binary operators.

mod matching;
mod set;

use super::block::{Row, RowMut};
use super::labels::{drop_name, is_unique_without_name, join_equal};
use super::{Evaluator, Sink};
use crate::ast::{BinaryOp, ValueType};
use crate::error::EvalError;
use crate::plan::{Node, NodeId, NodeKind};

/// The value of `left op right`; comparisons yield 0 or 1.
pub(crate) fn scalar_operation(op: BinaryOp, left: f64, right: f64) -> f64 {
    if op.is_comparison() { f64::from(u8::from(holds(op, left, right))) } else { arithmetic(op, left, right) }
}

fn arithmetic(op: BinaryOp, left: f64, right: f64) -> f64 {
    match op {
        BinaryOp::Add => left + right,
        BinaryOp::Sub => left - right,
        BinaryOp::Mul => left * right,
        BinaryOp::Div => left / right,
        BinaryOp::Mod => left % right,
        BinaryOp::Pow => left.powf(right),
        BinaryOp::Atan2 => left.atan2(right),
        _ => unreachable!("{op:?} is no arithmetic operator"),
    }
}

fn holds(op: BinaryOp, left: f64, right: f64) -> bool {
    match op {
        BinaryOp::Equal => left == right,
        BinaryOp::NotEqual => left != right,
        BinaryOp::Greater => left > right,
        BinaryOp::Less => left < right,
        BinaryOp::GreaterOrEqual => left >= right,
        BinaryOp::LessOrEqual => left <= right,
        _ => unreachable!("{op:?} is no comparison"),
    }
}

/// What becomes of a pair of values.
#[derive(Clone, Copy, Debug)]
struct Operation {
    op: BinaryOp,
    return_bool: bool,
}

impl Operation {
    /// Whether the result is no longer the metric that it was.
    fn drops_name(self) -> bool {
        self.return_bool || !self.op.is_comparison()
    }

    /// Replaces the values of `row` by those of `row op other`, or of `other op row` if `swapped`. A comparison without `bool`
    /// keeps the values of `row` where it holds. `other` has one value a step.
    fn apply(self, row: &mut RowMut<'_>, other: &[f64], swapped: bool) {
        let op = self.op;
        row.clear_histograms();
        match (op, swapped) {
            (BinaryOp::Add, _) => each(row, other, |a, b| a + b),
            (BinaryOp::Mul, _) => each(row, other, |a, b| a * b),
            (BinaryOp::Sub, false) => each(row, other, |a, b| a - b),
            (BinaryOp::Sub, true) => each(row, other, |a, b| b - a),
            (BinaryOp::Div, false) => each(row, other, |a, b| a / b),
            (BinaryOp::Div, true) => each(row, other, |a, b| b / a),
            _ if op.is_comparison() => self.compare(row, other, swapped),
            (_, false) => each(row, other, |a, b| arithmetic(op, a, b)),
            (_, true) => each(row, other, |a, b| arithmetic(op, b, a)),
        }
    }

    fn compare(self, row: &mut RowMut<'_>, other: &[f64], swapped: bool) {
        for (step, other) in other.iter().enumerate() {
            let value = row.values[step];
            let does_hold = if swapped { holds(self.op, *other, value) } else { holds(self.op, value, *other) };
            if self.return_bool {
                row.values[step] = f64::from(u8::from(does_hold));
            } else if !does_hold {
                row.clear(step);
            }
        }
    }
}

fn each(row: &mut RowMut<'_>, other: &[f64], f: impl Fn(f64, f64) -> f64) {
    row.values.iter_mut().zip(other).for_each(|(value, other)| *value = f(*value, *other));
}

/// The bits that are set in both rows.
fn common(a: Row<'_>, b: Row<'_>) -> impl Iterator<Item = u64> {
    a.valid.iter().zip(b.valid).map(|(a, b)| a & b)
}

/// Streams the result of a binary operator with at least one vector.
pub(crate) fn stream<'p>(evaluator: &mut Evaluator<'p>, node: &'p Node, sink: Sink<'_, 'p>) -> Result<(), EvalError> {
    let NodeKind::Binary { op, left, right, matching, return_bool } = &node.kind else { unreachable!("called for binary operators only") };
    let operation = Operation { op: *op, return_bool: *return_bool };
    let is_scalar = |id: NodeId| evaluator.node(id).value_type == ValueType::Scalar;
    match (is_scalar(*left), is_scalar(*right), matching) {
        (false, true, _) => with_scalar(evaluator, operation, *left, *right, false, sink),
        (true, false, _) => with_scalar(evaluator, operation, *right, *left, true, sink),
        (false, false, Some(by)) => {
            let (left, right) = (evaluator.vector(*left)?, evaluator.vector(*right)?);
            let block =
                if op.is_set() { set::combine(*op, left, right, by)? } else { matching::combine(evaluator, operation, left, right, by)? };
            sink(evaluator, block)
        }
        _ => unreachable!("the type check gives vectors a matching and scalars a scalar type"),
    }
}

fn with_scalar<'p>(
    evaluator: &mut Evaluator<'p>,
    operation: Operation,
    vector: NodeId,
    scalar: NodeId,
    swapped: bool,
    sink: Sink<'_, 'p>,
) -> Result<(), EvalError> {
    let values = evaluator.scalar(scalar)?;
    let delayed = evaluator.plan.params.delayed_name_removal;
    let drops = operation.drops_name();
    let is_unique = delayed || !drops || is_unique_without_name(evaluator.plan, vector);
    let mut apply = |evaluator: &mut Evaluator<'p>, mut block: super::block::Block| {
        for i in 0..block.len() {
            operation.apply(&mut block.tile.row_mut(i), &values, swapped);
            if drops {
                drop_name(&mut block.series[i], delayed);
            }
        }
        sink(evaluator, if is_unique { block } else { join_equal(block)? })
    };
    if is_unique {
        return evaluator.stream(vector, &mut apply);
    }
    let all = evaluator.vector(vector)?;
    apply(evaluator, all)
}
