//! Arithmetic and comparisons between two vectors.

use super::{Operation, common};
use crate::ast::{Cardinality, VectorMatching};
use crate::error::EvalError;
use crate::eval::Evaluator;
use crate::eval::block::{Block, Row, SeriesMeta, set_bits};
use crate::eval::labels::{is_metadata, join_equal};
use model::labels::METRIC_NAME;
use model::{Labels, LabelsBuilder};
use std::collections::HashMap;

/// Numbers the matching labels of the series of both sides; also how many there are.
pub(super) fn signatures(left: &Block, right: &Block, by: &VectorMatching) -> (Vec<usize>, Vec<usize>, usize) {
    let mut numbers: HashMap<Labels, usize> = HashMap::new();
    let mut number = |meta: &SeriesMeta| {
        let next = numbers.len();
        *numbers.entry(matching_labels(&meta.labels, by)).or_insert(next)
    };
    let of_left = left.series.iter().map(&mut number).collect();
    let of_right = right.series.iter().map(&mut number).collect();
    (of_left, of_right, numbers.len())
}

fn matching_labels(labels: &Labels, by: &VectorMatching) -> Labels {
    let named = |name: &str| by.labels.iter().any(|l| l == name);
    if by.on { labels.filtered(named) } else { labels.filtered(|name| name != METRIC_NAME && !named(name)) }
}

/// The error of the earliest step; of several at one step the first by its text, so that it is the same however series are spread.
#[derive(Default)]
struct Earliest(Option<(usize, EvalError)>);

impl Earliest {
    fn note(&mut self, step: Option<usize>, error: impl FnOnce() -> EvalError) {
        let Some(step) = step.filter(|step| self.0.as_ref().is_none_or(|(known, _)| step <= known)) else { return };
        let error = error();
        if self.0.as_ref().is_none_or(|(known, other)| step < *known || error.to_string() < other.to_string()) {
            self.0 = Some((step, error));
        }
    }
}

/// Combines the series of both sides that match.
pub(super) fn combine(
    evaluator: &Evaluator<'_>,
    operation: Operation,
    left: Block,
    right: Block,
    by: &VectorMatching,
) -> Result<Block, EvalError> {
    let (of_left, of_right, count) = signatures(&left, &right, by);
    let swapped = by.cardinality == Cardinality::OneToMany;
    let (many, one, of_many, of_one) = if swapped { (right, left, of_right, of_left) } else { (left, right, of_left, of_right) };
    let mut ones = vec![Vec::new(); count];
    of_one.iter().enumerate().for_each(|(row, signature)| ones[*signature].push(row));
    // Which two series an error names follows from their labels, not from where they came from.
    ones.iter_mut().filter(|rows| rows.len() > 1).for_each(|rows| rows.sort_by(|a, b| one.series[*a].labels.cmp(&one.series[*b].labels)));
    let mut join = Join { operation, swapped, by, delayed: evaluator.plan.params.delayed_name_removal, many, one };
    let mut earliest = Earliest::default();
    join.check_one_side(&ones, &mut earliest);
    let result = join.pairs(evaluator, &of_many, &ones, &mut earliest)?;
    match earliest.0 {
        Some((step, error)) => {
            evaluator.fail_at(step);
            Err(error)
        }
        None => join_equal(result),
    }
}

struct Join<'a> {
    operation: Operation,
    swapped: bool,
    by: &'a VectorMatching,
    delayed: bool,
    many: Block,
    one: Block,
}

