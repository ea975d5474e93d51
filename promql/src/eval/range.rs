//! Functions over ranges: each series' samples are walked once while the window slides over them.

pub(crate) mod function;
pub(crate) mod histogram;
pub(crate) mod over_time;
pub(crate) mod rate;
pub(crate) mod regression;
pub(crate) mod window;

use super::block::{Block, Row, RowMut, SeriesMeta};
use super::labels::{drop_name, is_unique_without_name, require_unique};
use super::selector::tile_series;
use super::{Evaluator, Sink};
use crate::annotations::Annotations;
use crate::ast::{Extended, Span};
use crate::error::EvalError;
use crate::plan::{Grid, Node, NodeId, NodeKind, RangeInput, TimeShift};
use crate::source::{HistogramSample, SeriesView, histogram_bytes, histogram_samples};
use crate::stats::Seen;
use crate::value::Series;
pub(crate) use function::RangeFunction;
use model::Labels;
use model::histogram::{CounterResetHint, FloatHistogram};
use model::labels::quote;
use model::sample::{STALE_NAN_BITS, is_stale};
use rate::Ends;
use std::borrow::Cow;
use std::sync::Arc;
use window::{Layout, Samples, Windows, reach_ms};

/// A range vector argument, resolved.
#[derive(Clone, Copy, Debug)]
struct RangeArgument<'p> {
    node: &'p Node,
    input: RangeInput,
    range_ms: i64,
    shift: TimeShift,
    extended: Option<Extended>,
    span: Span,
}

fn range_argument(node: &Node) -> RangeArgument<'_> {
    match &node.kind {
        NodeKind::Matrix { input, range_ms, shift, extended, .. } => {
            RangeArgument { node, input: *input, range_ms: *range_ms, shift: *shift, extended: *extended, span: node.span }
        }
        _ => unreachable!("the type check lets only range vectors be used as such"),
    }
}

/// Streams the series of a range function.
pub(crate) fn stream<'p>(
    evaluator: &mut Evaluator<'p>,
    node: &'p Node,
    function: RangeFunction,
    args: &[NodeId],
    sink: Sink<'_, 'p>,
) -> Result<(), EvalError> {
    let names_unread = evaluator.names_unread.take().is_some_and(|id| std::ptr::eq(evaluator.node(id), node));
    let range_id = args[function.range_argument()];
    let argument = range_argument(evaluator.node(range_id));
    check_extended(argument.extended, function)?;
    let params = parameters(evaluator, function, args)?;
    let delayed = evaluator.plan.params.delayed_name_removal;
    let is_unique = delayed || function.keeps_name() || is_unique_without_name(evaluator.plan, range_id);
    let mut all = (!is_unique).then(|| Block::new(node.grid.steps));
    let lookback_ms = evaluator.plan.params.lookback_ms;
    let _layout = evaluator.budget.reserve(0, (node.grid.steps as u64).saturating_mul(Layout::STEP_BYTES))?;
    let windows = Windows::new(node.grid, argument.range_ms, argument.shift).reaching(argument.extended, lookback_ms);
    let rows = tile_series(node.grid.steps, evaluator.tile_bytes);
    let mut block = evaluator.blank(node.grid.steps, rows)?;
    let inner = for_each_series(evaluator, argument, &mut |evaluator, mut meta, samples| {
        let before = block.len();
        let labels = meta.labels.clone();
        if !function.keeps_name() && (!names_unread || all.is_some()) {
            drop_name(&mut meta, delayed);
        }
        windows.count(samples);
        let annotations = &mut evaluator.annotations;
        let mut call = RangeCall { function, windows: &windows, params: &params, labels: &labels, span: argument.span, annotations };
        block.push_with(meta, |row| call.compute(samples, row));
        if block.len() > before && block.row(before).count() > 0 {
            annotate(evaluator, function, &labels, argument.span);
        }
        if block.len() == rows {
            let full = std::mem::replace(&mut block, Block::new(node.grid.steps));
            match &mut all {
                Some(all) => all.append(full.account(evaluator.budget)?),
                None => {
                    let full = full.hold_histograms(evaluator.budget)?;
                    sink(evaluator, full)?;
                }
            }
            block = evaluator.blank(node.grid.steps, rows)?;
        }
        Ok(())
    })?;
    windows.count_into(&mut evaluator.seen, inner);
    match all {
        Some(mut all) => {
            all.append(block.account(evaluator.budget)?);
            require_unique(&all)?;
            sink(evaluator, all)
        }
        None if block.is_empty() => Ok(()),
        None => {
            let rest = block.hold_histograms(evaluator.budget)?;
            sink(evaluator, rest)
        }
    }
}

