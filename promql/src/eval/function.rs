//! Functions: which exist, and those that work series by series.

mod classic;
pub(crate) mod compensated;
pub(crate) mod date;
pub(crate) mod histogram;
pub(crate) mod label;
pub(crate) mod math;
mod native;
pub(crate) mod sort;

use super::absent;
use super::block::{Block, RowMut, SeriesMeta, set_bits};
use super::labels::{drop_name, is_unique_without_name, join_equal};
use super::range::RangeFunction;
use super::selector::{Of, stream_newest};
use super::{Evaluator, Sink, info};
use crate::error::EvalError;
use crate::plan::{Node, NodeId, NodeKind};
pub(crate) use date::DatePart;
use histogram::Statistic;
pub(crate) use math::MathFunction;
use model::Labels;

/// A function of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Function {
    /// Of the samples in a window.
    Range(RangeFunction),
    /// `absent`.
    Absent,
    /// `absent_over_time`.
    AbsentOverTime,
    /// Of one value.
    Math(MathFunction),
    /// `clamp`, `clamp_min` and `clamp_max` by which bounds they have.
    Clamp {
        /// Whether there is a lower bound.
        min: bool,
        /// Whether there is an upper bound.
        max: bool,
    },
    /// `round`.
    Round,
    /// Part of a date.
    Date(DatePart),
    /// `timestamp`.
    Timestamp,
    /// `start_timestamp`.
    StartTimestamp,
    /// `info`; the second argument is the selector of the info series, whether or not one was given.
    Info {
        /// Whether info series themselves stay as they are.
        skips_info: bool,
    },
    /// `time`.
    Time,
    /// `pi`.
    Pi,
    /// `start`, first evaluation time of the query.
    Start,
    /// `end`, last evaluation time of the query.
    End,
    /// `step` of the query.
    Step,
    /// `range` of the query, from its start to its end.
    QueryRange,
    /// `max_of`.
    MaxOf,
    /// `min_of`.
    MinOf,
    /// `vector`.
    Vector,
    /// `scalar`.
    Scalar,
    /// `histogram_quantile`.
    HistogramQuantile,
    /// `histogram_quantiles`.
    HistogramQuantiles,
    /// `histogram_fraction`.
    HistogramFraction,
    /// A number of each native histogram.
    HistogramStatistic(Statistic),
    /// `label_replace`.
    LabelReplace,
    /// `label_join`.
    LabelJoin,
    /// `sort` and `sort_desc`.
    Sort {
        /// Largest first.
        descending: bool,
    },
    /// `sort_by_label` and `sort_by_label_desc`.
    SortByLabel {
        /// Last label value first.
        descending: bool,
    },
}

impl Function {
    /// Which argument's series the result has, one for one, if they lose at most their names.
    pub(crate) fn series_argument(self) -> Option<usize> {
        match self {
            Self::Range(function) => Some(function.range_argument()),
            Self::Math(_) | Self::Clamp { .. } | Self::Round | Self::Date(_) | Self::Timestamp => Some(0),
            Self::Sort { .. } | Self::SortByLabel { .. } | Self::HistogramStatistic(_) => Some(0),
            _ => None,
        }
    }
}

/// Finds how a function of the language is computed; all of them are.
pub(crate) fn resolve(name: &str) -> Option<Function> {
    if let Some(function) = MathFunction::find(name) {
        return Some(Function::Math(function));
    }
    if let Some(part) = DatePart::find(name) {
        return Some(Function::Date(part));
    }
    if let Some(statistic) = Statistic::find(name) {
        return Some(Function::HistogramStatistic(statistic));
    }
    if let Some(function) = RangeFunction::find(name) {
        return Some(Function::Range(function));
    }
    resolve_other(name)
}

fn resolve_other(name: &str) -> Option<Function> {
    Some(match name {
        "absent" => Function::Absent,
        "absent_over_time" => Function::AbsentOverTime,
        "clamp" => Function::Clamp { min: true, max: true },
        "clamp_min" => Function::Clamp { min: true, max: false },
        "clamp_max" => Function::Clamp { min: false, max: true },
        "round" => Function::Round,
        "timestamp" => Function::Timestamp,
        "start_timestamp" => Function::StartTimestamp,
        "time" => Function::Time,
        "pi" => Function::Pi,
        "start" => Function::Start,
        "end" => Function::End,
        "step" => Function::Step,
        "range" => Function::QueryRange,
        "max_of" => Function::MaxOf,
        "min_of" => Function::MinOf,
        "vector" => Function::Vector,
        "scalar" => Function::Scalar,
        "histogram_quantile" => Function::HistogramQuantile,
        "histogram_quantiles" => Function::HistogramQuantiles,
        "histogram_fraction" => Function::HistogramFraction,
        "label_replace" => Function::LabelReplace,
        "label_join" => Function::LabelJoin,
        "sort" => Function::Sort { descending: false },
        "sort_desc" => Function::Sort { descending: true },
        "sort_by_label" => Function::SortByLabel { descending: false },
        "sort_by_label_desc" => Function::SortByLabel { descending: true },
        _ => return None,
    })
}

