//! Arithmetic and comparisons between two vectors.

use super::histogram::{self, Notes};
use super::{Operation, common};
use crate::ast::{Cardinality, VectorMatching};
use crate::error::EvalError;
use crate::eval::Evaluator;
use crate::eval::block::{Block, Row, SeriesMeta, set_bits};
use crate::eval::labels::{is_metadata, join_equal};
use model::labels::METRIC_NAME;
use model::{Labels, LabelsBuilder};
use std::collections::HashMap;

/// Bytes of a matching label set beside its labels: its number, its place in a table that is half empty, and the row's own.
const SIGNATURE_BYTES: usize = 112;
/// Bytes of a match that was noted beside its labels and steps, likewise.
const MATCH_BYTES: usize = 144;

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
    (left, right): (Block, Block),
    by: &VectorMatching,
    notes: &mut Notes,
) -> Result<Block, EvalError> {
    let _numbers = evaluator.budget.reserve(0, signature_bytes(&left) + signature_bytes(&right))?;
    let (of_left, of_right, count) = signatures(&left, &right, by);
    let swapped = by.cardinality == Cardinality::OneToMany;
    let (many, one, of_many, of_one) = if swapped { (right, left, of_right, of_left) } else { (left, right, of_left, of_right) };
    let mut ones = vec![Vec::new(); count];
    of_one.iter().enumerate().for_each(|(row, signature)| ones[*signature].push(row));
    // Which two series an error names follows from their labels, not from where they came from.
    ones.iter_mut().filter(|rows| rows.len() > 1).for_each(|rows| rows.sort_by(|a, b| one.series[*a].labels.cmp(&one.series[*b].labels)));
    // As in Prometheus, `group_right` swaps the sides but not what fills them: `fill_left` is for the "many" side in any case.
    let (fill_many, fill_one) = (by.fill_left, by.fill_right);
    let delayed = evaluator.plan.params.delayed_name_removal;
    let mut join = Join { operation, swapped, by, delayed, many, one, fill_many, fill_one, matched: HashMap::new() };
    let _matches = evaluator.budget.reserve(0, join.matches_bytes(&of_many, &ones))?;
    let mut earliest = Earliest::default();
    join.check_one_side(&ones, &mut earliest);
    let block = if join.fits_in_place(&ones) {
        join.pairs_in_place(evaluator, &of_many, &ones, notes, &mut earliest)?;
        join.many.hold(evaluator.budget)?
    } else {
        let block = Block::reserved(join.many.steps(), join.many.len(), evaluator.budget)?;
        let mut out = Output { operation, swapped, block, notes };
        join.pairs(evaluator, &of_many, &ones, &mut out, &mut earliest)?;
        join.fill_missing(evaluator, (&of_many, &of_one), &mut out, &mut earliest)?;
        out.block
    };
    if let Some((step, error)) = earliest.0 {
        evaluator.fail_at(step);
        return Err(error);
    }
    join_equal(block, evaluator.budget)
}

/// Bytes that numbering the matching labels of a side takes, at most.
pub(super) fn signature_bytes(block: &Block) -> u64 {
    block.series.iter().map(|meta| meta.labels.heap_bytes() + SIGNATURE_BYTES).sum::<usize>() as u64
}

struct Join<'a> {
    operation: Operation,
    swapped: bool,
    by: &'a VectorMatching,
    delayed: bool,
    many: Block,
    one: Block,
    /// What stands for a missing sample of either side.
    fill_many: Option<f64>,
    fill_one: Option<f64>,
    /// At which steps the series of a signature, or of a result's labels, have matched.
    matched: HashMap<(usize, Option<Labels>), Vec<u64>>,
}

