//! Functions of histograms. A native one is a value; a classic one is one series a bucket, told apart by `le`.

use super::classic::{self, Bucket, Correction};
use super::label::invalid_name;
use super::map_rows;
use super::native::{self, NanEffect};
use crate::annotations::MonotonicityFix;
use crate::ast::Span;
use crate::error::EvalError;
use crate::eval::aggregate::quantile::warn_about;
use crate::eval::block::{Block, Row, RowMut, SeriesMeta};
use crate::eval::labels::{drop_name, join_equal};
use crate::eval::{Evaluator, Sink};
use crate::plan::NodeId;
use model::histogram::FloatHistogram;
use model::labels::quote;
use model::{Labels, LabelsBuilder};
use std::collections::{BTreeSet, HashMap};

/// The label that holds a bucket's upper bound.
const BUCKET_LABEL: &str = "le";

/// A number of one native histogram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Statistic {
    /// `histogram_avg`.
    Mean,
    /// `histogram_count`.
    Count,
    /// `histogram_sum`.
    Sum,
    /// `histogram_stddev`.
    StandardDeviation,
    /// `histogram_stdvar`.
    Variance,
}

impl Statistic {
    /// Finds the statistic by the name of its function.
    pub(crate) fn find(name: &str) -> Option<Self> {
        Some(match name {
            "histogram_avg" => Self::Mean,
            "histogram_count" => Self::Count,
            "histogram_sum" => Self::Sum,
            "histogram_stddev" => Self::StandardDeviation,
            "histogram_stdvar" => Self::Variance,
            _ => return None,
        })
    }

    fn of(self, histogram: &FloatHistogram) -> f64 {
        match self {
            Self::Mean => native::mean(histogram),
            Self::Count => histogram.count,
            Self::Sum => histogram.sum,
            Self::StandardDeviation => native::variance(histogram).sqrt(),
            Self::Variance => native::variance(histogram),
        }
    }
}

/// Streams a statistic of the native histograms of a vector; floats are ignored.
pub(crate) fn statistic<'p>(evaluator: &mut Evaluator<'p>, input: NodeId, of: Statistic, sink: Sink<'_, 'p>) -> Result<(), EvalError> {
    map_rows(evaluator, input, sink, |_, row| {
        row.valid.fill(0);
        for (step, histogram) in std::mem::take(row.histograms) {
            row.set(step, of.of(&histogram));
        }
    })
}

/// The series of one classic histogram.
struct Classic {
    meta: SeriesMeta,
    metric_name: String,
    /// (upper bound, row), by bound.
    buckets: Vec<(f64, usize)>,
}

/// What is computed of each histogram.
#[derive(Clone, Copy)]
enum Measure<'a> {
    /// A quantile, at each step.
    Quantile(&'a [f64]),
    /// The share between two bounds, at each step.
    Fraction(&'a [f64], &'a [f64]),
}

impl Measure<'_> {
    fn of_buckets(self, step: usize, buckets: &mut Vec<Bucket>) -> (f64, Option<Correction>) {
        match self {
            Self::Quantile(quantiles) => classic::quantile(quantiles[step], buckets),
            Self::Fraction(lower, upper) => (classic::fraction(lower[step], upper[step], buckets), None),
        }
    }

    fn of_native(self, step: usize, histogram: &FloatHistogram) -> (f64, Option<NanEffect>) {
        match self {
            Self::Quantile(quantiles) => native::quantile(quantiles[step], histogram),
            Self::Fraction(lower, upper) => native::fraction(lower[step], upper[step], histogram),
        }
    }
}

/// `histogram_quantile(q, v)`.
pub(crate) fn quantile<'p>(evaluator: &mut Evaluator<'p>, args: &[NodeId], sink: Sink<'_, 'p>) -> Result<(), EvalError> {
    let quantiles = evaluator.scalar(args[0])?;
    let span = evaluator.node(args[0]).span;
    warn_about(evaluator, &quantiles, span);
    let histograms = Histograms::of(evaluator, args[1])?;
    let result = histograms.measure(evaluator, Measure::Quantile(&quantiles))?;
    let result = join_equal(result, evaluator.budget)?;
    sink(evaluator, result)
}

