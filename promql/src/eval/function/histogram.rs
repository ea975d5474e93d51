//! `histogram_quantile` and `histogram_fraction` on classic histograms: one series a bucket, told apart by `le`.

use crate::annotations::MonotonicityFix;
use crate::error::EvalError;
use crate::eval::block::{Block, SeriesMeta};
use crate::eval::labels::{drop_name, join_equal};
use crate::eval::{Evaluator, Sink};
use crate::plan::NodeId;
use model::Labels;
use model::labels::quote;
use std::collections::HashMap;

/// The label that holds a bucket's upper bound.
const BUCKET_LABEL: &str = "le";
/// Relative difference of neighbouring counts that is taken for rounding.
const SMALL_DIFFERENCE: f64 = 1e-12;

/// One bucket of a histogram at one step.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    upper: f64,
    /// Observations up to `upper`.
    count: f64,
}

/// The series of one histogram.
struct Histogram {
    meta: SeriesMeta,
    metric_name: String,
    /// (upper bound, row), by bound.
    buckets: Vec<(f64, usize)>,
}

/// `histogram_quantile(q, v)`.
pub(crate) fn quantile<'p>(evaluator: &mut Evaluator<'p>, args: &[NodeId], sink: Sink<'_, 'p>) -> Result<(), EvalError> {
    let quantiles = evaluator.scalar(args[0])?;
    let span = evaluator.node(args[0]).span;
    crate::eval::aggregate::quantile::warn_about(evaluator, &quantiles, span);
    evaluate(evaluator, args[1], sink, &|step, buckets| bucket_quantile(quantiles[step], buckets))
}

/// `histogram_fraction(lower, upper, v)`.
pub(crate) fn fraction<'p>(evaluator: &mut Evaluator<'p>, args: &[NodeId], sink: Sink<'_, 'p>) -> Result<(), EvalError> {
    let (lower, upper) = (evaluator.scalar(args[0])?, evaluator.scalar(args[1])?);
    evaluate(evaluator, args[2], sink, &|step, buckets| (bucket_fraction(lower[step], upper[step], buckets), None))
}

/// What a function makes of the buckets of one histogram at one step, and how it had to change them.
type BucketFunction<'a> = &'a dyn Fn(usize, &mut Vec<Bucket>) -> (f64, Option<Correction>);

fn evaluate<'p>(evaluator: &mut Evaluator<'p>, input: NodeId, sink: Sink<'_, 'p>, of: BucketFunction<'_>) -> Result<(), EvalError> {
    let block = evaluator.vector(input)?;
    let node = evaluator.node(input);
    let histograms = group(evaluator, input, &block);
    let mut result = Block::with_rows(block.steps(), histograms.len());
    let mut buckets = Vec::new();
    for histogram in histograms {
        evaluator.budget.check()?;
        let mut fix: Option<MonotonicityFix> = None;
        result.push_with(histogram.meta, |out| {
            for step in 0..block.steps() {
                buckets.clear();
                let counts = histogram.buckets.iter().map(|(upper, row)| (*upper, block.row(*row).get(step)));
                buckets.extend(counts.filter_map(|(upper, count)| count.map(|count| Bucket { upper, count })));
                if buckets.is_empty() {
                    continue;
                }
                let (value, correction) = of(step, &mut buckets);
                out.set(step, value);
                if let Some(c) = correction {
                    let fixed = MonotonicityFix::new(node.grid.time(step), c.first, c.last, c.difference);
                    fix = Some(fix.map_or(fixed, |known| known.merged(fixed)));
                }
            }
        });
        if let Some(fix) = fix {
            evaluator.annotations.info_monotonicity(node.span, &histogram.metric_name, fix);
        }
    }
    let result = join_equal(result)?;
    sink(evaluator, result)
}

/// Collects the buckets of each histogram; warns of series that are no bucket.
fn group(evaluator: &mut Evaluator<'_>, input: NodeId, block: &Block) -> Vec<Histogram> {
    let delayed = evaluator.plan.params.delayed_name_removal;
    let span = evaluator.node(input).span;
    let mut numbers: HashMap<Labels, usize> = HashMap::new();
    let mut histograms: Vec<Histogram> = Vec::new();
    for (row, meta) in block.series.iter().enumerate() {
        let name = meta.labels.metric_name();
        let bound = meta.labels.get(BUCKET_LABEL).unwrap_or("");
        let Ok(upper) = model::number::parse_float(bound) else {
            let of_metric = if name.is_empty() { String::new() } else { format!(" for metric name {}", quote(name)) };
            let text = format!("bucket label \"le\" is missing or has a malformed value of {}{of_metric}", quote(bound));
            evaluator.annotations.warn(span, text);
            continue;
        };
        let key = meta.labels.filtered(|label| label != BUCKET_LABEL);
        let number = *numbers.entry(key.clone()).or_insert(histograms.len());
        if number == histograms.len() {
            let mut meta = SeriesMeta { labels: key, drop_name: false };
            drop_name(&mut meta, delayed);
            histograms.push(Histogram { meta, metric_name: name.to_owned(), buckets: Vec::new() });
        }
        histograms[number].buckets.push((upper, row));
    }
    for histogram in &mut histograms {
        histogram.buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
    }
    histograms
}

