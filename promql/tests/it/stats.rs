//! What is counted of the samples that a query looks at: as Prometheus counts them.

use crate::harness::{over_the_wire, placed};
use model::Labels;
use model::histogram::{FloatHistogram, Span};
use promql::parse::{Options, parse_with};
use promql::{Budget, Distributed, HistogramSample, MemorySource, Plan, QueryParams, RawSeries, Stats};
use std::sync::Arc;

/// A sample every ten seconds up to 1,000 s: one series, three, and one of histograms that count as 13 samples each.
fn series() -> Vec<RawSeries> {
    let times: Vec<i64> = (0..=100).map(|k| k * 10_000).collect();
    let values: Vec<f64> = (0..=100).map(|k| f64::from(k) + 1.0).collect();
    let floats = |labels: &[(&str, &str)]| RawSeries::floats(Labels::from_pairs(labels.iter().copied()), times.clone(), values.clone());
    let histogram = Arc::new(FloatHistogram {
        schema: 1,
        count: 6.0,
        sum: 20.0,
        positive_spans: vec![Span { offset: 0, length: 4 }],
        positive_buckets: vec![1.0, 2.0, 1.0, 1.0],
        ..FloatHistogram::default()
    });
    let samples = times.iter().map(|t| HistogramSample { timestamp_ms: *t, start_ms: 0, histogram: Arc::clone(&histogram) });
    let histograms = RawSeries { labels: Labels::from_pairs([("__name__", "h")]), histograms: samples.collect(), ..RawSeries::default() };
    vec![
        floats(&[("__name__", "one")]),
        floats(&[("__name__", "three"), ("a", "1"), ("b", "1")]),
        floats(&[("__name__", "three"), ("a", "2"), ("b", "2")]),
        floats(&[("__name__", "three"), ("a", "3"), ("b", "2")]),
        floats(&[("__name__", "target_info"), ("a", "1"), ("instance", "x"), ("job", "y")]),
        floats(&[("__name__", "of_target"), ("instance", "x"), ("job", "y")]),
        histograms,
    ]
}

fn stats(query: &str, params: QueryParams, shards: u32) -> Stats {
    let expr = parse_with(query, Options::ALL).expect(query);
    let distributed = Distributed::new(Plan::new(&expr, params).expect(query));
    over_the_wire(&distributed, query, &placed(&series(), shards, 42), &Budget::default()).expect(query).stats
}

/// Checks the count at each step, over one shard and over three, and with everything evaluated in one place.
fn check(query: &str, params: QueryParams, per_step: &[u64]) {
    for shards in [1, 3] {
        let Stats { samples_queryable, samples_per_step, .. } = stats(query, params, shards);
        assert_eq!(samples_per_step, per_step, "{query} over {shards} shards");
        assert_eq!(samples_queryable, per_step.iter().sum::<u64>(), "{query} over {shards} shards");
    }
    let expr = parse_with(query, Options::ALL).expect(query);
    let raw = Distributed::raw(Plan::new(&expr, params).expect(query));
    let whole = raw.evaluate(query, &[&MemorySource::new(series())], &Budget::default()).expect(query).stats;
    assert_eq!(whole.samples_per_step, per_step, "{query} in one place");
}

#[test]
fn instant_queries_count_what_prometheus_counts() {
    for (query, at_s, samples) in [
        ("\"literal string\"", 21, 0),
        ("1", 21, 0),
        ("one", 21, 1),
        ("h", 21, 13),
        ("timestamp(one)", 21, 1),
        ("timestamp(h)", 21, 1),
        ("one offset 10s", 21, 1),
        ("one @ 15", 21, 1),
        ("three{a=\"1\"}[20s] @ 19", 21, 2),
        ("three", 21, 3),
        ("one[60s]", 201, 6),
        ("h[60s]", 201, 78),
        ("max_over_time(one[60s])[20s:5s]", 201, 24),
        ("max_over_time(one[61s])[20s:5s]", 201, 26),
        ("one[60s] @ 30", 201, 4),
        ("h[60s] @ 30", 201, 52),
        ("sum(max_over_time(three[60s] @ 30))", 201, 12),
        ("sum by (b) (max_over_time(three[60s] @ 30))", 201, 12),
        ("one[60s] offset 10s", 201, 6),
        ("max_over_time(one[60s])", 201, 6),
        ("absent_over_time(one[60s])", 201, 6),
        ("max_over_time(three[60s])", 201, 18),
        ("one[60s:5s]", 201, 12),
        ("one[60s:5s] offset 10s", 201, 12),
        ("max_over_time(three[60s:5s])", 201, 36),
        ("sum(max_over_time(three[60s:5s])) + sum(max_over_time(three[60s:5s]))", 201, 72),
    ] {
        check(query, QueryParams::instant(at_s * 1_000), &[samples]);
    }
}