/// `histogram_fraction(lower, upper, v)`.
pub(crate) fn fraction<'p>(evaluator: &mut Evaluator<'p>, args: &[NodeId], sink: Sink<'_, 'p>) -> Result<(), EvalError> {
    let (lower, upper) = (evaluator.scalar(args[0])?, evaluator.scalar(args[1])?);
    let histograms = Histograms::of(evaluator, args[2])?;
    let result = histograms.measure(evaluator, Measure::Fraction(&lower, &upper))?;
    let result = join_equal(result, evaluator.budget)?;
    sink(evaluator, result)
}

/// `histogram_quantiles(v, label, q, …)`: each series once a quantile, told apart by a label.
pub(crate) fn quantiles<'p>(evaluator: &mut Evaluator<'p>, args: &[NodeId], sink: Sink<'_, 'p>) -> Result<(), EvalError> {
    let label = evaluator.string(args[1]);
    let name = std::str::from_utf8(&label).ok().filter(|name| !name.is_empty()).ok_or_else(|| invalid_name(&label))?;
    let histograms = Histograms::of(evaluator, args[0])?;
    let mut all = Block::new(histograms.block.steps());
    for arg in &args[2..] {
        let quantiles = evaluator.scalar(*arg)?;
        let span = evaluator.node(*arg).span;
        warn_about(evaluator, &quantiles, span);
        let results = histograms.measure(evaluator, Measure::Quantile(&quantiles))?;
        let distinct: BTreeSet<u64> = quantiles.iter().map(|q| q.to_bits()).collect();
        for bits in distinct {
            let value = open_metrics_float(f64::from_bits(bits));
            for (i, meta) in results.series.iter().enumerate() {
                let mut labels = LabelsBuilder::from_labels(&meta.labels);
                labels.set(name, &value);
                all.push_with(SeriesMeta { labels: labels.build(), drop_name: meta.drop_name }, |out| {
                    let same = results.row(i).iter().filter(|(step, _)| quantiles[*step].to_bits() == bits);
                    same.for_each(|(step, value)| out.set(step, value));
                });
            }
        }
    }
    let all = join_equal(all, evaluator.budget)?.hold(evaluator.budget)?;
    sink(evaluator, all)
}

/// As OpenMetrics writes floats: never without a point or an exponent.
fn open_metrics_float(value: f64) -> String {
    let text = model::number::DisplayGeneral(value).to_string();
    if value.is_finite() && !text.contains(['.', 'e']) { format!("{text}.0") } else { text }
}

/// The histograms of a vector, classic and native ones.
struct Histograms {
    block: Block,
    span: Span,
    times: Vec<i64>,
    classics: Vec<Classic>,
    /// Rows with native histograms.
    natives: Vec<usize>,
    /// Where a classic and a native histogram of the same series meet: (number of the classic one, row of the native one).
    rivals: Vec<(usize, usize)>,
    delayed: bool,
}

impl Histograms {
    /// Warns of series of floats that are no bucket and of classic histograms that are native too.
    fn of(evaluator: &mut Evaluator<'_>, input: NodeId) -> Result<Self, EvalError> {
        let block = evaluator.vector(input)?;
        let node = evaluator.node(input);
        let mut numbers: HashMap<Labels, usize> = HashMap::new();
        let (mut classics, mut natives, mut rivals) = (Vec::new(), Vec::new(), Vec::new());
        let delayed = evaluator.plan.params.delayed_name_removal;
        for (row, meta) in block.series.iter().enumerate() {
            if !block.row(row).histograms.is_empty() {
                natives.push(row);
            }
            if block.row(row).count() > 0 {
                add_bucket(evaluator, node.span, (row, meta), &mut numbers, &mut classics);
            }
        }
        for classic in &mut classics {
            classic.buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        }
        for row in &natives {
            let labels = &block.series[*row].labels;
            let Some(number) = numbers.get(labels).copied() else { continue };
            rivals.push((number, *row));
            let has_bucket = |step: usize| classics[number].buckets.iter().any(|(_, bucket)| block.row(*bucket).get(step).is_some());
            if block.row(*row).histograms.iter().any(|(step, _)| has_bucket(*step)) {
                let name = of_metric(labels.metric_name());
                evaluator.annotations.warn(node.span, format!("vector contains a mix of classic and native histograms{name}"));
            }
        }
        let times = (0..block.steps()).map(|step| node.grid.time(step)).collect();
        Ok(Self { block, span: node.span, times, classics, natives, rivals, delayed })
    }

