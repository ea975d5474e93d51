//! Cost and size of a sample in a page, by kind of series: 480 samples, 15 s apart; and of appending one in the head.

#![allow(missing_docs, clippy::print_stderr)]

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::hint::black_box;
use tsdb::chunk::{Decoded, OpenChunk, PageCoder, PageValues};

const SAMPLES: usize = 480;
const START_MS: i64 = 1_700_000_000_000;

fn classes() -> Vec<(&'static str, Vec<i64>, Vec<f64>)> {
    let mut rng = StdRng::seed_from_u64(1);
    let steady: Vec<i64> = (0..SAMPLES as i64).map(|i| START_MS + i * 15_000).collect();
    let jittered: Vec<i64> = steady.iter().map(|t| t + rng.random_range(-5..=5)).collect();
    let mut walk = |step: &mut dyn FnMut(&mut StdRng) -> f64| {
        let mut value = 1000.0;
        (0..SAMPLES)
            .map(|_| {
                value += step(&mut rng);
                value
            })
            .collect::<Vec<f64>>()
    };
    let slow = walk(&mut |rng| f64::from(u8::from(rng.random_range(0..10) == 0)));
    let fast = walk(&mut |rng| f64::from(rng.random_range(0u32..200)));
    let cpu = walk(&mut |rng| f64::from(rng.random_range(0u32..1500)) / 100.0);
    let noise = walk(&mut |rng| rng.random::<f64>());
    vec![
        ("constant", steady.clone(), vec![1.0; SAMPLES]),
        ("constant_jittered", jittered.clone(), vec![1.0; SAMPLES]),
        ("slow_counter", steady.clone(), slow),
        ("fast_counter", steady.clone(), fast.clone()),
        ("fast_counter_jittered", jittered, fast),
        ("cpu_seconds", steady.clone(), cpu),
        ("random", steady, noise),
    ]
}

fn chunk(c: &mut Criterion) {
    for (class, ts, values) in classes() {
        let mut coder = PageCoder::default();
        let (mut times_bytes, mut value_bytes) = (Vec::new(), Vec::new());
        coder.encode_times(&ts, &mut times_bytes);
        coder.encode_values(PageValues::Floats(&values), &[], &mut value_bytes);
        let per_sample = |bytes: &[u8]| bytes.len() as f64 / SAMPLES as f64;
        eprintln!("{class}: {:.3} bytes per time, {:.3} per value", per_sample(&times_bytes), per_sample(&value_bytes));
        let mut group = c.benchmark_group(format!("chunk/{class}"));
        group.throughput(Throughput::Elements(SAMPLES as u64));
        group.bench_function("append", |b| {
            b.iter_batched_ref(
                || OpenChunk::new(START_MS - 15_000, 0.0),
                |open| ts.iter().zip(&values).for_each(|(t, v)| open.append(*t, *v)),
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
        group.bench_function("decode_times", |b| {
            let mut out = Vec::new();
            b.iter(|| {
                out.clear();
                coder.decode_times(black_box(&times_bytes), SAMPLES, &mut out)
            });
        });
        group.finish();
    }
}

criterion_group!(benches, chunk);
criterion_main!(benches);
