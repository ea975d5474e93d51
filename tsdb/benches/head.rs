//! Nanoseconds a sample through the leader's resolve, through apply and through a select; nanoseconds a series through a checkpoint.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use model::seal::Seal;
use model::{Generation, Labels, LogPoint, Matcher, ReplicaId, Sample, ShardId, WorkspaceId, hash};
use std::hint::black_box;
use std::ops::ControlFlow;
use std::sync::Arc;
use tsdb::entry::Origin;
use tsdb::rows::{RowsBuilder, push_label};
use tsdb::store::FaultPlan;
use tsdb::{Db, DbOptions, EntryBuilder, PartInput, Shard, ShardConfig, ShardIdentity, TimeRange, entry};

const SERIES: u32 = 20_000;
const KEY: u64 = 1;
const T0: i64 = 1_700_000_000_000;

struct Bench {
    _folder: tempfile::TempDir,
    shard: Arc<Shard>,
    index: u64,
    scrape: i64,
    identities: Vec<(u128, u64, Vec<u8>)>,
}

fn identity(n: u32) -> (u128, u64, Vec<u8>) {
    let (metric, instance) = (format!("node_metric_{}_total", n % 1000), format!("10.0.{}.17:9100", n / 1000));
    let device = format!("device-{}", n % 7);
    let labels = Labels::from_pairs([
        ("__name__", metric.as_str()),
        ("cluster", "production-eu-west-1"),
        ("device", device.as_str()),
        ("env", "production"),
        ("instance", instance.as_str()),
        ("job", "node-exporter"),
        ("mode", "idle"),
        ("region", "eu-west-1"),
    ]);
    let mut region = Vec::new();
    labels.iter().for_each(|(name, value)| push_label(&mut region, name.as_bytes(), value.as_bytes()));
    (hash::fp128(&labels, KEY), hash::placement_hash(&labels, KEY), region)
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let options =
            DbOptions { path: folder.path().to_path_buf(), memory_bytes: 64 << 20, seal: Seal::identity(), faults: FaultPlan::default() };
        let db = Db::open(options).expect("a database");
        let identity_of_shard = ShardIdentity { shard: ShardId(1), replica: ReplicaId(1), workspace: WorkspaceId::new("default") };
        let store = db.create_shard(identity_of_shard).expect("a shard");
        let shard = Shard::open(store, ShardConfig::default()).expect("an open shard");
        let mut bench = Self { _folder: folder, shard, index: 0, scrape: 0, identities: (0..SERIES).map(identity).collect() };
        let list = [Generation { generation: 1, rev: 1, from_ms: i64::MIN, shards: vec![ShardId(1)] }];
        bench.apply(&entry::open(KEY, &list));
        let first = bench.rows();
        let payload = bench.resolve(&first);
        bench.apply(&payload);
        bench
    }

    /// One scrape of every series, timestamps a few milliseconds apart between targets.
    fn rows(&mut self) -> bytes::Bytes {
        self.scrape += 1;
        let mut rows = RowsBuilder::default();
        for (n, (fp, placement, labels)) in self.identities.iter().enumerate() {
            let timestamp_ms = T0 + self.scrape * 15_000 + (n / 1000) as i64 * 37;
            rows.series(n as u32, *fp, *placement, labels);
            let value = if n % 2 == 0 { n as f64 } else { (self.scrape * (n as i64 % 100)) as f64 };
            rows.sample(Sample { timestamp_ms, value });
        }
        rows.finish()
    }

    fn resolve(&self, rows: &[u8]) -> bytes::Bytes {
        let mut builder = EntryBuilder::new(T0 + self.scrape * 15_000 + 1000, 1);
        let input = PartInput { batch_id: self.scrape as u128, generation: 1, origin: Origin::RemoteWrite, rows };
        builder.add_part(&self.shard, input).expect("well-formed rows");
        builder.finish()
    }

    fn apply(&mut self, payload: &[u8]) {
        let point = LogPoint { term: 1, leader: ReplicaId(1), index: self.index };
        self.index += 1;
        black_box(self.shard.apply(point, payload).expect("applied"));
    }
}

fn append(c: &mut Criterion) {
    let mut group = c.benchmark_group("head");
    group.throughput(Throughput::Elements(u64::from(SERIES))).sample_size(20);
    let mut bench = Bench::new();
    let rows = bench.rows();
    group.bench_function("resolve", |b| b.iter(|| black_box(bench.resolve(&rows))));
    group.bench_function("apply", |b| {
        b.iter_custom(|n| {
            let mut total = std::time::Duration::ZERO;
            for _ in 0..n {
                let rows = bench.rows();
                let payload = bench.resolve(&rows);
                let clock = model::clock::SystemClock::default();
                bench.apply(&payload);
                total += model::clock::Clock::monotonic(&clock);
            }
            total
        });
    });
    group.finish();
}

fn select(c: &mut Criterion) {
    let mut bench = Bench::new();
    for _ in 0..200 {
        let rows = bench.rows();
        let payload = bench.resolve(&rows);
        bench.apply(&payload);
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
    let mut bench = Bench::new();
    let mut group = c.benchmark_group("checkpoint");
    group.throughput(Throughput::Elements(u64::from(SERIES))).sample_size(10);
    group.bench_function("write", |b| {
        b.iter_custom(|n| {
            let mut total = std::time::Duration::ZERO;
            for _ in 0..n {
                let rows = bench.rows();
                let payload = bench.resolve(&rows);
                bench.apply(&payload);
                let clock = model::clock::SystemClock::default();
                black_box(bench.shard.checkpoint().expect("written"));
                total += model::clock::Clock::monotonic(&clock);
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
