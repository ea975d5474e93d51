//! Binary operators.

mod histogram;
mod matching;
mod set;

use super::block::{Row, RowMut};
use super::labels::{drop_name, is_unique_without_name, join_equal};
use super::{Evaluator, Sink};
use crate::ast::{BinaryOp, Span, ValueType};
use crate::error::EvalError;
use crate::plan::{Node, NodeId, NodeKind};
use histogram::Notes;

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
        self.return_bool || !(self.op.is_comparison() || self.is_trim())
    }

    /// Whether it takes histograms on the left only.
    fn is_trim(self) -> bool {
        matches!(self.op, BinaryOp::TrimUpper | BinaryOp::TrimLower)
    }

    /// Replaces the floats of `row` by those of `row op other`, or of `other op row` if `swapped`. A comparison without `bool`
    /// keeps the floats of `row` where it holds. `other` has one value a step.
    fn apply(self, row: &mut RowMut<'_>, other: &[f64], swapped: bool) {
        let op = self.op;
        match (op, swapped) {
            (BinaryOp::Add, _) => each(row, other, |a, b| a + b),
            (BinaryOp::Mul, _) => each(row, other, |a, b| a * b),
            (BinaryOp::Sub, false) => each(row, other, |a, b| a - b),
            (BinaryOp::Sub, true) => each(row, other, |a, b| b - a),
            (BinaryOp::Div, false) => each(row, other, |a, b| a / b),
            (BinaryOp::Div, true) => each(row, other, |a, b| b / a),
            (BinaryOp::TrimUpper | BinaryOp::TrimLower, _) => row.valid.fill(0),
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

/// The bits of the steps at which both rows have a float or a histogram.
fn common(a: Row<'_>, b: Row<'_>) -> impl Iterator<Item = u64> {
    let (a, b) = (a.present().into_owned(), b.present().into_owned());
    a.into_iter().zip(b).map(|(a, b)| a & b)
}

/// Streams the result of a binary operator with at least one vector.
pub(crate) fn stream<'p>(evaluator: &mut Evaluator<'p>, node: &'p Node, sink: Sink<'_, 'p>) -> Result<(), EvalError> {
    let NodeKind::Binary { op, left, right, matching, return_bool } = &node.kind else { unreachable!("called for binary operators only") };
    let operation = Operation { op: *op, return_bool: *return_bool };
    let is_scalar = |id: NodeId| evaluator.node(id).value_type == ValueType::Scalar;
    match (is_scalar(*left), is_scalar(*right), matching) {
        (false, true, _) => with_scalar(evaluator, (operation, node.span), *left, *right, false, sink),
        (true, false, _) => with_scalar(evaluator, (operation, node.span), *right, *left, true, sink),
        (false, false, Some(by)) => {
            let (left, right) = (evaluator.vector(*left)?, evaluator.vector(*right)?);
            if op.is_set() {
                let block = set::combine(*op, (left, right), by, evaluator.budget)?;
                return sink(evaluator, block);
            }
            let mut notes = Notes::default();
            let block = matching::combine(evaluator, operation, (left, right), by, &mut notes);
            notes.report(*op, node.span, &mut evaluator.annotations);
            sink(evaluator, block?)
        }
        _ => unreachable!("the type check gives vectors a matching and scalars a scalar type"),
    }
}

fn with_scalar<'p>(
    evaluator: &mut Evaluator<'p>,
    (operation, span): (Operation, Span),
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
        let mut notes = Notes::default();
        for i in 0..block.len() {
            let mut row = block.tile.row_mut(i);
            let histograms = std::mem::take(row.histograms);
            if operation.is_trim() && row.as_row().count() > 0 {
                notes.add_floats();
            }
            operation.apply(&mut row, &values, swapped);
            histogram::with_scalar(operation, &histograms, &values, swapped, &mut row, &mut notes);
            if drops {
                drop_name(&mut block.series[i], delayed);
            }
        }
        notes.report(operation.op, span, &mut evaluator.annotations);
        let block = if is_unique { block } else { join_equal(block, evaluator.budget)? };
        sink(evaluator, block)
    };
    if is_unique {
        return evaluator.stream(vector, &mut apply);
    }
    let all = evaluator.vector(vector)?;
    apply(evaluator, all)
}
