//! Mean time to parse and to print one query.

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use model::regex::RegexCache;
use promql::{Options, parse_cached, parse_with};
use std::hint::black_box;

const ALL: Options = Options::ALL;

/// What dashboards and alerts ask.
const TYPICAL: &[&str] = &[
    "up",
    "up == 0",
    "node_load1{instance=\"db-3\"}",
    "sum by (job) (rate(http_requests_total[5m]))",
    "sum(rate(http_requests_total{code=~\"5..\"}[5m])) by (job) / sum(rate(http_requests_total[5m])) by (job)",
    "histogram_quantile(0.99, sum by (le, route) (rate(http_request_duration_seconds_bucket{job=\"api\"}[5m])))",
    "topk(10, count by (__name__) ({__name__!=\"\"}))",
    "100 - avg by (instance) (irate(node_cpu_seconds_total{mode=\"idle\"}[5m])) * 100",
    "predict_linear(node_filesystem_avail_bytes{fstype!~\"tmpfs|overlay\"}[6h], 24 * 3600) < 0",
    "max_over_time(rate(process_cpu_seconds_total[1m])[1h:1m]) > 0.8",
    "label_replace(up, \"host\", \"$1\", \"instance\", \"(.*):.*\")",
    "kube_pod_info * on (namespace, pod) group_left (node) kube_pod_labels{label_app=\"x\"}",
];

/// The recorded valid queries if their folder is named, else the list above.
#[allow(clippy::disallowed_methods)]
fn queries() -> Vec<String> {
    let Ok(folder) = std::env::var("FLOTILLA_CONFORMANCE") else { return TYPICAL.iter().map(|q| (*q).to_owned()).collect() };
    let text = std::fs::read_to_string(format!("{folder}/promql-parser.jsonl")).expect("recorded queries are readable");
    let rows = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).expect("recorded queries are readable"));
    rows.filter_map(|row| row["q"].as_str().map(str::to_owned)).filter(|q| parse_with(q, ALL).is_ok()).collect()
}

fn bench(criterion: &mut Criterion) {
    let queries = queries();
    let mut group = criterion.benchmark_group("query");
    group.throughput(Throughput::Elements(queries.len() as u64));
    group.bench_function("parse", |b| b.iter(|| queries.iter().for_each(|q| drop(black_box(parse_with(black_box(q), ALL))))));
    let cache = RegexCache::default();
    group.bench_function("parse with known patterns", |b| {
        b.iter(|| queries.iter().for_each(|q| drop(black_box(parse_cached(black_box(q), ALL, &cache)))));
    });
    let plain: Vec<&String> = queries.iter().filter(|q| !q.contains('~')).collect();
    group.throughput(Throughput::Elements(plain.len() as u64));
    group
        .bench_function("parse without patterns", |b| b.iter(|| plain.iter().for_each(|q| drop(black_box(parse_with(black_box(q), ALL))))));
    let trees: Vec<_> = queries.iter().map(|q| parse_with(q, ALL).expect("only valid queries are kept")).collect();
    group.throughput(Throughput::Elements(queries.len() as u64));
    group.bench_function("print", |b| {
        b.iter_batched_ref(
            String::new,
            |out| {
                trees.iter().for_each(|tree| {
                    out.clear();
                    let _ = std::fmt::Write::write_fmt(out, format_args!("{tree}"));
                    black_box(&*out);
                })
            },
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
