//! The four shapes of dashboard queries, over 1,000 series and 1,000 steps.

#![allow(missing_docs)]

use criterion::{Criterion, criterion_group, criterion_main};
use model::Labels;
use promql::{Budget, MemorySource, Plan, QueryParams, RawSeries, parse};
use std::hint::black_box;

const STEP_MS: i64 = 15_000;
const STEPS: i64 = 1_000;

/// Counters `a_total` and `b_total` and a histogram with ten buckets, 1,000 series each, a sample every 15 s.
fn data() -> MemorySource {
    let mut series = Vec::new();
    for i in 0..1_000_i64 {
        let (instance, job) = (format!("host-{:03}", i / 10), format!("job-{}", i % 10));
        let bound = format!("{}", (i % 10 + 1) as f64 / 10.0);
        let bound = if i % 10 == 9 { "+Inf" } else { &bound };
        let common = [("instance", instance.as_str()), ("job", job.as_str())];
        let bucket = [("instance", instance.as_str()), ("le", bound)];
        for (name, labels) in [("a_total", common), ("b_total", common), ("h_bucket", bucket)] {
            let labels = Labels::from_pairs(labels.into_iter().chain([("__name__", name)]));
            let timestamps: Vec<i64> = (0..STEPS + 40).map(|k| k * STEP_MS + i).collect();
            let values = (0..STEPS + 40).map(|k| (k * (i % 10 + 1)) as f64 * 1.37).collect();
            series.push(RawSeries::floats(labels, timestamps, values));
        }
    }
    MemorySource::new(series)
}

fn queries(criterion: &mut Criterion) {
    let source = data();
    let mut group = criterion.benchmark_group("eval");
    group.sample_size(10);
    for (name, query) in [
        ("selector", "a_total"),
        ("rate_1m", "rate(a_total[1m])"),
        ("sum_by_rate", "sum by (job) (rate(a_total[5m]))"),
        ("histogram_quantile", "histogram_quantile(0.99, sum by (le, instance) (rate(h_bucket[5m])))"),
        ("binary_join", "a_total / b_total"),
        ("max_over_time_1h", "max_over_time(a_total[1h])"),
        ("stddev", "stddev(a_total)"),
    ] {
        let start_ms = 40 * STEP_MS;
        let params = QueryParams::range(start_ms, start_ms + (STEPS - 1) * STEP_MS, STEP_MS);
        let plan = Plan::new(&parse(query).expect(query), params).expect(query);
        group.bench_function(name, |bencher| {
            bencher.iter(|| black_box(plan.evaluate(query, &source, &Budget::default()).expect(query)));
        });
    }
    group.finish();
}

criterion_group!(benches, queries);
criterion_main!(benches);
