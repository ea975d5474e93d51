//! Native histograms of which only counts and sums are needed.

use super::{HistogramSample, RawSeries};
use model::histogram::{CounterResetHint, FloatHistogram};
use std::sync::Arc;

/// The series with histograms without buckets, though with their bounds, for those that differ do not go together. What only the
/// buckets tell, that a counter began anew, becomes a hint.
pub(crate) fn without_buckets(series: &Arc<RawSeries>) -> Arc<RawSeries> {
    if series.histograms.is_empty() {
        return Arc::clone(series);
    }
    let previous = std::iter::once(None).chain(series.histograms.iter().map(Some));
    let samples = series.histograms.iter().zip(previous).map(|(sample, previous)| HistogramSample {
        histogram: Arc::new(FloatHistogram {
            counter_reset_hint: hint(&sample.histogram, previous.map(|previous| &*previous.histogram)),
            schema: sample.histogram.schema,
            count: sample.histogram.count,
            sum: sample.histogram.sum,
            custom_values: Arc::clone(&sample.histogram.custom_values),
            ..FloatHistogram::default()
        }),
        ..*sample
    });
    let histograms = samples.collect();
    Arc::new(RawSeries { histograms, ..RawSeries::clone(series) })
}

fn hint(histogram: &FloatHistogram, previous: Option<&FloatHistogram>) -> CounterResetHint {
    match (histogram.counter_reset_hint, previous) {
        (CounterResetHint::Unknown, Some(previous)) if !previous.is_stale() && !histogram.is_stale() => {
            if histogram.detect_reset(previous) { CounterResetHint::Reset } else { CounterResetHint::NotReset }
        }
        (known, _) => known,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::histogram::Span;

    #[test]
    fn resets_that_only_buckets_show_become_hints() {
        let sample = |timestamp_ms, buckets: [f64; 2]| HistogramSample {
            timestamp_ms,
            start_ms: 0,
            histogram: Arc::new(FloatHistogram {
                count: 9.0,
                sum: 1.5,
                positive_spans: vec![Span { offset: 0, length: 2 }],
                positive_buckets: buckets.to_vec(),
                ..FloatHistogram::default()
            }),
        };
        let histograms = vec![sample(1, [1.0, 2.0]), sample(2, [1.0, 3.0]), sample(3, [0.0, 4.0])];
        let series = Arc::new(RawSeries { histograms, ..RawSeries::default() });
        let counts = without_buckets(&series);
        let hints: Vec<_> = counts.histograms.iter().map(|h| h.histogram.counter_reset_hint).collect();
        assert_eq!(hints, [CounterResetHint::Unknown, CounterResetHint::NotReset, CounterResetHint::Reset]);
        let last = &counts.histograms[2].histogram;
        assert_eq!((last.count, last.sum, last.positive_buckets.len()), (9.0, 1.5, 0));
    }
}
