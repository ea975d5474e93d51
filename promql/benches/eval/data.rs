//! What the benches read.

use model::Labels;
use model::histogram::{FloatHistogram, Span};
use promql::{HistogramSample, MemorySource, RawSeries};
use std::sync::Arc;

/// Distance of samples.
pub(crate) const INTERVAL_MS: i64 = 10_000;
/// Samples of a series: the longest query looks at 10,000 steps, and at a day before the first.
pub(crate) const INTERVALS: i64 = 8_640 + 10_000;

fn times(count: i64, offset_ms: i64) -> Vec<i64> {
    (0..count).map(|k| k * INTERVAL_MS + offset_ms).collect()
}

/// Names and labels as in Prometheus's bench: gauges `a_…` and `b_…`, histograms `h_…` with eleven buckets, one series or a hundred
/// of each, all of which grow.
pub(crate) fn intervals() -> MemorySource {
    let mut labels = Vec::new();
    for name in ["a", "b", "h"] {
        for l in std::iter::once(None).chain((0..100).map(Some)) {
            let size = if l.is_some() { "hundred" } else { "one" };
            let l = l.map_or(String::new(), |l| l.to_string());
            for le in 0..if name == "h" { 11 } else { 1 } {
                let le = if le == 10 { "+Inf".to_owned() } else { le.to_string() };
                let le = if name == "h" { le } else { String::new() };
                labels.push(Labels::from_pairs([("__name__", &*format!("{name}_{size}")), ("l", &*l), ("le", &*le)]));
            }
        }
    }
    let count = labels.len() as f64;
    let series = |(i, labels)| {
        let values = (0..INTERVALS).map(|k| k as f64 + i as f64 / count).collect();
        RawSeries::floats(labels, times(INTERVALS, 0), values)
    };
    MemorySource::new(labels.into_iter().enumerate().map(series).collect())
}

/// Series that follow each other, each with a fiftieth of the samples.
pub(crate) fn sparse() -> MemorySource {
    let each = INTERVALS / 50;
    let series = |l: i64| {
        let timestamps = times(each, l * each * INTERVAL_MS);
        let values = timestamps.iter().map(|t| *t as f64 / INTERVAL_MS as f64).collect();
        RawSeries::floats(Labels::from_pairs([("__name__", "sparse"), ("l", &*l.to_string())]), timestamps, values)
    };
    MemorySource::new((0..50).map(series).collect())
}

/// Two metrics of 1,000 instances.
pub(crate) fn joins() -> MemorySource {
    let series = |i: i64| {
        let name = if i % 2 == 0 { "rpc_request_success_total" } else { "rpc_request_error_total" };
        let labels = [("__name__", name), ("env", "prod"), ("instance", &*(i / 2).to_string()), ("job", "1")];
        let values = (0..1_000).map(|k| (k * (1 + i % 2)) as f64).collect();
        RawSeries::floats(Labels::from_pairs(labels), times(1_000, 0), values)
    };
    MemorySource::new((0..2_000).map(series).collect())
}

/// Ten native histograms that grow.
pub(crate) fn histograms() -> MemorySource {
    let series = |i: i64| {
        let sample = |k: i64| {
            let counts: Vec<f64> = (0..16).map(|b| (k * (b + 1) + i) as f64).collect();
            let spans = vec![Span { offset: 0, length: 8 }, Span { offset: 3, length: 8 }];
            let histogram = FloatHistogram {
                schema: 3,
                zero_threshold: 0.001,
                zero_count: k as f64,
                count: counts.iter().sum::<f64>() + k as f64,
                sum: (k * 40) as f64,
                positive_spans: spans,
                positive_buckets: counts,
                ..FloatHistogram::default()
            };
            HistogramSample { timestamp_ms: k * INTERVAL_MS, start_ms: 0, histogram: Arc::new(histogram) }
        };
        let labels = Labels::from_pairs([("__name__", "native_histogram_series"), ("l", &*i.to_string())]);
        RawSeries { labels, histograms: (0..1_000).map(sample).collect(), ..RawSeries::default() }
    };
    MemorySource::new((0..10).map(series).collect())
}

/// Counters of 100 instances and what is told about these.
pub(crate) fn info() -> MemorySource {
    let series = |i: i64| {
        let instance = (i % 100).to_string();
        let common = [("instance", &*instance), ("job", "web")];
        let more = match i / 100 {
            0 => vec![("__name__", "target_info"), ("data", &*instance)],
            code => vec![("__name__", "http_server_request_total"), ("code", if code == 1 { "200" } else { "500" })],
        };
        let values = (0..1_000).map(|k| if i < 100 { 1.0 } else { k as f64 }).collect();
        RawSeries::floats(Labels::from_pairs(common.into_iter().chain(more)), times(1_000, 0), values)
    };
    MemorySource::new((0..300).map(series).collect())
}

/// Buckets of many instances, each read at another moment: 10,000 series, a sample every 15 s for three hours.
pub(crate) fn dashboards() -> MemorySource {
    let mut series = Vec::new();
    for i in 0..10_000_i64 {
        let (instance, handler, bucket) = (i / 100, i / 10 % 10, i % 10);
        let (instance, handler) = (format!("host-{instance:03}.example:9100"), format!("/api/v1/{handler}"));
        let bound = if bucket == 9 { "+Inf".to_owned() } else { format!("{}", (bucket + 1) as f64 / 10.0) };
        let labels = [("__name__", "http_bucket"), ("handler", &*handler), ("instance", &*instance), ("job", "node"), ("le", &*bound)];
        let timestamps: Vec<i64> = (0..740).map(|k| k * 15_000 + (i / 100) * 137).collect();
        let values = (0..740).map(|k| (k * (bucket + 1) + i) as f64).collect();
        series.push(RawSeries::floats(Labels::from_pairs(labels), timestamps, values));
    }
    MemorySource::new(series)
}
