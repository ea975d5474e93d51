//! Native histograms over any number of shards: the same answer to the byte.

use crate::harness::{agree, fingerprint, over_the_wire, placed};
use model::Labels;
use model::histogram::{CUSTOM_BUCKETS_SCHEMA, CounterResetHint, FloatHistogram, Span};
use promql::{Budget, Distributed, HistogramSample, MemorySource, Options, Plan, QueryParams, RawSeries, parse_with};
use proptest::prelude::*;
use std::sync::Arc;

const MINUTE_MS: i64 = 60_000;

/// A sample of either kind.
#[derive(Clone, Debug)]
enum Sample {
    Float(f64),
    Histogram(FloatHistogram),
}

fn count() -> impl Strategy<Value = f64> {
    prop_oneof![
        4 => (0..1_000_u32).prop_map(f64::from),
        2 => 0.0..1e6_f64,
        1 => (-300..300_i32).prop_map(|e| 10_f64.powi(e)),
        1 => Just(0.0),
    ]
}

fn side() -> impl Strategy<Value = (Vec<Span>, Vec<f64>)> {
    (-6..6_i32, prop::collection::vec(count(), 0..6)).prop_map(|(offset, counts)| {
        let length = counts.len() as u32;
        (if length > 0 { vec![Span { offset, length }] } else { Vec::new() }, counts)
    })
}

fn histogram() -> impl Strategy<Value = FloatHistogram> {
    use CounterResetHint::{Gauge, NotReset, Reset, Unknown};
    let hint = prop::sample::select(vec![Unknown, Unknown, Unknown, Reset, NotReset, Gauge]);
    let zero = (prop::sample::select(vec![0.0, 0.001, 0.001, 0.7, 3.0]), count());
    let sum = prop_oneof![6 => -1e6..1e6_f64, 1 => Just(f64::NAN), 1 => Just(f64::INFINITY)];
    let bounds = prop::collection::btree_set(0..6_i32, 0..4);
    (0..8_u32, -1..3_i32, zero, side(), side(), hint, sum, bounds).prop_map(
        |(kind, schema, zero, positive, negative, hint, sum, bounds)| {
            let mut h = FloatHistogram { counter_reset_hint: hint, schema, sum, ..FloatHistogram::default() };
            if kind == 0 {
                h.schema = CUSTOM_BUCKETS_SCHEMA;
                h.custom_values = bounds.into_iter().map(f64::from).collect();
                h.positive_buckets = positive.1.into_iter().take(h.custom_values.len() + 1).collect();
                h.positive_spans = vec![Span { offset: 0, length: h.positive_buckets.len() as u32 }];
            } else {
                (h.zero_threshold, h.zero_count) = zero;
                (h.positive_spans, h.positive_buckets) = positive;
                (h.negative_spans, h.negative_buckets) = negative;
            }
            h.count = h.zero_count + h.positive_buckets.iter().chain(&h.negative_buckets).fold(0.0, |sum, count| sum + count);
            h
        },
    )
}

fn data() -> impl Strategy<Value = Vec<RawSeries>> {
    let sample = prop_oneof![1 => count().prop_map(Sample::Float), 9 => histogram().prop_map(Sample::Histogram)];
    let samples = prop::collection::vec(prop::option::weighted(0.85, sample), 12);
    prop::collection::vec(samples, 8).prop_map(|all| {
        let series = |(i, samples): (usize, Vec<Option<Sample>>)| {
            let (name, job, instance) = (["h", "g"][i % 2], format!("j{}", i % 3), format!("i{i}"));
            let labels = Labels::from_pairs([("__name__", name), ("job", &job), ("instance", &instance)]);
            let mut series = RawSeries { labels, ..RawSeries::default() };
            for (k, sample) in samples.into_iter().enumerate() {
                let timestamp_ms = k as i64 * MINUTE_MS;
                match sample {
                    None => {}
                    Some(Sample::Float(value)) => {
                        series.timestamps.push(timestamp_ms);
                        series.values.push(value);
                    }
                    Some(Sample::Histogram(h)) => {
                        series.histograms.push(HistogramSample { timestamp_ms, start_ms: 0, histogram: Arc::new(h) });
                    }
                }
            }
            series
        };
        all.into_iter().enumerate().map(series).collect()
    })
}

fn query() -> impl Strategy<Value = String> {
    let vector = prop::sample::select(vec![
        "h",
        "{job=\"j1\"}",
        "rate(h[4m])",
        "increase(h[3m] offset 1m)",
        "delta(g[4m])",
        "irate(h[5m])",
        "idelta(g[5m])",
        "sum_over_time(h[3m])",
        "avg_over_time(h[5m:90s])",
        "last_over_time(h[2m])",
        "h * 0.3",
        "h / 3",
        "-h",
        "h </ 1.5",
        "h >/ 0.2",
    ]);
    let aggregate = prop::sample::select(vec![
        "sum(V)",
        "avg(V)",
        "sum by (job) (V)",
        "avg without (instance) (V)",
        "count(V)",
        "group by (job) (V)",
        "min(V)",
        "topk(2, V)",
        "limitk(3, V)",
        "limit_ratio(0.5, V)",
        "count_values(\"v\", V)",
        "quantile(0.5, V)",
        "stddev(V)",
        "V",
    ]);
    let outer = prop::sample::select(vec![
        "A",
        "histogram_quantile(0.7, A)",
        "histogram_quantiles(A, \"q\", 0.1, 0.9)",
        "histogram_fraction(0.1, 3, A)",
        "histogram_count(A)",
        "histogram_stddev(A)",
        "A + on(job) A",
        "A - on(job, instance) h",
        "A == A",
        "resets(h[6m])",
        "changes(h[6m])",
        "absent(A)",
        "present_over_time((A)[4m:1m])",
        "sum_over_time((A)[4m:1m])",
    ]);
    (vector, aggregate, outer).prop_map(|(vector, aggregate, outer)| outer.replace('A', &format!("({})", aggregate.replace('V', vector))))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn c15_native_histograms_give_one_answer_over_any_number_of_shards(
        text in query(),
        series in data(),
        key in any::<u64>(),
        delayed_name_removal in any::<bool>(),
        is_range in any::<bool>(),
    ) {
        let expr = parse_with(&text, Options::ALL).expect(&text);
        let times = if is_range { QueryParams::range(2 * MINUTE_MS, 11 * MINUTE_MS, 70_000) } else { QueryParams::instant(8 * MINUTE_MS) };
        let plan = Plan::new(&expr, QueryParams { delayed_name_removal, ..times }).expect(&text);
        let budget = Budget::default();
        let whole = fingerprint(Distributed::raw(plan.clone()).evaluate(&text, &[&MemorySource::new(series.clone())], &budget));
        let distributed = Distributed::new(plan);
        let one = fingerprint(distributed.evaluate(&text, &[&MemorySource::new(series.clone())], &budget));
        prop_assert!(agree(&whole, &one), "{}\n{}\n{}", text, whole, one);
        for shards in [2, 3, 7] {
            let sources = placed(&series, shards, key);
            let answer = fingerprint(over_the_wire(&distributed, &text, &sources, &budget));
            prop_assert_eq!(&one, &answer, "{} over {} shards", text, shards);
        }
    }
}