/// Only differences can be taken of windows whose ends are extended.
fn check_extended(extended: Option<Extended>, function: RangeFunction) -> Result<(), EvalError> {
    use RangeFunction as F;
    match (extended, function) {
        (None, _) | (Some(_), F::Rate | F::Increase | F::Delta) | (Some(Extended::Anchored), F::Resets | F::Changes) => Ok(()),
        (Some(extended), _) => Err(refused(extended, function.name())),
    }
}

fn refused(extended: Extended, function: &'static str) -> EvalError {
    let allowed = match extended {
        Extended::Anchored => "changes, delta, increase, rate, resets",
        Extended::Smoothed => "delta, increase, rate",
    };
    EvalError::ExtendedFunction { modifier: extended.as_str(), allowed, function }
}

/// The other arguments' values at each step.
fn parameters(evaluator: &mut Evaluator<'_>, function: RangeFunction, args: &[NodeId]) -> Result<Vec<Vec<f64>>, EvalError> {
    let mut params = Vec::new();
    for (i, arg) in args.iter().enumerate() {
        if i != function.range_argument() {
            params.push(evaluator.scalar(*arg)?);
        }
    }
    match function {
        RangeFunction::Quantile => {
            let span = evaluator.node(args[0]).span;
            super::aggregate::quantile::warn_about(evaluator, &params[0], span);
        }
        RangeFunction::DoubleExponentialSmoothing => {
            regression::check_factors(params[0].iter().copied(), params[1].iter().copied())?;
        }
        _ => {}
    }
    Ok(params)
}

/// A function over ranges and what it is computed with, beside the samples of one series.
pub(crate) struct RangeCall<'a> {
    /// The function.
    pub(crate) function: RangeFunction,
    /// The windows of all steps.
    pub(crate) windows: &'a Windows,
    /// The other arguments' values at each step.
    pub(crate) params: &'a [Vec<f64>],
    /// Labels of the series, its name among them.
    pub(crate) labels: &'a Labels,
    /// Where the range vector stands in the query.
    pub(crate) span: Span,
    /// Where annotations go.
    pub(crate) annotations: &'a mut Annotations,
}

impl RangeCall<'_> {
    fn compute(&mut self, samples: Samples<'_>, row: &mut RowMut<'_>) {
        if !samples.times.is_empty() {
            self.compute_floats(samples, row);
        }
        if !samples.histograms.is_empty() {
            self.compute_histograms(samples, row);
        }
    }

    fn warn_overlap(&mut self) {
        let name = quote(self.labels.metric_name());
        let text = format!("sample has start time that overlaps with previous sample timestamp for metric {name}");
        self.annotations.warn(self.span, text);
    }

    fn compute_floats(&mut self, samples: Samples<'_>, row: &mut RowMut<'_>) {
        use RangeFunction as F;
        let (function, windows, params) = (self.function, self.windows, self.params);
        match function {
            F::Rate | F::Increase | F::Delta if windows.extended().is_some() => rate::extended(samples, windows, function, row),
            F::Rate | F::Increase | F::Delta => {
                if rate::extrapolated(samples, windows, function, row) {
                    self.warn_overlap();
                }
            }
            F::Irate => rate::instant(samples, windows, true, row),
            F::Idelta => rate::instant(samples, windows, false, row),
            F::Resets => rate::count_pairs(samples, windows, |at| rate::is_reset(samples, at), row),
            F::Changes => rate::count_pairs(samples, windows, |at| rate::is_change(samples, at), row),
            F::Deriv => regression::deriv(samples, windows, row),
            F::PredictLinear => regression::predict_linear(samples, windows, &params[0], row),
            F::DoubleExponentialSmoothing => regression::smooth(samples, windows, &params[0], &params[1], row),
            _ => over_time::compute(function, samples, windows, params, row),
        }
    }
}