/// The value at each step of a function that returns a scalar.
pub(crate) fn scalar(evaluator: &mut Evaluator<'_>, node: &Node, function: Function, args: &[NodeId]) -> Result<Vec<f64>, EvalError> {
    let steps = node.grid.steps;
    let params = evaluator.plan.params;
    let seconds = |ms: i64| ms as f64 / 1000.0;
    let end_ms = if params.step_ms == 0 { params.start_ms } else { params.end_ms };
    Ok(match function {
        Function::Time => (0..steps).map(|step| seconds(node.grid.time(step))).collect(),
        Function::Pi => vec![std::f64::consts::PI; steps],
        Function::Start => vec![seconds(params.start_ms); steps],
        Function::End => vec![seconds(end_ms); steps],
        Function::Step => vec![seconds(params.step_ms); steps],
        Function::QueryRange => vec![seconds(end_ms - params.start_ms); steps],
        Function::MaxOf | Function::MinOf => {
            let (left, right) = (evaluator.scalar(args[0])?, evaluator.scalar(args[1])?);
            let choose = if function == Function::MaxOf { math::max } else { math::min };
            left.into_iter().zip(right).map(|(a, b)| choose(a, b)).collect()
        }
        Function::Scalar => only_values(&evaluator.vector(args[0])?),
        _ => unreachable!("{function:?} returns no scalar"),
    })
}

/// At each step the value of the only series that has one, else NaN.
fn only_values(block: &Block) -> Vec<f64> {
    let mut values = vec![f64::NAN; block.steps()];
    let mut counts = vec![0_u32; block.steps()];
    for i in 0..block.len() {
        for (step, value) in block.row(i).iter() {
            counts[step] += 1;
            values[step] = value;
        }
    }
    values.iter().zip(counts).map(|(value, count)| if count == 1 { *value } else { f64::NAN }).collect()
}

/// Streams the series of a function that returns a vector, other than those of ranges.
pub(crate) fn stream<'p>(
    evaluator: &mut Evaluator<'p>,
    node: &'p Node,
    function: Function,
    args: &[NodeId],
    sink: Sink<'_, 'p>,
) -> Result<(), EvalError> {
    match function {
        Function::Math(function) => {
            let f = function.as_fn();
            map_values(evaluator, args[0], sink, |_, row| row.values.iter_mut().for_each(|v| *v = f(*v)))
        }
        Function::Clamp { min, max } => clamp(evaluator, args, (min, max), sink),
        Function::Round => round(evaluator, args, sink),
        Function::Date(part) if args.is_empty() => {
            let grid = node.grid;
            let block = single_series(grid.steps, |step| part.of(grid.time(step) as f64 / 1000.0));
            sink(evaluator, block)
        }
        Function::Date(part) => map_values(evaluator, args[0], sink, |_, row| row.values.iter_mut().for_each(|v| *v = part.of(*v))),
        Function::Timestamp => timestamp(evaluator, args[0], sink),
        Function::StartTimestamp => start_timestamp(evaluator, args[0], sink),
        Function::Info { skips_info } => {
            let block = info::evaluate(evaluator, args, skips_info)?;
            sink(evaluator, block)
        }
        Function::Vector => {
            let values = evaluator.scalar(args[0])?;
            sink(evaluator, single_series(values.len(), |step| values[step]))
        }
        Function::Absent => absent::of_vector(evaluator, node, args[0], sink),
        Function::AbsentOverTime => absent::over_time(evaluator, node, args[0], sink),
        Function::HistogramQuantile => histogram::quantile(evaluator, args, sink),
        Function::HistogramQuantiles => histogram::quantiles(evaluator, args, sink),
        Function::HistogramFraction => histogram::fraction(evaluator, args, sink),
        Function::HistogramStatistic(of) => histogram::statistic(evaluator, args[0], of, sink),
        Function::LabelReplace => label::replace(evaluator, args, sink),
        Function::LabelJoin => label::join(evaluator, args, sink),
        Function::Sort { descending } => sort::by_value(evaluator, node, args[0], descending, sink),
        Function::SortByLabel { descending } => sort::by_label(evaluator, node, args, descending, sink),
        _ => unreachable!("{function:?} returns no vector"),
    }
}

/// One series without labels.
fn single_series(steps: usize, value: impl Fn(usize) -> f64) -> Block {
    let mut block = Block::with_rows(steps, 1);
    let meta = SeriesMeta { labels: Labels::empty(), drop_name: false };
    block.push_with(meta, |row| (0..steps).for_each(|step| row.set(step, value(step))));
    block
}

/// Streams the series of `input` without their names and with the floats that `change` makes of each row; histograms are ignored.
pub(crate) fn map_values<'p>(
    evaluator: &mut Evaluator<'p>,
    input: NodeId,
    sink: Sink<'_, 'p>,
    change: impl Fn(&Evaluator<'p>, &mut RowMut<'_>),
) -> Result<(), EvalError> {
    map_rows(evaluator, input, sink, |evaluator, row| {
        row.clear_histograms();
        change(evaluator, row);
    })
}

