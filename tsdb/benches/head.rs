//! Nanoseconds a sample through the leader's resolve, through apply and through a select; nanoseconds a series through a checkpoint.

#[path = "support/shard.rs"]
mod shard;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use model::Matcher;
use shard::{Fed, timed};
use std::hint::black_box;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;
use tsdb::{Shard, ShardConfig, TimeRange};

const SERIES: u32 = 20_000;

/// Half of the series stay as they are.
fn value(n: usize, scrape: i64) -> f64 {
    if n.is_multiple_of(2) { n as f64 } else { (scrape * (n as i64 % 100)) as f64 }
}

fn fed() -> Fed {
    let mut fed = Fed::new(SERIES);
    fed.write(value);
    fed
}

fn append(c: &mut Criterion) {
    let mut group = c.benchmark_group("head");
    group.throughput(Throughput::Elements(u64::from(SERIES))).sample_size(20);
    let mut bench = fed();
    let rows = bench.rows(value);
    group.bench_function("resolve", |b| b.iter(|| black_box(bench.resolve(&rows))));
    group.bench_function("apply", |b| {
        b.iter_custom(|n| {
            let mut total = Duration::ZERO;
            for _ in 0..n {
                let rows = bench.rows(value);
                let payload = bench.resolve(&rows);
                total += timed(|| bench.apply(&payload));
            }
            total
        });
    });
    group.finish();
}

fn select(c: &mut Criterion) {
    let mut bench = fed();
    for _ in 0..200 {
        bench.write(value);
    }
    let samples = bench.shard.stats().samples;
    let mut group = c.benchmark_group("select");
    group.throughput(Throughput::Elements(samples)).sample_size(10);
    let scan = |shard: &Arc<Shard>| {
        let mut count = 0u64;
        let matchers = [Matcher::equal("job", "node-exporter")];
        let visit = |series: tsdb::SelectedSeries<'_>| {
            count += series.values.len() as u64;
            ControlFlow::Continue(())
        };
        shard.read_view().select(&matchers, TimeRange::ALL, visit).expect("read");
        assert_eq!(count, samples);
    };
    group.bench_function("head", |b| b.iter(|| scan(&bench.shard)));
    bench.shard.checkpoint().expect("written");
    group.bench_function("parts_and_head", |b| b.iter(|| scan(&bench.shard)));
    group.finish();
}

fn checkpoint(c: &mut Criterion) {
    let mut bench = fed();
    let mut group = c.benchmark_group("checkpoint");
    group.throughput(Throughput::Elements(u64::from(SERIES))).sample_size(10);
    group.bench_function("write", |b| {
        b.iter_custom(|n| {
            let mut total = Duration::ZERO;
            for _ in 0..n {
                bench.write(value);
                total += timed(|| {
                    black_box(bench.shard.checkpoint().expect("written"));
                });
            }
            total
        });
    });
    let store = bench.shard.store();
    group.bench_function("restore", |b| b.iter(|| Shard::open(store.clone(), ShardConfig::default()).expect("restored")));
    group.finish();
}

criterion_group!(benches, append, select, checkpoint);
criterion_main!(benches);