impl Join<'_> {
    /// Bytes that noting the matches takes, at most: each pair has an entry, and each series that is filled.
    fn matches_bytes(&self, of_many: &[usize], ones: &[Vec<usize>]) -> u64 {
        let fills = usize::from(self.fill_many.is_some()) * self.one.len() + usize::from(self.fill_one.is_some()) * self.many.len();
        let pairs: usize = of_many.iter().map(|signature| ones[*signature].len()).sum();
        let label_bytes = |block: &Block| block.series.iter().map(|meta| meta.labels.heap_bytes()).max().unwrap_or(0);
        let included_bytes = if self.by.include.is_empty() { 0 } else { label_bytes(&self.one) };
        let each = self.many.steps().div_ceil(64) * 8 + MATCH_BYTES + label_bytes(&self.many) + included_bytes;
        (pairs + fills).saturating_mul(each) as u64
    }

    /// Whether each result may take the place of the series of the "many" side that it is made of: every such series has one partner
    /// at most, and what is read of it is read before it is overwritten.
    fn fits_in_place(&self, ones: &[Vec<usize>]) -> bool {
        let keeps_one = self.swapped && self.operation.op.is_comparison() && !self.operation.return_bool;
        let is_filled = self.fill_many.is_some() || self.fill_one.is_some();
        !keeps_one && !is_filled && ones.iter().all(|rows| rows.len() < 2) && !self.many.has_histograms() && !self.one.has_histograms()
    }

    /// As [`Self::pairs`], where [`Self::fits_in_place`]: leaves the results in place of the "many" side.
    fn pairs_in_place(
        &mut self,
        evaluator: &Evaluator<'_>,
        of_many: &[usize],
        ones: &[Vec<usize>],
        notes: &mut Notes,
        earliest: &mut Earliest,
    ) -> Result<(), EvalError> {
        let mut is_result = Vec::with_capacity(of_many.len());
        let mut rows_of = vec![0_usize; ones.len()];
        of_many.iter().for_each(|signature| rows_of[*signature] += 1);
        for (row, signature) in of_many.iter().enumerate() {
            evaluator.budget.check()?;
            let Some(other) = ones[*signature].first() else {
                is_result.push(false);
                continue;
            };
            let both: Vec<u64> = common(self.many.row(row), self.one.row(*other)).collect();
            if both.iter().all(|word| *word == 0) {
                is_result.push(false);
                continue;
            }
            let meta = self.result_meta(&self.many.series[row].labels, &self.one.series[*other].labels);
            // One pair alone meets no other.
            if rows_of[*signature] > 1 {
                self.note_match(*signature, &meta, &both, earliest);
            }
            if self.operation.is_trim() {
                notes.add_floats();
            }
            let mut result = self.many.tile.row_mut(row);
            result.valid.copy_from_slice(&both);
            self.operation.apply(&mut result, self.one.row(*other).values, self.swapped);
            is_result.push(!result.as_row().is_empty());
            self.many.series[row] = meta;
        }
        self.many.retain(&is_result);
        Ok(())
    }

    /// Notes where two series of the "one" side have the same matching labels, while neither side is empty and stays so.
    fn check_one_side(&self, ones: &[Vec<usize>], earliest: &mut Earliest) {
        if ones.iter().all(|rows| rows.len() < 2) {
            return;
        }
        let populated: Vec<u64> = if self.fill_many.is_some() || self.fill_one.is_some() {
            vec![u64::MAX; self.one.steps().div_ceil(64)]
        } else {
            any_value(&self.many).iter().zip(any_value(&self.one)).map(|(a, b)| a & b).collect()
        };
        for rows in ones.iter().filter(|rows| rows.len() > 1) {
            let mut seen = vec![0; populated.len()];
            for (i, row) in rows.iter().enumerate() {
                let present = self.one.row(*row).present();
                let step = first_common(&present, &seen, &populated);
                earliest.note(step, || self.duplicate(&rows[..i], *row, step.unwrap_or(0)));
                seen.iter_mut().zip(present.iter()).for_each(|(seen, word)| *seen |= word);
            }
        }
    }

    fn duplicate(&self, before: &[usize], row: usize, step: usize) -> EvalError {
        let text = |row: usize| self.one.series[row].labels.to_string();
        let first = before.iter().find(|other| self.one.row(**other).has(step)).map_or_else(String::new, |other| text(*other));
        EvalError::DuplicateMatch {
            group: matching_labels(&self.one.series[row].labels, self.by).to_string(),
            side: if self.swapped { "left" } else { "right" },
            first,
            second: text(row),
        }
    }

    /// Adds the results of all matching pairs; those of the same labels are not joined yet.
    fn pairs(
        &mut self,
        evaluator: &Evaluator<'_>,
        of_many: &[usize],
        ones: &[Vec<usize>],
        out: &mut Output<'_>,
        earliest: &mut Earliest,
    ) -> Result<(), EvalError> {
        for (row, signature) in of_many.iter().enumerate() {
            evaluator.budget.check()?;
            for other in &ones[*signature] {
                let both: Vec<u64> = common(self.many.row(row), self.one.row(*other)).collect();
                if both.iter().all(|word| *word == 0) {
                    continue;
                }
                let meta = self.result_meta(&self.many.series[row].labels, &self.one.series[*other].labels);
                self.note_match(*signature, &meta, &both, earliest);
                out.push(meta, (self.many.row(row), self.one.row(*other)), &both);
            }
        }
        Ok(())
    }

    /// Adds the results of series with what stands for the missing other side.
    fn fill_missing(
        &mut self,
        evaluator: &Evaluator<'_>,
        (of_many, of_one): (&[usize], &[usize]),
        out: &mut Output<'_>,
        earliest: &mut Earliest,
    ) -> Result<(), EvalError> {
        let steps = self.many.steps();
        for (fill, is_one_missing) in [(self.fill_one, true), (self.fill_many, false)] {
            let Some(fill) = fill else { continue };
            let filled = Filled::new(steps, fill);
            let (present, signatures) = if is_one_missing { (&self.one, of_many) } else { (&self.many, of_one) };
            let of_present = if is_one_missing { of_one } else { of_many };
            let taken = presence(present, of_present);
            for (row, signature) in signatures.iter().enumerate() {
                evaluator.budget.check()?;
                let own = if is_one_missing { self.many.row(row) } else { self.one.row(row) };
                let alone: Vec<u64> = match taken.get(signature) {
                    Some(taken) => own.present().iter().zip(taken).map(|(own, taken)| own & !taken).collect(),
                    None => own.present().into_owned(),
                };
                if alone.iter().all(|word| *word == 0) {
                    continue;
                }
                let series = if is_one_missing { &self.many.series[row] } else { &self.one.series[row] };
                let stand_in = matching_labels(&series.labels, self.by);
                let meta = match is_one_missing {
                    true => self.result_meta(&series.labels, &stand_in),
                    false => self.result_meta(&stand_in, &series.labels),
                };
                self.note_match(*signature, &meta, &alone, earliest);
                let rows = if is_one_missing { (self.many.row(row), filled.row()) } else { (filled.row(), self.one.row(row)) };
                out.push(meta, rows, &alone);
            }
        }
        Ok(())
    }

    /// Notes the steps at which a signature, or one result of it, has matched before.
    fn note_match(&mut self, signature: usize, meta: &SeriesMeta, at: &[u64], earliest: &mut Earliest) {
        let is_one_to_one = self.by.cardinality == Cardinality::OneToOne;
        let key = (signature, (!is_one_to_one).then(|| meta.labels.clone()));
        let seen = self.matched.entry(key).or_insert_with(|| vec![0; at.len()]);
        earliest.note(
            first_common(at, seen, at),
            || {
                if is_one_to_one { EvalError::ImplicitManyToOne } else { EvalError::AmbiguousGrouping }
            },
        );
        seen.iter_mut().zip(at).for_each(|(seen, word)| *seen |= word);
    }

    fn result_meta(&self, many: &Labels, one: &Labels) -> SeriesMeta {
        let drops_now = self.operation.drops_name() && (!self.operation.return_bool || !self.delayed);
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

/// A row that has the same float everywhere.
struct Filled {
    values: Vec<f64>,
    valid: Vec<u64>,
}

impl Filled {
    fn new(steps: usize, value: f64) -> Self {
        Self { values: vec![value; steps], valid: vec![u64::MAX; steps.div_ceil(64)] }
    }

    fn row(&self) -> Row<'_> {
        Row { values: &self.values, valid: &self.valid, histograms: &[] }
    }
}