/// Streams the series of `input` without their names and with what `change` makes of each row.
pub(crate) fn map_rows<'p>(
    evaluator: &mut Evaluator<'p>,
    input: NodeId,
    sink: Sink<'_, 'p>,
    change: impl Fn(&Evaluator<'p>, &mut RowMut<'_>),
) -> Result<(), EvalError> {
    let delayed = evaluator.plan.params.delayed_name_removal;
    let is_unique = delayed || is_unique_without_name(evaluator.plan, input);
    let mut apply = |evaluator: &mut Evaluator<'p>, mut block: Block| {
        for i in 0..block.len() {
            drop_name(&mut block.series[i], delayed);
            change(evaluator, &mut block.tile.row_mut(i));
        }
        let block = if is_unique { block } else { join_equal(block, evaluator.budget)? };
        sink(evaluator, block)
    };
    if is_unique {
        return evaluator.stream(input, &mut apply);
    }
    let all = evaluator.vector(input)?;
    apply(evaluator, all)
}

fn clamp<'p>(
    evaluator: &mut Evaluator<'p>,
    args: &[NodeId],
    (has_min, has_max): (bool, bool),
    sink: Sink<'_, 'p>,
) -> Result<(), EvalError> {
    let bound = |evaluator: &mut Evaluator<'p>, has: bool, at: usize, otherwise: f64| -> Result<Vec<f64>, EvalError> {
        if has { evaluator.scalar(args[at]) } else { Ok(vec![otherwise; evaluator.node(args[0]).grid.steps]) }
    };
    let mins = bound(evaluator, has_min, 1, f64::NEG_INFINITY)?;
    let maxs = bound(evaluator, has_max, if has_min { 2 } else { 1 }, f64::INFINITY)?;
    map_values(evaluator, args[0], sink, |_, row| {
        for step in 0..row.values.len() {
            if maxs[step] < mins[step] {
                row.clear(step);
            }
            row.values[step] = math::max(mins[step], math::min(maxs[step], row.values[step]));
        }
    })
}

fn round<'p>(evaluator: &mut Evaluator<'p>, args: &[NodeId], sink: Sink<'_, 'p>) -> Result<(), EvalError> {
    let nearest = match args.get(1) {
        Some(arg) => evaluator.scalar(*arg)?,
        None => vec![1.0; evaluator.node(args[0]).grid.steps],
    };
    map_values(evaluator, args[0], sink, |_, row| {
        for (value, nearest) in row.values.iter_mut().zip(&nearest) {
            // The inverse keeps multiples of 0.1 and the like exact.
            let inverse = 1.0 / nearest;
            *value = (*value * inverse + 0.5).floor() / inverse;
        }
    })
}

/// `start_timestamp`: of the sample itself; there is none if the argument is not a selector.
fn start_timestamp<'p>(evaluator: &mut Evaluator<'p>, input: NodeId, sink: Sink<'_, 'p>) -> Result<(), EvalError> {
    match &evaluator.node(input).kind {
        NodeKind::Vector { .. } if evaluator.plan.params.use_start_timestamps => of_samples(evaluator, input, Of::StartTimestamp, sink),
        _ => Ok(()),
    }
}

/// `timestamp`: of the sample itself if the argument is a selector, else of the evaluation.
fn timestamp<'p>(evaluator: &mut Evaluator<'p>, input: NodeId, sink: Sink<'_, 'p>) -> Result<(), EvalError> {
    let argument = evaluator.node(input);
    if matches!(argument.kind, NodeKind::Vector { .. }) {
        return of_samples(evaluator, input, Of::Timestamp, sink);
    }
    let grid = argument.grid;
    map_rows(evaluator, input, sink, |_, row| {
        let present = row.as_row().present().into_owned();
        row.clear_histograms();
        set_bits(&present).for_each(|step| row.set(step, grid.time(step) as f64 / 1000.0));
    })
}

/// Streams something of the samples that a selector finds.
fn of_samples<'p>(evaluator: &mut Evaluator<'p>, input: NodeId, of: Of, sink: Sink<'_, 'p>) -> Result<(), EvalError> {
    let argument = evaluator.node(input);
    let delayed = evaluator.plan.params.delayed_name_removal;
    let is_unique = delayed || is_unique_without_name(evaluator.plan, input);
    let mut all = Block::new(argument.grid.steps);
    stream_newest(
        evaluator,
        argument,
        &mut |evaluator, mut block| {
            block.series.iter_mut().for_each(|meta| drop_name(meta, delayed));
            if is_unique {
                return sink(evaluator, block);
            }
            all.append(block.account(evaluator.budget)?);
            Ok(())
        },
        of,
    )?;
    if is_unique {
        return Ok(());
    }
    let all = join_equal(all, evaluator.budget)?;
    sink(evaluator, all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_function_of_the_language_is_evaluated() {
        // The plan makes `info` itself, as its second argument is no expression.
        let missing = crate::functions::FUNCTIONS.iter().filter(|f| f.name != "info" && resolve(f.name).is_none());
        assert_eq!(missing.map(|f| f.name).collect::<Vec<_>>(), [""; 0]);
        assert_eq!(crate::functions::FUNCTIONS.len(), 90);
    }
}