/// Which counts were raised to those of smaller buckets.
#[derive(Clone, Copy, Debug)]
struct Correction {
    first: f64,
    last: f64,
    difference: f64,
}

fn bucket_quantile(q: f64, buckets: &mut Vec<Bucket>) -> (f64, Option<Correction>) {
    if q.is_nan() {
        return (f64::NAN, None);
    }
    if q < 0.0 {
        return (f64::NEG_INFINITY, None);
    }
    if q > 1.0 {
        return (f64::INFINITY, None);
    }
    if buckets[buckets.len() - 1].upper != f64::INFINITY {
        return (f64::NAN, None);
    }
    coalesce(buckets);
    let correction = make_monotonic(buckets);
    let last = buckets.len() - 1;
    if last == 0 || buckets[last].count == 0.0 {
        return (f64::NAN, None);
    }
    let rank = q * buckets[last].count;
    let at = buckets[..last].partition_point(|bucket| bucket.count < rank || bucket.count.is_nan() || rank.is_nan());
    if at == last {
        return (buckets[last - 1].upper, correction);
    }
    if at == 0 && buckets[0].upper <= 0.0 {
        return (buckets[0].upper, correction);
    }
    let end = buckets[at].upper;
    let (start, below) = if at == 0 { (0.0, 0.0) } else { (buckets[at - 1].upper, buckets[at - 1].count) };
    (start + (end - start) * ((rank - below) / (buckets[at].count - below)), correction)
}

fn bucket_fraction(lower: f64, upper: f64, buckets: &mut Vec<Bucket>) -> f64 {
    if buckets[buckets.len() - 1].upper != f64::INFINITY {
        return f64::NAN;
    }
    coalesce(buckets);
    let total = buckets[buckets.len() - 1].count;
    if total == 0.0 || lower.is_nan() || upper.is_nan() {
        return f64::NAN;
    }
    if lower >= upper {
        return 0.0;
    }
    (rank_of(upper, buckets, total) - rank_of(lower, buckets, total)) / total
}

/// How many observations lie below `bound`, by linear interpolation within its bucket.
fn rank_of(bound: f64, buckets: &[Bucket], total: f64) -> f64 {
    let mut below = 0.0;
    for (i, bucket) in buckets.iter().enumerate() {
        let start = match i {
            0 if bucket.upper > 0.0 => 0.0,
            0 => f64::NEG_INFINITY,
            _ => buckets[i - 1].upper,
        };
        if start >= bound {
            return below;
        }
        if bucket.upper > bound {
            // Nothing is interpolated in buckets without end: one counts with neither of its ends, the other with both.
            if start == f64::NEG_INFINITY {
                return bucket.count;
            }
            if bucket.upper == f64::INFINITY {
                return below;
            }
            return below + (bucket.count - below) * (bound - start) / (bucket.upper - start);
        }
        below = bucket.count;
    }
    total
}

/// Adds up buckets with the same bound; they are sorted by it.
fn coalesce(buckets: &mut Vec<Bucket>) {
    buckets.dedup_by(|next, last| {
        let is_same = next.upper == last.upper;
        if is_same {
            last.count += next.count;
        }
        is_same
    });
}

/// Raises counts that are below those of smaller buckets. Differences that rounding explains go unmentioned.
fn make_monotonic(buckets: &mut [Bucket]) -> Option<Correction> {
    let mut correction: Option<Correction> = None;
    let mut previous = buckets[0].count;
    for bucket in &mut buckets[1..] {
        let current = bucket.count;
        if current == previous {
            continue;
        }
        if is_almost_equal(previous, current) {
            bucket.count = previous;
            continue;
        }
        if current < previous {
            bucket.count = previous;
            let difference = previous - current;
            correction = Some(match correction {
                None => Correction { first: bucket.upper, last: bucket.upper, difference },
                Some(c) => Correction { first: c.first, last: bucket.upper, difference: c.difference.max(difference) },
            });
            continue;
        }
        previous = current;
    }
    correction
}

fn is_almost_equal(a: f64, b: f64) -> bool {
    if a.is_nan() || b.is_nan() {
        return a.is_nan() && b.is_nan();
    }
    let difference = (a - b).abs();
    let size = (a.abs() + b.abs()).min(f64::MAX);
    if a == 0.0 || b == 0.0 || size < f64::MIN_POSITIVE {
        return difference < SMALL_DIFFERENCE * f64::MIN_POSITIVE;
    }
    difference / size < SMALL_DIFFERENCE
}