/// For each signature, the steps at which any of its series has a value.
fn presence(block: &Block, signatures: &[usize]) -> HashMap<usize, Vec<u64>> {
    let mut present: HashMap<usize, Vec<u64>> = HashMap::new();
    for (row, signature) in signatures.iter().enumerate() {
        let words = present.entry(*signature).or_insert_with(|| vec![0; block.steps().div_ceil(64)]);
        words.iter_mut().zip(block.row(row).present().iter()).for_each(|(any, word)| *any |= word);
    }
    present
}

/// Where results go.
struct Output<'a> {
    operation: Operation,
    swapped: bool,
    block: Block,
    notes: &'a mut Notes,
}

impl Output<'_> {
    /// Adds the result of a row of each side, (many, one), at the steps whose bits are set.
    fn push(&mut self, meta: SeriesMeta, (many, one): (Row<'_>, Row<'_>), at: &[u64]) {
        let operation = self.operation;
        let keeps_left_value = self.swapped && operation.op.is_comparison() && !operation.return_bool;
        let (left, right) = if self.swapped { (one, many) } else { (many, one) };
        self.block.push_with(meta, |out| {
            // A comparison keeps the value of the left operand, whichever side is the "one" side.
            let (base, other, swapped) = if keeps_left_value { (one, many, false) } else { (many, one, self.swapped) };
            out.values.copy_from_slice(base.values);
            out.valid.iter_mut().zip(at).zip(left.valid.iter().zip(right.valid)).for_each(|((out, at), (a, b))| *out = at & a & b);
            if operation.is_trim() && out.as_row().count() > 0 {
                self.notes.add_floats();
            }
            operation.apply(out, other.values, swapped);
            histogram::pairs(operation, (left, right), at, out, self.notes);
        });
    }
}

/// The steps at which any series has a value.
fn any_value(block: &Block) -> Vec<u64> {
    let mut any = vec![0; block.steps().div_ceil(64)];
    for row in 0..block.len() {
        any.iter_mut().zip(block.row(row).present().iter()).for_each(|(any, word)| *any |= word);
    }
    any
}

fn first_common(a: &[u64], b: &[u64], c: &[u64]) -> Option<usize> {
    let all: Vec<u64> = a.iter().zip(b).zip(c).map(|((a, b), c)| a & b & c).collect();
    set_bits(&all).next()
}