/// What annotations add to their texts: the metric name, if there is one.
pub(crate) fn metric_suffix(labels: &Labels) -> String {
    match labels.metric_name() {
        "" => String::new(),
        name => format!(" for metric name {}", quote(name)),
    }
}

/// Adds the info that a series of which a rate was taken looks like no counter.
fn annotate(evaluator: &mut Evaluator<'_>, function: RangeFunction, labels: &Labels, span: Span) {
    let name = labels.metric_name();
    if !matches!(function, RangeFunction::Rate | RangeFunction::Increase) || name.is_empty() {
        return;
    }
    if evaluator.plan.params.type_and_unit_labels {
        let kind = labels.get("__type__").unwrap_or("");
        if !matches!(kind, "counter" | "histogram") {
            let wanted = "__type__ label is not set to \"counter\" or \"histogram\"";
            let text = format!("metric might not be a counter, {wanted}, got {}: {}", quote(kind), quote(name));
            evaluator.annotations.info(span, text);
        }
    } else if !["_total", "_sum", "_count", "_bucket"].iter().any(|suffix| name.ends_with(suffix)) {
        let text = format!("metric might not be a counter, name does not end in _total/_sum/_count/_bucket: {}", quote(name));
        evaluator.annotations.info(span, text);
    }
}

/// Takes one series' meta data and samples, without stale markers.
type SeriesSink<'s, 'p> = &'s mut dyn FnMut(&mut Evaluator<'p>, SeriesMeta, Samples<'_>) -> Result<(), EvalError>;

/// What the evaluation of a subquery looked at on its grid.
type Inner = (Grid, Seen);

/// Hands out the series of a range vector; answers what the evaluation of a subquery looked at, nothing for a selector.
fn for_each_series<'p>(
    evaluator: &mut Evaluator<'p>,
    argument: RangeArgument<'_>,
    each: SeriesSink<'_, 'p>,
) -> Result<Option<Inner>, EvalError> {
    match argument.input {
        RangeInput::Select(_) => {
            let with_starts = evaluator.plan.params.use_start_timestamps;
            let mut floats = Floats::default();
            let (mut longest, mut _room) = (0, None);
            evaluator.visit_for(argument.node, &mut |evaluator, series| {
                if series.timestamps.len() > longest {
                    longest = series.timestamps.len().next_power_of_two();
                    _room = Some(evaluator.budget.reserve(0, longest as u64 * (Floats::SAMPLE_BYTES + Layout::SAMPLE_BYTES))?);
                }
                let meta = SeriesMeta { labels: series.labels.clone(), drop_name: false };
                let histograms = histograms_without_stale_markers(series, with_starts);
                let samples = floats.without_stale_markers(series, &histograms);
                each(evaluator, meta, if with_starts { samples } else { Samples { starts: &[], ..samples } })
            })?;
            Ok(None)
        }
        RangeInput::Subquery(inner) => {
            let grid = evaluator.node(inner).grid;
            let _held = evaluator.budget.reserve(0, (grid.steps as u64).saturating_mul(8))?;
            let all_times: Vec<i64> = (0..grid.steps).map(|i| grid.time(i)).collect();
            let seen = subquery_rows(evaluator, inner, &mut |evaluator, meta, row| {
                evaluator.budget.check()?;
                if row.is_full() {
                    return each(evaluator, meta, Samples { times: &all_times, values: row.values, starts: &[], histograms: &[] });
                }
                let (times, values): (Vec<i64>, Vec<f64>) = row.iter().map(|(step, value)| (all_times[step], value)).unzip();
                let histograms: Vec<HistogramSample> = row.histograms.iter().map(|(step, h)| of_subquery(all_times[*step], h)).collect();
                each(evaluator, meta, Samples { times: &times, values: &values, starts: &[], histograms: &histograms })
            })?;
            Ok(Some((grid, seen)))
        }
    }
}

