//! Native histograms with custom buckets, made of classic ones.

use crate::source::{HistogramSample, RawSeries};
use model::histogram::{CUSTOM_BUCKETS_SCHEMA, FloatHistogram, Span};
use model::labels::METRIC_NAME;
use model::{Labels, LabelsBuilder, Timestamp};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A classic histogram at one time.
#[derive(Debug, Default)]
struct Classic {
    /// (upper bound, observations up to it), by bound.
    buckets: Vec<(f64, f64)>,
    count: Option<f64>,
    sum: f64,
}

/// Which part of a classic histogram a series is.
enum Part {
    Bucket(f64),
    Count,
    Sum,
}

/// The native histograms of all classic ones among `series`.
///
/// # Errors
/// Counts of buckets are not cumulative.
pub(super) fn native(series: &[RawSeries]) -> Result<Vec<RawSeries>, String> {
    let mut classics: BTreeMap<Labels, BTreeMap<Timestamp, Classic>> = BTreeMap::new();
    for one in series {
        let Some((base, part)) = part_of(&one.labels) else { continue };
        let of_base = classics.entry(base).or_default();
        for (time, value) in one.timestamps.iter().zip(&one.values) {
            let classic = of_base.entry(*time).or_default();
            match part {
                Part::Bucket(upper) => classic.buckets.push((upper, *value)),
                Part::Count => classic.count = Some(*value),
                Part::Sum => classic.sum = *value,
            }
        }
    }
    let one = |(labels, of_base): (Labels, BTreeMap<Timestamp, Classic>)| {
        let sample = |(timestamp_ms, classic): (Timestamp, Classic)| {
            let histogram = Arc::new(classic.native()?);
            Ok(HistogramSample { timestamp_ms, start_ms: 0, histogram })
        };
        let histograms = of_base.into_iter().map(sample).collect::<Result<_, String>>()?;
        Ok(RawSeries { labels, histograms, ..RawSeries::default() })
    };
    classics.into_iter().map(one).collect()
}

/// The labels of the histogram that a series is part of, and which part.
fn part_of(labels: &Labels) -> Option<(Labels, Part)> {
    let name = labels.metric_name();
    let (base, part) = if let Some(base) = name.strip_suffix("_bucket") {
        let upper = model::number::parse_float(labels.get("le")?).ok().filter(|upper| !upper.is_nan())?;
        (base, Part::Bucket(upper))
    } else if let Some(base) = name.strip_suffix("_count") {
        (base, Part::Count)
    } else {
        (name.strip_suffix("_sum")?, Part::Sum)
    };
    let mut builder = LabelsBuilder::from_labels(labels);
    builder.set(METRIC_NAME, base).remove("le");
    Some((builder.build(), part))
}

impl Classic {
    fn native(mut self) -> Result<FloatHistogram, String> {
        self.buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        self.buckets.dedup_by(|next, last| next.0 == last.0);
        let highest = self.buckets.last().copied();
        let count = self.count.or(highest.map(|(_, count)| count)).ok_or("a histogram without count and buckets")?;
        if highest.is_none_or(|(upper, _)| upper != f64::INFINITY) {
            self.buckets.push((f64::INFINITY, count));
        }
        let mut below = 0.0;
        let mut counts = Vec::with_capacity(self.buckets.len());
        for (_, cumulative) in &self.buckets {
            if *cumulative < below {
                return Err(format!("count is not cumulative: {cumulative} < {below}"));
            }
            counts.push(cumulative - below);
            below = *cumulative;
        }
        if below != count {
            return Err(format!("count mismatch: {count} != {below}"));
        }
        let bounds: Vec<f64> = self.buckets.iter().map(|(upper, _)| *upper).filter(|upper| *upper != f64::INFINITY).collect();
        let mut histogram = FloatHistogram {
            schema: CUSTOM_BUCKETS_SCHEMA,
            count,
            sum: self.sum,
            positive_spans: vec![Span { offset: 0, length: counts.len() as u32 }],
            positive_buckets: counts,
            custom_values: Arc::from(bounds),
            ..FloatHistogram::default()
        };
        histogram.compact(0);
        Ok(histogram)
    }
}
