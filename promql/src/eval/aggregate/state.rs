//! States of aggregations that take one series after another. They can be merged, so that parts may come from several shards.

use crate::ast::AggregateOp;
use crate::eval::block::{Row, RowMut};
use crate::merge::exact::{ExactSums, variance};

/// What was seen of values that cannot be summed.
const SAW_NAN: u8 = 1;
const SAW_POSITIVE_INFINITY: u8 = 2;
const SAW_NEGATIVE_INFINITY: u8 = 4;

/// The state of one group at all steps.
#[derive(Debug)]
pub(crate) enum State {
    /// `count` and `group`.
    Count(Vec<u32>),
    /// `min` and `max`.
    Extreme { values: Vec<f64>, valid: Vec<u64>, largest: bool },
    /// `sum` and `avg`, with squares also `stddev` and `stdvar`.
    Sums { counts: Vec<u32>, saw: Vec<u8>, sums: Box<ExactSums>, squares: Option<Box<ExactSums>> },
}

impl State {
    /// The state before any series.
    pub(crate) fn new(op: AggregateOp, steps: usize) -> Self {
        match op {
            AggregateOp::Count | AggregateOp::Group => Self::Count(vec![0; steps]),
            AggregateOp::Min | AggregateOp::Max => {
                Self::Extreme { values: vec![0.0; steps], valid: vec![0; steps.div_ceil(64)], largest: op == AggregateOp::Max }
            }
            _ => {
                let squares = matches!(op, AggregateOp::Stddev | AggregateOp::Stdvar).then(|| Box::new(ExactSums::new(steps)));
                Self::Sums { counts: vec![0; steps], saw: vec![0; steps], sums: Box::new(ExactSums::new(steps)), squares }
            }
        }
    }

    /// Bytes held, for memory accounting.
    pub(crate) fn heap_bytes(&self) -> usize {
        match self {
            Self::Count(counts) => counts.len() * 4,
            Self::Extreme { values, .. } => values.len() * 9,
            Self::Sums { counts, sums, squares, .. } => {
                counts.len() * 5 + sums.heap_bytes() + squares.as_ref().map_or(0, |squares| squares.heap_bytes())
            }
        }
    }

    /// Takes one series.
    pub(crate) fn add(&mut self, row: Row<'_>) {
        match self {
            Self::Count(counts) => row.for_each(|step, _| counts[step] += 1),
            Self::Extreme { values, valid, largest } => {
                let mut best = RowMut { values, valid, histograms: &mut Vec::new() };
                row.for_each(|step, value| {
                    if best.as_row().get(step).is_none_or(|old| replaces(value, old, *largest)) {
                        best.set(step, value);
                    }
                });
            }
            Self::Sums { counts, saw, sums, squares } => {
                row.for_each(|step, value| {
                    counts[step] += 1;
                    if !value.is_finite() {
                        saw[step] |= non_finite(value);
                        return;
                    }
                    sums.add(step, value);
                    if let Some(squares) = squares {
                        squares.add_square(step, value);
                    }
                });
            }
        }
    }

    /// Writes the results.
    pub(crate) fn finish(&self, op: AggregateOp, row: &mut RowMut<'_>) {
        match self {
            Self::Count(counts) => {
                let value = |count: u32| if op == AggregateOp::Group { 1.0 } else { f64::from(count) };
                counts.iter().enumerate().filter(|(_, count)| **count > 0).for_each(|(step, count)| row.set(step, value(*count)));
            }
            Self::Extreme { values, valid, .. } => {
                row.values.copy_from_slice(values);
                row.valid.copy_from_slice(valid);
            }
            Self::Sums { counts, saw, sums, squares } => {
                for (step, count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
                    let value = match (&squares, saw[step]) {
                        (Some(squares), 0) => variance(*count, sums, squares, step),
                        (Some(_), _) => f64::NAN,
                        (None, 0) if op == AggregateOp::Avg => sums.rounded(step).divided_by(f64::from(*count)),
                        (None, 0) => sums.rounded(step).value(),
                        (None, SAW_POSITIVE_INFINITY) => f64::INFINITY,
                        (None, SAW_NEGATIVE_INFINITY) => f64::NEG_INFINITY,
                        (None, _) => f64::NAN,
                    };
                    row.set(step, if op == AggregateOp::Stddev { value.sqrt() } else { value });
                }
            }
        }
    }
}

fn non_finite(value: f64) -> u8 {
    if value.is_nan() {
        SAW_NAN
    } else if value > 0.0 {
        SAW_POSITIVE_INFINITY
    } else {
        SAW_NEGATIVE_INFINITY
    }
}

/// Whether `new` takes the place of `old`: NaN only gives way, and of two zeros `max` prefers +0, `min` -0.
fn replaces(new: f64, old: f64, largest: bool) -> bool {
    if new == old {
        return new.is_sign_negative() != old.is_sign_negative() && new.is_sign_positive() == largest;
    }
    old.is_nan() && !new.is_nan() || if largest { new > old } else { new < old }
}
