//! Size and cost of a sample in a page, by kind of series, and of appending one in the head. Prints a table, then runs criterion.

#![allow(missing_docs, clippy::print_stdout)]

#[path = "support/classes.rs"]
mod classes;
#[path = "support/cpu_time.rs"]
mod cpu_time;

use classes::{Class, START_MS, classes, times};
use cpu_time::{CpuTime, nanoseconds_each};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use tsdb::chunk::{Decoded, OpenChunk, PageCoder, PageValues};

const SAMPLES: usize = 480;
/// Series of each kind of which the table gives the mean.
const SERIES: u64 = 16;

fn encoded(coder: &mut PageCoder, values: &[f64]) -> Vec<u8> {
    let mut bytes = Vec::new();
    coder.encode_values(PageValues::Floats(values), &[], &mut bytes);
    bytes
}

/// Bytes, and nanoseconds of encoding and decoding, each for one value.
fn cost(values: &[f64]) -> [f64; 3] {
    let (mut coder, mut out, mut decoded) = (PageCoder::default(), Vec::new(), Decoded::default());
    let bytes = encoded(&mut coder, values);
    let encode = nanoseconds_each(values.len(), || {
        out.clear();
        coder.encode_values(PageValues::Floats(black_box(values)), &[], &mut out);
    });
    let decode = nanoseconds_each(values.len(), || {
        decoded.clear();
        coder.decode_values(black_box(&bytes), values.len(), &mut decoded).expect("just encoded");
    });
    let exact = decoded.values.iter().zip(values).all(|(a, b)| a.to_bits() == b.to_bits());
    assert!(exact && decoded.values.len() == values.len(), "every bit comes back");
    [bytes.len() as f64 / values.len() as f64, encode, decode]
}

fn row(name: &str, share: &str, [bytes, encode, decode]: [f64; 3]) {
    println!("| {name} | {share} | {bytes:.3} | {encode:.1} | {decode:.2} |");
}

fn table() {
    let all: Vec<Vec<Class>> = (1..=SERIES).map(|seed| classes(SAMPLES, seed)).collect();
    println!("| kind, {SAMPLES} samples | of 100 | bytes | encode ns | decode ns |\n|---|---|---|---|---|");
    let mut mix = [0.0; 3];
    for (at, Class { name, share, .. }) in all[0].iter().enumerate() {
        let costs = all.iter().map(|series| cost(&series[at].values));
        let sum = costs.fold([0.0; 3], |sum, cost| [sum[0] + cost[0], sum[1] + cost[1], sum[2] + cost[2]]);
        let mean = sum.map(|of| of / SERIES as f64);
        mix.iter_mut().zip(mean).for_each(|(of_mix, of_class)| *of_mix += of_class * f64::from(*share) / 100.0);
        row(name, &share.to_string(), mean);
    }
    row("**mix of values**", "100", mix);
    let (grid, jittered) = times(SAMPLES);
    for (name, times) in [("times on a grid", &grid), ("times 5 ms off", &jittered)] {
        let (mut coder, mut bytes, mut out) = (PageCoder::default(), Vec::new(), Vec::new());
        let encode = nanoseconds_each(SAMPLES, || {
            bytes.clear();
            coder.encode_times(black_box(times), &mut bytes);
        });
        let decode = nanoseconds_each(SAMPLES, || {
            out.clear();
            coder.decode_times(black_box(&bytes), SAMPLES, &mut out).expect("just encoded");
        });
        row(name, "", [bytes.len() as f64 / SAMPLES as f64, encode, decode]);
    }
}

fn chunk(c: &mut Criterion<CpuTime>) {
    table();
    let (grid, jittered) = times(SAMPLES);
    let mut coder = PageCoder::default();
    for Class { name, values, .. } in classes(SAMPLES, 1) {
        let value_bytes = encoded(&mut coder, &values);
        let mut group = c.benchmark_group(format!("chunk/{name}"));
        group.throughput(Throughput::Elements(SAMPLES as u64));
        group.bench_function("append", |b| {
            b.iter_batched_ref(
                || OpenChunk::new(START_MS - 15_000, 0.0),
                |open| grid.iter().zip(&values).for_each(|(t, v)| open.append(*t, *v)),
                BatchSize::SmallInput,
            );
        });
        group.bench_function("encode_values", |b| {
            let mut out = Vec::new();
            b.iter(|| {
                out.clear();
                coder.encode_values(PageValues::Floats(black_box(&values)), &[], &mut out);
            });
        });
        group.bench_function("decode_values", |b| {
            let mut out = Decoded::default();
            b.iter(|| {
                out.clear();
                coder.decode_values(black_box(&value_bytes), SAMPLES, &mut out)
            });
        });
        group.finish();
    }
    let mut group = c.benchmark_group("chunk/times");
    group.throughput(Throughput::Elements(SAMPLES as u64));
    let mut bytes = Vec::new();
    coder.encode_times(&jittered, &mut bytes);
    group.bench_function("decode_times", |b| {
        let mut out = Vec::new();
        b.iter(|| {
            out.clear();
            coder.decode_times(black_box(&bytes), SAMPLES, &mut out)
        });
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().with_measurement(CpuTime);
    targets = chunk
}
criterion_main!(benches);