#[test]
fn range_queries_count_what_prometheus_counts_at_each_step() {
    let four_from = |start_s: i64| QueryParams::range(start_s * 1_000, (start_s + 19) * 1_000, 5_000);
    for (query, start_s, each) in [
        ("three{a=\"1\"}", 201, 1),
        ("three{a=\"1\"}", 204, 1),
        ("h", 204, 13),
        ("timestamp(one)", 201, 1),
        ("timestamp(h)", 201, 1),
        ("three{a=\"1\"} offset 10s", 201, 1),
        ("max_over_time(three[60s] @ 30)", 201, 12),
        ("three", 201, 3),
        ("max_over_time(three[60s])", 201, 18),
        ("max_over_time(three[60s:5s])", 201, 36),
        ("max_over_time(one[60s:5s])", 201, 12),
        ("sum by (b) (max_over_time(one[60s:5s]))", 201, 12),
        ("sum(max_over_time(three[60s:5s])) + sum(max_over_time(three[60s:5s]))", 201, 72),
        ("sum(max_over_time(three[60s:5s])) + sum(max_over_time(one[60s:5s]))", 201, 48),
    ] {
        check(query, four_from(start_s), &[each; 4]);
    }
    check("max_over_time(three{a=\"1\"}[10s])", QueryParams::range(991_000, 1_021_000, 10_000), &[1, 1, 0, 0]);
}

#[test]
fn what_shards_and_the_root_look_at_is_counted_once() {
    let four = QueryParams::range(201_000, 220_000, 5_000);
    for (query, each) in [
        ("sum(rate(three[60s]))", 18),
        ("three / three", 6),
        ("quantile(0.5, three)", 3),
        ("topk(1, three)", 3),
        ("count_values(\"v\", three)", 3),
        ("scalar(one)", 1),
        ("absent(three)", 3),
        ("absent_over_time(three[60s])", 18),
        ("predict_linear(one[60s] @ 30, 60)", 4),
        ("max_over_time(sum(three)[20s:5s])", 4),
        ("three @ 30 + three", 6),
        // Counted are the info series that may be meant.
        ("info(of_target)", 2),
        ("1", 0),
    ] {
        check(query, four, &[each; 4]);
    }
    assert_eq!(stats("three offset 19m", QueryParams::range(1_000_000, 1_200_000, 100_000), 3).samples_per_step, [0, 0, 3]);
}

#[test]
fn samples_are_read_once_where_windows_overlap() {
    let four = QueryParams::range(201_000, 231_000, 10_000);
    for (query, per_step) in [
        // The newest sample of each step is read for it, also if it is the same again.
        ("three", [3, 3, 3, 3]),
        ("h", [13, 13, 13, 13]),
        ("one @ 30", [1, 0, 0, 0]),
        ("rate(one[60s])", [6, 1, 1, 1]),
        ("sum(max_over_time(three[60s]))", [18, 3, 3, 3]),
        ("max_over_time(one[5s])", [1, 1, 1, 1]),
        ("count_over_time(h[30s])", [39, 13, 13, 13]),
        ("predict_linear(one[60s] @ 30, 60)", [4, 0, 0, 0]),
        ("absent_over_time(one[60s])", [6, 1, 1, 1]),
        // Of a subquery what it reads itself: here at each of its steps, the first window holding twelve of them.
        ("max_over_time(one[60s:5s])", [12, 2, 2, 2]),
        ("max_over_time(rate(one[20s])[20s:5s] offset 10s)", [4, 1, 1, 1]),
        ("one + one", [2, 2, 2, 2]),
        ("1", [0, 0, 0, 0]),
    ] {
        for shards in [1, 3] {
            let read = stats(query, four, shards);
            assert_eq!(read.samples_read_per_step, per_step, "{query} over {shards} shards");
            assert_eq!(read.samples_read_for_steps(), per_step.iter().sum::<u64>());
        }
    }
    // Samples between windows are not read for any.
    let far = stats("max_over_time(one[10s])", QueryParams::range(200_000, 500_000, 100_000), 1);
    assert_eq!(far.samples_read_per_step, [1, 1, 1, 1]);
    let far = stats("max_over_time(one[10s:10s])", QueryParams::range(200_000, 500_000, 100_000), 1);
    assert_eq!(far.samples_read_per_step, [1, 1, 1, 1]);
}
