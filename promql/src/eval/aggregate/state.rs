//! States of aggregations that take one series after another. They can be merged, so that parts may come from several shards.

use super::histogram::{HistogramSums, SumNotes};
use crate::ast::AggregateOp;
use crate::eval::block::{Row, RowMut, is_set};
use crate::frame::codec::{FrameError, Reader, put_float, put_number, put_words};
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
    /// `sum` and `avg`, also of histograms, with squares `stddev` and `stdvar`.
    Sums { counts: Vec<u32>, saw: Vec<u8>, sums: Box<ExactSums>, squares: Option<Box<ExactSums>>, histograms: HistogramSums },
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
                let sums = Box::new(ExactSums::new(steps));
                Self::Sums { counts: vec![0; steps], saw: vec![0; steps], sums, squares, histograms: HistogramSums::default() }
            }
        }
    }

    /// Bytes held, for memory accounting.
    pub(crate) fn heap_bytes(&self) -> usize {
        match self {
            Self::Count(counts) => counts.len() * 4,
            Self::Extreme { values, .. } => values.len() * 9,
            Self::Sums { counts, sums, squares, histograms, .. } => {
                let squares = squares.as_ref().map_or(0, |squares| squares.heap_bytes());
                counts.len() * 5 + sums.heap_bytes() + squares + histograms.heap_bytes()
            }
        }
    }

    /// Takes the state of other series of the same group.
    pub(crate) fn merge(&mut self, other: Self) {
        match (self, other) {
            (Self::Count(counts), Self::Count(theirs)) => {
                counts.iter_mut().zip(theirs).for_each(|(count, more)| *count = count.saturating_add(more));
            }
            (Self::Extreme { values, valid, largest }, Self::Extreme { values: theirs, valid: bits, .. }) => {
                let mut none = Vec::new();
                let mut best = RowMut { values, valid, histograms: &mut none };
                take_extremes(&mut best, Row { values: &theirs, valid: &bits, histograms: &[] }, *largest);
            }
            (
                Self::Sums { counts, saw, sums, squares, histograms },
                Self::Sums { counts: their_counts, saw: their_saw, sums: theirs, squares: more, histograms: their_histograms },
            ) => {
                counts.iter_mut().zip(their_counts).for_each(|(count, more)| *count = count.saturating_add(more));
                saw.iter_mut().zip(their_saw).for_each(|(saw, more)| *saw |= more);
                sums.merge(&theirs);
                histograms.merge(their_histograms);
                if let (Some(squares), Some(more)) = (squares, more) {
                    squares.merge(&more);
                }
            }
            _ => unreachable!("states of one aggregation are of one kind"),
        }
    }

    /// Appends the state as bytes.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Count(counts) => counts.iter().for_each(|count| put_number(out, u64::from(*count))),
            Self::Extreme { values, valid, .. } => {
                put_words(out, valid);
                Row { values, valid, histograms: &[] }.for_each(|_, value| put_float(out, value));
            }
            Self::Sums { counts, saw, sums, squares, histograms } => {
                counts.iter().for_each(|count| put_number(out, u64::from(*count)));
                let has_seen = saw.iter().any(|saw| *saw != 0);
                out.push(u8::from(has_seen));
                if has_seen {
                    out.extend_from_slice(saw);
                }
                sums.encode(counts, out);
                if let Some(squares) = squares {
                    squares.encode(counts, out);
                }
                histograms.encode(out);
            }
        }
    }

    /// Reads what [`Self::encode`] wrote of a state of so many steps.
    pub(crate) fn decode(op: AggregateOp, steps: usize, reader: &mut Reader<'_>) -> Result<Self, FrameError> {
        // The smallest state takes a bit a step.
        if steps / 8 > reader.left() {
            return Err(reader.error("cut off"));
        }
        let mut state = Self::new(op, steps);
        match &mut state {
            Self::Count(counts) => decode_counts(counts, reader)?,
            Self::Extreme { values, valid, .. } => {
                *valid = reader.words(steps.div_ceil(64))?;
                if !steps.is_multiple_of(64) && valid.last().is_some_and(|last| last >> (steps % 64) != 0) {
                    return Err(reader.error("bit beyond the last step"));
                }
                let mut found = reader.floats(valid.iter().map(|word| word.count_ones() as usize).sum())?;
                values.iter_mut().enumerate().filter(|(step, _)| is_set(valid, *step)).for_each(|(_, value)| {
                    *value = found.next().unwrap_or(f64::NAN);
                });
            }
            Self::Sums { counts, saw, sums, squares, histograms } => {
                decode_counts(counts, reader)?;
                if reader.byte()? != 0 {
                    saw.copy_from_slice(reader.take(steps)?);
                }
                **sums = ExactSums::decode(counts, reader)?;
                if let Some(squares) = squares {
                    **squares = ExactSums::decode(counts, reader)?;
                }
                *histograms = HistogramSums::decode(steps, reader)?;
            }
        }
        Ok(state)
    }

    /// Takes one series of a metric; returns how many bytes more that holds. Histograms are left out but of counts and sums.
    pub(crate) fn add(&mut self, row: Row<'_>, metric_name: &str) -> usize {
        let mut grown = 0;
        match self {
            Self::Count(counts) => {
                row.for_each_run(|first, values| counts[first..first + values.len()].iter_mut().for_each(|count| *count += 1));
                row.histograms.iter().for_each(|(step, _)| counts[*step] += 1);
            }
            Self::Extreme { values, valid, largest } => {
                let mut none = Vec::new();
                take_extremes(&mut RowMut { values, valid, histograms: &mut none }, row, *largest);
            }
            Self::Sums { counts, saw, sums, squares, histograms } => {
                if squares.is_none() {
                    grown = histograms.add(row, metric_name);
                }
                row.for_each_run(|first, values| {
                    counts[first..first + values.len()].iter_mut().for_each(|count| *count += 1);
                    sums.add_run(first, values, |step, value| saw[step] |= non_finite(value));
                    if let Some(squares) = squares {
                        let finite = values.iter().enumerate().filter(|(_, value)| value.is_finite());
                        finite.for_each(|(k, value)| squares.add_square(first + k, *value));
                    }
                });
            }
        }
        grown
    }

    /// Writes the results, and what is to be told about them.
    pub(crate) fn finish(&self, op: AggregateOp, row: &mut RowMut<'_>, notes: &mut SumNotes) {
        match self {
            Self::Count(counts) => {
                let value = |count: u32| if op == AggregateOp::Group { 1.0 } else { f64::from(count) };
                counts.iter().enumerate().filter(|(_, count)| **count > 0).for_each(|(step, count)| row.set(step, value(*count)));
            }
            Self::Extreme { values, valid, .. } => {
                row.values.copy_from_slice(values);
                row.valid.copy_from_slice(valid);
            }
            Self::Sums { counts, saw, sums, squares, histograms } => {
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
                histograms.finish(op == AggregateOp::Avg, row, notes);
            }
        }
    }
}

fn decode_counts(counts: &mut [u32], reader: &mut Reader<'_>) -> Result<(), FrameError> {
    for count in counts {
        *count = u32::try_from(reader.number()?).map_err(|_| reader.error("count out of range"))?;
    }
    Ok(())
}

fn take_extremes(best: &mut RowMut<'_>, row: Row<'_>, largest: bool) {
    row.for_each(|step, value| {
        if best.as_row().get(step).is_none_or(|old| replaces(value, old, largest)) {
            best.set(step, value);
        }
    });
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
