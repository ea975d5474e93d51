//! Reading many pages of parts: samples a second of one core, with and without joining them to series. Prints what a sample takes on disk.

#![allow(missing_docs, clippy::print_stdout)]

#[path = "support/classes.rs"]
mod classes;
#[path = "support/cpu_time.rs"]
mod cpu_time;
#[path = "support/shard.rs"]
mod shard;

use classes::classes;
use cpu_time::CpuTime;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use model::{Matcher, SeriesId};
use roaring::RoaringBitmap;
use shard::{Fed, METRICS};
use std::collections::BTreeMap;
use std::hint::black_box;
use std::ops::ControlFlow;
use tsdb::chunk::{Decoded, PageCoder};
use tsdb::store::StoreView;
use tsdb::{Shard, TimeRange};

const TARGETS: u32 = 4;
/// Eight hours, 15 s apart, and what the head keeps open.
const SCRAPES: usize = 1920 + 1;

/// The mix of classes: all series of a metric are of one kind.
fn fed() -> Fed {
    let mut fed = Fed::new(TARGETS * METRICS);
    let values: Vec<Vec<f64>> = (0..TARGETS * METRICS)
        .map(|n| {
            let place = n % METRICS % 100;
            let mut from = 0;
            let mut all = classes(SCRAPES, u64::from(n)).into_iter();
            let class = all.find(|class| {
                from += class.share;
                place < from
            });
            class.expect("shares add up to a hundred").values
        })
        .collect();
    for _ in 0..SCRAPES {
        fed.write(|n, scrape| values[n][scrape as usize - 1]);
    }
    fed.shard.checkpoint().expect("written");
    fed
}

/// The stored series by metric.
fn by_metric(view: &StoreView) -> BTreeMap<u32, RoaringBitmap> {
    let stored = view.select(&[Matcher::equal("job", "node-exporter")], 0, i64::MAX / 2).expect("an index");
    let mut by_metric: BTreeMap<u32, RoaringBitmap> = BTreeMap::new();
    for sid in stored {
        let record = view.series(SeriesId(sid)).expect("a record").expect("a stored series");
        by_metric.entry(record.metric).or_default().insert(sid);
    }
    by_metric
}

/// Decodes every page, times once for each column of a group; gives the number of samples.
fn decode_all(view: &StoreView, by_metric: &BTreeMap<u32, RoaringBitmap>) -> u64 {
    let (mut coder, mut out, mut times, mut count) = (PageCoder::default(), Decoded::default(), Vec::new(), 0);
    for (metric, sids) in by_metric {
        let mut last = None;
        let visit = |page: tsdb::store::StoredPage<'_>| {
            if last.replace((page.group, page.column)) != Some((page.group, page.column)) {
                times.clear();
                coder.decode_times(page.times, page.count, &mut times).expect("sound times");
            }
            out.clear();
            coder.decode_values(page.values, page.count, &mut out).expect("sound values");
            count += black_box(&out.values).len() as u64;
        };
        view.scan(sids, *metric, 0, i64::MAX, visit).expect("sound groups");
    }
    count
}

fn select_all(shard: &std::sync::Arc<Shard>, range: TimeRange) -> u64 {
    let mut count = 0u64;
    let visit = |series: tsdb::SelectedSeries<'_>| {
        count += black_box(series.values).len() as u64;
        ControlFlow::Continue(())
    };
    shard.read_view().select(&[Matcher::equal("job", "node-exporter")], range, visit).expect("read");
    count
}

fn scan(c: &mut Criterion<CpuTime>) {
    let fed = fed();
    let store = fed.shard.store();
    let view = store.view();
    let by_metric = by_metric(&view);
    let samples = decode_all(&view, &by_metric);
    let bytes: u64 = view.parts().iter().filter(|part| part.kind.has_samples()).map(|part| part.bytes).sum();
    println!("{samples} samples in parts, {:.3} bytes each", bytes as f64 / samples as f64);
    let mut group = c.benchmark_group("scan");
    group.throughput(Throughput::Elements(samples)).sample_size(10);
    group.bench_function("pages", |b| b.iter(|| assert_eq!(decode_all(&view, &by_metric), samples)));
    group.bench_function("select", |b| b.iter(|| select_all(&fed.shard, TimeRange::ALL)));
    group.finish();
    let mut group = c.benchmark_group("lookup");
    let (metric, sids) = by_metric.iter().next().expect("a metric");
    let sid = SeriesId(sids.min().expect("a series"));
    group.bench_function("pages_of_a_series", |b| {
        b.iter(|| {
            let mut count = 0;
            view.pages_of(sid, *metric, 0, i64::MAX, |page| count += page.count).expect("sound groups");
            count
        });
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().with_measurement(CpuTime);
    targets = scan
}
criterion_main!(benches);
