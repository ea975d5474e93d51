//! Arithmetic and comparisons with a native histogram on at least one side.

use super::Operation;
use crate::annotations::Annotations;
use crate::ast::{BinaryOp, Span};
use crate::eval::block::{Row, RowMut, is_set};
use crate::eval::range::histogram::{collision_text, reconciled_text};
use model::histogram::{CounterResetHint, FloatHistogram, Keep};
use std::collections::BTreeSet;
use std::sync::Arc;

/// One side of an operator.
#[derive(Clone, Copy, Debug)]
pub(super) enum Operand<'a> {
    Float(f64),
    Histogram(&'a Arc<FloatHistogram>),
}

impl Operand<'_> {
    fn kind(self) -> &'static str {
        match self {
            Self::Float(_) => "float",
            Self::Histogram(_) => "histogram",
        }
    }
}

/// What an operation yields.
#[derive(Debug)]
enum Outcome {
    Float(f64),
    Histogram(Arc<FloatHistogram>),
}

/// What is to be told about the operations of one operator.
#[derive(Debug, Default)]
pub(super) struct Notes {
    /// Kinds of left and right that the operator does not take.
    incompatible_types: BTreeSet<(&'static str, &'static str)>,
    /// Exponential buckets met custom ones.
    incompatible_buckets: bool,
    collision: bool,
    reconciled: bool,
}

impl Notes {
    /// Notes that floats met at an operator for histograms.
    pub(super) fn add_floats(&mut self) {
        self.incompatible_types.insert(("float", "float"));
    }

    /// Adds the annotations of operator `op` at `span`.
    pub(super) fn report(self, op: BinaryOp, span: Span, annotations: &mut Annotations) {
        let name = op.as_str();
        for (left, right) in self.incompatible_types {
            let kinds = format!("{left} {name} {right}");
            annotations.info(span, format!("incompatible sample types encountered for binary operator \"{name}\": {kinds}"));
        }
        if self.incompatible_buckets {
            annotations.warn(span, format!("incompatible bucket layout encountered for binary operator {name}"));
        }
        let operation = if op == BinaryOp::Add { "addition" } else { "subtraction" };
        if self.collision {
            annotations.warn(span, collision_text(operation));
        }
        if self.reconciled {
            annotations.info(span, reconciled_text(operation));
        }
    }

    fn incompatible(&mut self, left: Operand<'_>, right: Operand<'_>) -> Option<Outcome> {
        self.incompatible_types.insert((left.kind(), right.kind()));
        None
    }
}

/// The sides of an operator at a step, if there is something on both and a histogram on at least one.
fn operands<'a>(left: Row<'a>, right: Row<'a>, step: usize) -> Option<(Operand<'a>, Operand<'a>)> {
    let of = |row: Row<'a>| {
        let histogram = row.histogram(step).map(Operand::Histogram);
        histogram.or_else(|| row.get(step).map(Operand::Float))
    };
    match (of(left)?, of(right)?) {
        (Operand::Float(_), Operand::Float(_)) => None,
        both => Some(both),
    }
}

/// Sets the results at the steps of `at` at which a side is a histogram; `out` has what became of the floats.
pub(super) fn pairs(operation: Operation, (left, right): (Row<'_>, Row<'_>), at: &[u64], out: &mut RowMut<'_>, notes: &mut Notes) {
    let mut steps: Vec<usize> = left.histograms.iter().chain(right.histograms).map(|(step, _)| *step).collect();
    steps.sort_unstable();
    steps.dedup();
    for step in steps.into_iter().filter(|step| is_set(at, *step)) {
        let Some((left, right)) = operands(left, right, step) else { continue };
        set(out, step, evaluate(operation, left, right, notes));
    }
}

/// Sets the results of `row op scalar`, or of `scalar op row` if `swapped`, of the histograms of a row.
pub(super) fn with_scalar(
    operation: Operation,
    histograms: &[(usize, Arc<FloatHistogram>)],
    scalars: &[f64],
    swapped: bool,
    out: &mut RowMut<'_>,
    notes: &mut Notes,
) {
    for (step, histogram) in histograms {
        let (histogram, scalar) = (Operand::Histogram(histogram), Operand::Float(scalars[*step]));
        let (left, right) = if swapped { (scalar, histogram) } else { (histogram, scalar) };
        set(out, *step, evaluate(operation, left, right, notes));
    }
}

fn set(out: &mut RowMut<'_>, step: usize, outcome: Option<Outcome>) {
    out.clear(step);
    match outcome {
        Some(Outcome::Float(value)) => out.set(step, value),
        Some(Outcome::Histogram(histogram)) => out.set_histogram(step, histogram),
        None => {}
    }
}

fn evaluate(operation: Operation, left: Operand<'_>, right: Operand<'_>, notes: &mut Notes) -> Option<Outcome> {
    use BinaryOp as B;
    let changed = |h: &FloatHistogram, change: &dyn Fn(&mut FloatHistogram)| {
        let mut result = h.clone();
        change(&mut result);
        result.compact(0);
        Some(Outcome::Histogram(Arc::new(result)))
    };
    match (operation.op, left, right) {
        (B::Mul, Operand::Histogram(h), Operand::Float(f)) | (B::Mul, Operand::Float(f), Operand::Histogram(h)) => {
            changed(h, &|result| result.mul(f))
        }
        (B::Div, Operand::Histogram(h), Operand::Float(f)) => changed(h, &|result| result.div(f)),
        (B::TrimUpper, Operand::Histogram(h), Operand::Float(f)) => Some(Outcome::Histogram(Arc::new(h.trim(f, Keep::Below)))),
        (B::TrimLower, Operand::Histogram(h), Operand::Float(f)) => Some(Outcome::Histogram(Arc::new(h.trim(f, Keep::Above)))),
        (B::Add | B::Sub, Operand::Histogram(left), Operand::Histogram(right)) => combined(operation.op, left, right, notes),
        (B::Equal | B::NotEqual, Operand::Histogram(left), Operand::Histogram(right)) => {
            let holds = is_equal(left, right) == (operation.op == B::Equal);
            if operation.return_bool {
                return Some(Outcome::Float(f64::from(u8::from(holds))));
            }
            holds.then(|| Outcome::Histogram(Arc::clone(left)))
        }
        _ => notes.incompatible(left, right),
    }
}

fn combined(op: BinaryOp, left: &FloatHistogram, right: &FloatHistogram, notes: &mut Notes) -> Option<Outcome> {
    let mut result = left.clone();
    let outcome = if op == BinaryOp::Add { result.add(right) } else { result.sub(right) };
    let Ok(reconciled) = outcome else {
        notes.incompatible_buckets = true;
        return None;
    };
    notes.collision |= reconciled.counter_reset_collision;
    notes.reconciled |= reconciled.custom_bounds;
    if op == BinaryOp::Sub {
        result.counter_reset_hint = CounterResetHint::Gauge;
    }
    result.compact(0);
    Some(Outcome::Histogram(Arc::new(result)))
}

/// Whether both are the same but for empty buckets.
fn is_equal(left: &FloatHistogram, right: &FloatHistogram) -> bool {
    let compact = |h: &FloatHistogram| {
        let mut copy = h.clone();
        copy.compact(0);
        copy
    };
    left.equals(right) || compact(left).equals(&compact(right))
}