impl Join<'_> {
    /// Notes where two series of the "one" side have the same matching labels, while neither side is empty.
    fn check_one_side(&self, ones: &[Vec<usize>], earliest: &mut Earliest) {
        if ones.iter().all(|rows| rows.len() < 2) {
            return;
        }
        let populated: Vec<u64> = any_value(&self.many).iter().zip(any_value(&self.one)).map(|(a, b)| a & b).collect();
        for rows in ones.iter().filter(|rows| rows.len() > 1) {
            let mut seen = vec![0; populated.len()];
            for (i, row) in rows.iter().enumerate() {
                let valid = self.one.row(*row).valid;
                let step = first_common(valid, &seen, &populated);
                earliest.note(step, || self.duplicate(&rows[..i], *row, step.unwrap_or(0)));
                seen.iter_mut().zip(valid).for_each(|(seen, word)| *seen |= word);
            }
        }
    }

    fn duplicate(&self, before: &[usize], row: usize, step: usize) -> EvalError {
        let text = |row: usize| self.one.series[row].labels.to_string();
        let first = before.iter().find(|other| self.one.row(**other).get(step).is_some()).map_or_else(String::new, |other| text(*other));
        EvalError::DuplicateMatch {
            group: matching_labels(&self.one.series[row].labels, self.by).to_string(),
            side: if self.swapped { "left" } else { "right" },
            first,
            second: text(row),
        }
    }

    /// The results of all matching pairs; those of the same labels are not joined yet.
    fn pairs(
        &mut self,
        evaluator: &Evaluator<'_>,
        of_many: &[usize],
        ones: &[Vec<usize>],
        earliest: &mut Earliest,
    ) -> Result<Block, EvalError> {
        let steps = self.many.steps();
        let mut result = Block::with_rows(steps, self.many.len());
        let mut held = Vec::new();
        let is_one_to_one = self.by.cardinality == Cardinality::OneToOne;
        let mut matched: HashMap<(usize, Option<Labels>), Vec<u64>> = HashMap::new();
        for (row, signature) in of_many.iter().enumerate() {
            evaluator.budget.check()?;
            for other in &ones[*signature] {
                let both: Vec<u64> = common(self.many.row(row), self.one.row(*other)).collect();
                if both.iter().all(|word| *word == 0) {
                    continue;
                }
                let meta = self.result_meta(row, *other);
                held.push(evaluator.budget.reserve(0, (steps * 8 + meta.labels.heap_bytes()) as u64)?);
                let key = (*signature, (!is_one_to_one).then(|| meta.labels.clone()));
                let seen = matched.entry(key).or_insert_with(|| vec![0; both.len()]);
                earliest.note(first_common(&both, seen, &both), || {
                    if is_one_to_one { EvalError::ImplicitManyToOne } else { EvalError::AmbiguousGrouping }
                });
                seen.iter_mut().zip(&both).for_each(|(seen, word)| *seen |= word);
                self.push(&mut result, meta, row, *other, &both);
            }
        }
        Ok(result)
    }

    fn push(&self, result: &mut Block, meta: SeriesMeta, row: usize, other: usize, both: &[u64]) {
        let (mine, theirs): (Row<'_>, Row<'_>) = (self.many.row(row), self.one.row(other));
        let swapped = self.swapped;
        let keeps_left_value = swapped && self.operation.op.is_comparison() && !self.operation.return_bool;
        result.push_with(meta, |out| {
            // A comparison keeps the value of the left operand, whichever side is the "one" side.
            let (base, other, swapped) = if keeps_left_value { (theirs, mine, false) } else { (mine, theirs, swapped) };
            out.values.copy_from_slice(base.values);
            out.valid.copy_from_slice(both);
            self.operation.apply(out, other.values, swapped);
        });
    }

    fn result_meta(&self, many: usize, one: usize) -> SeriesMeta {
        let (many, one) = (&self.many.series[many].labels, &self.one.series[one].labels);
        let drops_now = !self.operation.op.is_comparison() || (self.operation.return_bool && !self.delayed);
        let mut labels = if drops_now { many.filtered(|name| !is_metadata(name)) } else { many.clone() };
        if self.by.cardinality == Cardinality::OneToOne {
            let named = |name: &str| self.by.labels.iter().any(|l| l == name);
            labels = labels.filtered(|name| named(name) == self.by.on);
        }
        if !self.by.include.is_empty() {
            let mut builder = LabelsBuilder::from_labels(&labels);
            self.by.include.iter().for_each(|name| {
                builder.set(name, one.get(name).unwrap_or(""));
            });
            labels = builder.build();
        }
        SeriesMeta { labels, drop_name: self.operation.return_bool && self.delayed }
    }
}

/// The steps at which any series has a value.
fn any_value(block: &Block) -> Vec<u64> {
    let mut any = vec![0; block.steps().div_ceil(64)];
    for row in 0..block.len() {
        any.iter_mut().zip(block.row(row).valid).for_each(|(any, word)| *any |= word);
    }
    any
}

fn first_common(a: &[u64], b: &[u64], c: &[u64]) -> Option<usize> {
    let all: Vec<u64> = a.iter().zip(b).zip(c).map(|((a, b), c)| a & b & c).collect();
    set_bits(&all).next()
}