/// Takes one series of a subquery and its values on the inner grid.
type RowSink<'s, 'p> = &'s mut dyn FnMut(&mut Evaluator<'p>, SeriesMeta, Row<'_>) -> Result<(), EvalError>;

/// Hands out the series of a subquery; answers what its own evaluation looked at.
fn subquery_rows<'p>(evaluator: &mut Evaluator<'p>, inner: NodeId, each: RowSink<'_, 'p>) -> Result<Seen, EvalError> {
    let node = evaluator.node(inner);
    let _held = evaluator.budget.reserve(0, (node.grid.steps as u64).saturating_mul(8 + Seen::STEP_BYTES))?;
    if node.grid.steps == 0 {
        return Ok(Seen::default());
    }
    let ((), seen) = evaluator.on_grid(node.grid.steps, |evaluator| inner_rows(evaluator, inner, each))?;
    Ok(seen)
}

fn inner_rows<'p>(evaluator: &mut Evaluator<'p>, inner: NodeId, each: RowSink<'_, 'p>) -> Result<(), EvalError> {
    let node = evaluator.node(inner);
    if node.value_type == crate::ast::ValueType::Scalar {
        let values = evaluator.scalar(inner)?;
        let mut block = Block::with_rows(values.len(), 1);
        let meta = SeriesMeta { labels: Labels::empty(), drop_name: false };
        block.push_with(meta.clone(), |row| values.iter().enumerate().for_each(|(step, value)| row.set(step, *value)));
        return if block.is_empty() { Ok(()) } else { each(evaluator, meta, block.row(0)) };
    }
    evaluator.stream(inner, &mut |evaluator, block| {
        for (i, meta) in block.series.iter().enumerate() {
            each(evaluator, meta.clone(), block.row(i))?;
        }
        Ok(())
    })
}

/// A histogram that a subquery computed: what was known of counter resets does not hold between the steps of its grid.
fn of_subquery(timestamp_ms: i64, histogram: &Arc<FloatHistogram>) -> HistogramSample {
    let mut histogram = Arc::clone(histogram);
    if matches!(histogram.counter_reset_hint, CounterResetHint::Reset | CounterResetHint::NotReset) {
        Arc::make_mut(&mut histogram).counter_reset_hint = CounterResetHint::Unknown;
    }
    HistogramSample { timestamp_ms, start_ms: 0, histogram }
}

/// Room for the floats of a series without its stale markers.
#[derive(Debug, Default)]
pub(crate) struct Floats {
    times: Vec<i64>,
    values: Vec<f64>,
    starts: Vec<i64>,
}

impl Floats {
    /// Bytes for each sample of the longest series.
    const SAMPLE_BYTES: u64 = 24;

    /// The samples of a series, its floats without stale markers, and these histograms.
    pub(crate) fn without_stale_markers<'a>(&'a mut self, series: SeriesView<'a>, histograms: &'a [HistogramSample]) -> Samples<'a> {
        let SeriesView { timestamps, values, start_timestamps, .. } = series;
        // Without an early end the search takes several values at a time.
        if !values.iter().fold(false, |found, v| found | (v.to_bits() == STALE_NAN_BITS)) {
            return Samples { times: timestamps, values, starts: start_timestamps, histograms };
        }
        let kept = || (0..values.len()).filter(|i| !is_stale(values[*i]));
        self.times.clear();
        self.times.extend(kept().map(|i| timestamps[i]));
        self.values.clear();
        self.values.extend(kept().map(|i| values[i]));
        self.starts.clear();
        if !start_timestamps.is_empty() {
            self.starts.extend(kept().map(|i| series.start_ms(i)));
        }
        Samples { times: &self.times, values: &self.values, starts: &self.starts, histograms }
    }
}