    /// What `measure` makes of all histograms; series with the same labels are not joined yet.
    fn measure(&self, evaluator: &mut Evaluator<'_>, measure: Measure<'_>) -> Result<Block, EvalError> {
        let rows = self.classics.len() + self.natives.len();
        let mut result = Block::reserved(self.block.steps(), rows, evaluator.budget)?;
        for (number, classic) in self.classics.iter().enumerate() {
            evaluator.budget.check()?;
            let mut fix = None;
            result.push_with(classic.meta.clone(), |out| fix = self.measure_classic(number, measure, out));
            if let Some(fix) = fix {
                let name = if self.delayed { classic.metric_name.as_str() } else { "" };
                evaluator.annotations.info_monotonicity(self.span, name, fix);
            }
        }
        for row in &self.natives {
            evaluator.budget.check()?;
            let mut meta = self.block.series[*row].clone();
            let name = if self.delayed { of_metric(meta.labels.metric_name()) } else { String::new() };
            drop_name(&mut meta, self.delayed);
            let mut effects = Vec::new();
            result.push_with(meta, |out| effects = self.measure_native(*row, measure, out));
            for effect in effects {
                evaluator.annotations.info(self.span, format!("{}{name}", effect.text()));
            }
        }
        Ok(result)
    }

    fn measure_classic(&self, number: usize, measure: Measure<'_>, out: &mut RowMut<'_>) -> Option<MonotonicityFix> {
        let rivals: Vec<Row<'_>> = self.rivals.iter().filter(|(rival, _)| *rival == number).map(|(_, row)| self.block.row(*row)).collect();
        let mut buckets = Vec::new();
        let mut fix: Option<MonotonicityFix> = None;
        for step in 0..self.block.steps() {
            self.buckets_at(number, step, &mut buckets);
            if buckets.is_empty() || rivals.iter().any(|rival| rival.histogram(step).is_some()) {
                continue;
            }
            let (value, correction) = measure.of_buckets(step, &mut buckets);
            out.set(step, value);
            if let Some(c) = correction {
                let fixed = MonotonicityFix::new(self.times[step], c.first, c.last, c.difference);
                fix = Some(fix.map_or(fixed, |known| known.merged(fixed)));
            }
        }
        fix
    }

    fn buckets_at(&self, number: usize, step: usize, buckets: &mut Vec<Bucket>) {
        buckets.clear();
        let counts = self.classics[number].buckets.iter().map(|(upper, row)| (*upper, self.block.row(*row).get(step)));
        buckets.extend(counts.filter_map(|(upper, count)| count.map(|count| Bucket { upper, count })));
    }

    fn measure_native(&self, row: usize, measure: Measure<'_>, out: &mut RowMut<'_>) -> Vec<NanEffect> {
        let rival = self.rivals.iter().find(|(_, native)| *native == row).map(|(number, _)| *number);
        let (mut buckets, mut effects) = (Vec::new(), Vec::new());
        for (step, histogram) in self.block.row(row).histograms {
            if let Some(rival) = rival {
                self.buckets_at(rival, *step, &mut buckets);
            }
            if !buckets.is_empty() {
                continue;
            }
            let (value, effect) = measure.of_native(*step, histogram);
            out.set(*step, value);
            effects.extend(effect.filter(|effect| !effects.contains(effect)));
        }
        effects
    }
}

/// Adds a series to the classic histogram of which it is a bucket; warns if it is none.
fn add_bucket(
    evaluator: &mut Evaluator<'_>,
    span: Span,
    (row, meta): (usize, &SeriesMeta),
    numbers: &mut HashMap<Labels, usize>,
    classics: &mut Vec<Classic>,
) {
    let name = meta.labels.metric_name();
    let bound = meta.labels.get(BUCKET_LABEL).unwrap_or("");
    let Ok(upper) = model::number::parse_float(bound) else {
        let text = format!("bucket label \"le\" is missing or has a malformed value of {}{}", quote(bound), of_metric(name));
        evaluator.annotations.warn(span, text);
        return;
    };
    let key = meta.labels.filtered(|label| label != BUCKET_LABEL);
    let number = *numbers.entry(key.clone()).or_insert(classics.len());
    if number == classics.len() {
        let mut meta = SeriesMeta { labels: key, drop_name: false };
        drop_name(&mut meta, evaluator.plan.params.delayed_name_removal);
        classics.push(Classic { meta, metric_name: name.to_owned(), buckets: Vec::new() });
    }
    classics[number].buckets.push((upper, row));
}

/// What annotations add to their texts if there is a name.
fn of_metric(name: &str) -> String {
    if name.is_empty() { String::new() } else { format!(" for metric name {}", quote(name)) }
}
