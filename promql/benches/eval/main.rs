//! The cases of Prometheus's own engine bench on data of the same shape, a sample every ten seconds, and the shapes of dashboard
//! queries. Measured is the time of this thread on a processor, where the system tells it, so that what else runs there matters little.

#![allow(missing_docs)]

mod cpu_time;
mod data;

use cpu_time::CpuTime;
use criterion::{Criterion, criterion_group, criterion_main};
use data::{INTERVAL_MS, INTERVALS, dashboards, histograms, info, intervals, joins, sparse};
use promql::{Budget, MemorySource, Options, Plan, QueryParams, RawSeries, parse_with};
use std::hint::black_box;
use std::time::Duration;

/// (query, steps); the steps end at the last sample.
type Case = (&'static str, i64);

const INTERVAL_CASES: &[Case] = &[
    ("a_one", 1_000),
    ("a_hundred", 1_000),
    ("a_hundred", 1),
    ("rate(a_one[1m])", 1_000),
    ("rate(a_hundred[1m])", 1),
    ("rate(a_hundred[1m])", 1_000),
    ("rate(a_hundred[1m])", 10_000),
    ("rate(a_hundred[1d])", 1_000),
    ("increase(a_hundred[1d])", 1_000),
    ("absent_over_time(a_hundred[1d])", 1_000),
    ("max_over_time(a_hundred[1d])", 1_000),
    ("sum_over_time(a_hundred[1h])", 1_000),
    ("-a_hundred", 1_000),
    ("a_hundred - b_hundred", 1_000),
    ("a_hundred - b_hundred", 10_000),
    ("a_hundred and b_hundred{l=~'.*[0-4]$'}", 1_000),
    ("a_hundred or b_hundred{l=~'.*[0-4]$'}", 1_000),
    ("a_hundred unless b_hundred{l=~'.*[0-4]$'}", 1_000),
    ("abs(a_hundred)", 1_000),
    ("label_replace(a_hundred, 'l2', '$1', 'l', '(.*)')", 1_000),
    ("label_join(a_hundred, 'l2', '-', 'l', 'l')", 1_000),
    ("timestamp(a_hundred)", 1_000),
    ("sum(a_hundred)", 1_000),
    ("avg(a_hundred)", 1_000),
    ("stdvar(a_hundred)", 1_000),
    ("min(a_hundred)", 1_000),
    ("count(a_hundred)", 1_000),
    ("sum without (l) (h_hundred)", 1_000),
    ("sum without (le) (h_hundred)", 1_000),
    ("sum by (l) (h_hundred)", 1_000),
    ("sum by (le) (h_hundred)", 1_000),
    ("count_values('value', h_hundred)", 100),
    ("topk(1, a_hundred)", 1_000),
    ("topk(5, a_hundred)", 1_000),
    ("limitk(1, a_hundred)", 1_000),
    ("limit_ratio(0.1, a_hundred)", 1_000),
    ("quantile(0.9, a_hundred)", 1_000),
    ("rate(a_hundred[1m]) + rate(b_hundred[1m])", 1_000),
    ("sum(rate(a_hundred[1m]))", 1_000),
    ("sum without (l) (rate(a_hundred[1m])) / sum without (l) (rate(b_hundred[1m]))", 1_000),
    ("histogram_quantile(0.9, rate(h_hundred[5m]))", 1_000),
    ("a_hundred + on(l) group_right a_one", 1_000),
    ("count({__name__!=\"\"})", 1),
    ("count({__name__!=\"\",l=\"\"})", 1),
];

const JOIN_CASES: &[Case] = &[
    ("rpc_request_success_total + rpc_request_error_total", 100),
    ("rpc_request_success_total + on (job, instance) group_left rpc_request_error_total", 100),
    ("rpc_request_success_total and rpc_request_error_total{instance=~\"0.*\"}", 100),
    ("rpc_request_success_total or rpc_request_error_total{instance=~\"0.*\"}", 100),
    ("rpc_request_success_total unless rpc_request_error_total{instance=~\"0.*\"}", 100),
];

const HISTOGRAM_CASES: &[Case] = &[
    ("sum(native_histogram_series)", 100),
    ("sum(rate(native_histogram_series[2m]))", 100),
    ("histogram_quantile(0.9, rate(native_histogram_series[2m]))", 100),
    ("histogram_count(rate(native_histogram_series[2m]))", 100),
];

const INFO_CASES: &[Case] = &[
    ("info(http_server_request_total, {data=~\".+\"})", 100),
    ("rate(http_server_request_total[2m]) * on (job, instance) group_left (data) target_info", 100),
];

const DASHBOARD_CASES: &[Case] = &[
    ("histogram_quantile(0.99, sum by (le, handler) (rate(http_bucket[5m])))", 180),
    ("sum by (instance) (rate(http_bucket[5m]))", 180),
    ("sum(rate(http_bucket[5m]))", 180),
    ("max_over_time(http_bucket[30m])", 36),
    ("count({__name__=~\".+\"})", 1),
];

fn run(criterion: &mut Criterion<CpuTime>, name: &str, source: &MemorySource, cases: &[Case]) {
    let mut group = criterion.benchmark_group(name);
    group.sample_size(10).warm_up_time(Duration::from_millis(100)).measurement_time(Duration::from_millis(500));
    for (query, steps) in cases {
        let last = |series: &RawSeries| series.timestamps.last().copied().max(series.histograms.last().map(|h| h.timestamp_ms));
        let end_ms = source.series().filter_map(last).max().unwrap_or(INTERVALS * INTERVAL_MS);
        let step_ms = if name == "dashboards" && *steps > 1 { 10_800_000 / steps } else { INTERVAL_MS };
        let params = match steps {
            1 => QueryParams::instant(end_ms),
            _ => QueryParams::range(end_ms - (steps - 1) * step_ms, end_ms, step_ms),
        };
        let plan = Plan::new(&parse_with(query, Options::ALL).expect(query), params).expect(query);
        group.bench_function(format!("{query} {steps}"), |bencher| {
            bencher.iter(|| black_box(plan.evaluate(query, source, &Budget::default()).expect(query)));
        });
    }
    group.finish();
}

fn queries(criterion: &mut Criterion<CpuTime>) {
    run(criterion, "intervals", &intervals(), INTERVAL_CASES);
    run(criterion, "sparse", &sparse(), &[("rate(sparse[1m])", 10_000), ("sparse", 10_000)]);
    run(criterion, "joins", &joins(), JOIN_CASES);
    run(criterion, "native_histograms", &histograms(), HISTOGRAM_CASES);
    run(criterion, "info", &info(), INFO_CASES);
    run(criterion, "dashboards", &dashboards(), DASHBOARD_CASES);
}

criterion_group! {
    name = benches;
    config = Criterion::default().with_measurement(CpuTime);
    targets = queries
}
criterion_main!(benches);