/// The histograms of a series that are no stale markers, with their start times or without.
pub(crate) fn histograms_without_stale_markers(series: SeriesView<'_>, with_starts: bool) -> Cow<'_, [HistogramSample]> {
    let is_kept = |h: &&HistogramSample| !is_stale(h.histogram.sum);
    if series.histograms.iter().all(|h| is_kept(&h) && (with_starts || h.start_ms == 0)) {
        return Cow::Borrowed(series.histograms);
    }
    let start_ms = |h: &HistogramSample| if with_starts { h.start_ms } else { 0 };
    series.histograms.iter().filter(is_kept).map(|h| HistogramSample { start_ms: start_ms(h), ..h.clone() }).collect()
}

/// The value of a range vector that is the whole of an instant query.
pub(crate) fn matrix_value(evaluator: &mut Evaluator<'_>, node: &Node) -> Result<Vec<Series>, EvalError> {
    let argument = range_argument(node);
    let end_ms = argument.shift.apply(node.grid.start_ms);
    let start_ms = end_ms.saturating_sub(argument.range_ms);
    let lookback_ms = evaluator.plan.params.lookback_ms;
    let (back_ms, ahead_ms) = argument.extended.map_or((0, 0), |extended| reach_ms(extended, lookback_ms));
    let mut series = Vec::new();
    let mut held = Vec::new();
    let mut looked_at = 0;
    let below = for_each_series(evaluator, argument, &mut |evaluator, meta, samples| {
        let within = samples.between(start_ms.saturating_sub(back_ms), end_ms.saturating_add(ahead_ms));
        if within.times.is_empty() && within.histograms.is_empty() {
            return Ok(());
        }
        let samples = within.times.len() as u64 + within.histograms.iter().map(|h| histogram_samples(&h.histogram)).sum::<u64>();
        let bytes = within.times.len() * 16 + within.histograms.iter().map(|h| histogram_bytes(&h.histogram)).sum::<usize>();
        held.push(evaluator.budget.reserve(samples, bytes as u64)?);
        looked_at += samples;
        let labels = if meta.drop_name { super::labels::without_name(&meta.labels) } else { meta.labels };
        let points = match argument.extended {
            Some(extended) => Ends::of(within, start_ms, end_ms, extended == Extended::Smoothed, false)
                .map_or_else(Vec::new, |ends| ends.points(start_ms, end_ms)),
            None => within.times.iter().copied().zip(within.values.iter().copied()).collect(),
        };
        if points.is_empty() && within.histograms.is_empty() {
            return Ok(());
        }
        series.push(Series {
            labels,
            points,
            histograms: within.histograms.iter().map(|h| (h.timestamp_ms, Arc::clone(&h.histogram))).collect(),
        });
        Ok(())
    })?;
    // What a subquery computed is nobody's sample, only what it was computed of.
    match below {
        Some((_, inner)) => evaluator.seen.add_invariant(&inner),
        None => evaluator.seen.add(0, looked_at),
    }
    series.sort_by(|a, b| a.labels.cmp(&b.labels));
    Ok(series)
}

/// For each step, whether any series has a sample in the window.
pub(crate) fn presence(evaluator: &mut Evaluator<'_>, node: &Node, range_id: NodeId) -> Result<Vec<bool>, EvalError> {
    if let Some(present) = evaluator.imported_presence(range_id) {
        return Ok(present);
    }
    let argument = range_argument(evaluator.node(range_id));
    if let Some(extended) = argument.extended {
        return Err(refused(extended, "absent_over_time"));
    }
    let _layout = evaluator.budget.reserve(0, (node.grid.steps as u64).saturating_mul(Layout::STEP_BYTES))?;
    let windows = Windows::new(node.grid, argument.range_ms, argument.shift);
    let mut present = vec![false; node.grid.steps];
    let inner = for_each_series(evaluator, argument, &mut |_, _, samples| {
        windows.count(samples);
        windows.slide_both(samples, |step, _, _| present[step] = true);
        Ok(())
    })?;
    windows.count_into(&mut evaluator.seen, inner);
    Ok(present)
}
