//! What the edge spends on one remote write request of 2,000 series with one sample each, as an agent on a node exporter sends it.
#![allow(missing_docs)]

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use model::{Generation, GenerationList, ShardId};
use node::ingest::admit::AdmitLimits;
use node::ingest::decode::{BodyLimits, SnappyBuffer, Version, WriteRequestReader};
use node::ingest::known::KnownSeries;
use node::ingest::split::{SplitRules, Splitter};
use prost::Message;
use proto::prometheus::{Label, Sample, TimeSeries, WriteRequest};
use std::collections::HashMap;
use std::hint::black_box;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const SERIES: usize = 2000;
const NOW_MS: i64 = 1_790_000_000_000;

fn series(i: usize) -> TimeSeries {
    let label = |name: &str, value: String| Label { name: name.into(), value };
    let mut labels = vec![
        label("__name__", ["node_cpu_seconds_total", "node_disk_read_bytes_total", "node_memory_MemFree_bytes"][i % 3].to_owned()),
        label("instance", format!("10.12.{}.{}:9100", i / 250, i % 250)),
        label("job", "node-exporter".to_owned()),
    ];
    match i % 3 {
        0 => {
            labels.push(label("cpu", (i % 64).to_string()));
            labels.push(label("mode", ["idle", "iowait", "system", "user"][i % 4].to_owned()));
        }
        1 => labels.push(label("device", format!("nvme{}n1", i % 8))),
        _ => {}
    }
    labels.push(label("cluster", "eu-west-1-prod".to_owned()));
    labels.push(label("region", "eu-west-1".to_owned()));
    labels.sort_by(|a, b| a.name.cmp(&b.name));
    TimeSeries { labels, samples: vec![Sample { value: i as f64 * 1.37, timestamp: NOW_MS + i as i64 }], exemplars: vec![] }
}

/// `io.prometheus.write.v2.Request`, as far as it is needed here.
#[derive(Clone, PartialEq, prost::Message)]
struct Request2 {
    #[prost(string, repeated, tag = "4")]
    symbols: Vec<String>,
    #[prost(message, repeated, tag = "5")]
    timeseries: Vec<Series2>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Series2 {
    #[prost(uint32, repeated, tag = "1")]
    labels_refs: Vec<u32>,
    #[prost(message, repeated, tag = "2")]
    samples: Vec<Sample>,
    #[prost(message, optional, tag = "5")]
    metadata: Option<Metadata2>,
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
struct Metadata2 {
    #[prost(int32, tag = "1")]
    r#type: i32,
    #[prost(uint32, tag = "3")]
    help_ref: u32,
}

/// The same series in version 2, with the type and help of each metric.
fn request_2() -> Request2 {
    let mut symbols = vec![String::new(), "How many seconds, bytes or pieces there were.".to_owned()];
    let mut known: HashMap<String, u32> = HashMap::new();
    let mut reference = |text: String| {
        *known.entry(text).or_insert_with_key(|text| {
            symbols.push(text.clone());
            (symbols.len() - 1) as u32
        })
    };
    let timeseries = (0..SERIES).map(series).map(|TimeSeries { labels, samples, .. }| Series2 {
        labels_refs: labels.into_iter().flat_map(|Label { name, value }| [reference(name), reference(value)]).collect(),
        samples,
        metadata: Some(Metadata2 { r#type: 1, help_ref: 1 }),
    });
    let timeseries = timeseries.collect();
    Request2 { symbols, timeseries }
}

fn ingest(c: &mut Criterion) {
    let body = WriteRequest { timeseries: (0..SERIES).map(series).collect(), metadata: vec![] }.encode_to_vec();
    let block = snap::raw::Encoder::new().compress_vec(&body).expect("a body below 4 GiB");
    let generation = Generation { generation: 1, rev: 1, from_ms: i64::MIN, shards: (1..=8).map(ShardId).collect() };
    let generations = GenerationList::new(vec![generation]).expect("one generation");
    let admit = AdmitLimits::new(NOW_MS - 3_600_000);
    let rules = SplitRules { admit: &admit, generations: &generations, hash_key: 0x5eed, known: None };
    let limits = BodyLimits::default();

    let mut group = c.benchmark_group("remote_write_2000");
    group.throughput(Throughput::Elements(SERIES as u64));
    let mut snappy = SnappyBuffer::default();
    group.bench_function("snappy", |b| b.iter(|| black_box(snappy.decode(black_box(&block), &limits).map(<[u8]>::len))));
    group.bench_function("walk", |b| b.iter(|| walk(black_box(&body))));
    group.bench_function("decode", |b| b.iter(|| walk(snappy.decode(black_box(&block), &limits).expect("a valid block"))));
    let mut splitter = Splitter::default();
    group.bench_function("decode_and_split", |b| b.iter(|| black_box(splitter.split(Version::V1, black_box(&block), &limits, &rules))));
    let body_2 = request_2().encode_to_vec();
    let block_2 = snap::raw::Encoder::new().compress_vec(&body_2).expect("a body below 4 GiB");
    for (name, version, block) in [("", Version::V1, &block), ("_2", Version::V2, &block_2)] {
        let known = KnownSeries::new(1 << 20);
        let rules = SplitRules { known: Some(&known), ..rules };
        if version == Version::V2 {
            let rules = SplitRules { known: None, ..rules };
            group
                .bench_function("decode_and_split_2", |b| b.iter(|| black_box(splitter.split(version, black_box(block), &limits, &rules))));
        }
        known.learn(&splitter.split(version, block, &limits, &rules).expect("a valid body").learned);
        assert!(splitter.split(version, block, &limits, &rules).expect("a valid body").learned.is_empty());
        group.bench_function(format!("decode_and_split{name}_known"), |b| {
            b.iter(|| black_box(splitter.split(version, black_box(block), &limits, &rules)));
        });
    }
    group.bench_function("prost_decode", |b| {
        b.iter_batched(|| body.as_slice(), |body| WriteRequest::decode(black_box(body)), BatchSize::SmallInput);
    });
    group.finish();
}

fn walk(body: &[u8]) -> (usize, u64) {
    let mut reader = WriteRequestReader::new(body);
    let (mut labels, mut bits) = (0, 0);
    while let Some(series) = reader.next_series().expect("a valid body") {
        labels += series.labels.len();
        for sample in series.body.samples {
            bits ^= sample.value.to_bits() ^ sample.timestamp_ms as u64;
        }
    }
    (labels, bits)
}

criterion_group!(benches, ingest);
criterion_main!(benches);
