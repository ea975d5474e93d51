//! CPU time of look-ups in the index over a million series, in the head, in one stored day, and in both: a selector with three matchers
//! to its bitmap, values of a label that has 100,000, and what a shard tells of its cardinality.

#![allow(missing_docs, clippy::print_stderr)]

use criterion::{Criterion, criterion_group, criterion_main};
use model::seal::Seal;
use model::{Generation, Labels, LogPoint, MatchOp, Matcher, ReplicaId, Sample, ShardId, WorkspaceId, hash};
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;
use tsdb::entry::Origin;
use tsdb::rows::{RowsBuilder, push_label};
use tsdb::store::FaultPlan;
use tsdb::{Db, DbOptions, EntryBuilder, PartInput, Shard, ShardConfig, ShardIdentity, TimeRange, entry};

const SERIES: u32 = 1_000_000;
const SERIES_OF_ENTRY: u32 = 20_000;
const PODS: u32 = 100_000;
const KEY: u64 = 1;
const T0: i64 = 1_700_000_000_000;
const DAY_MS: i64 = 86_400_000;

/// CPU time of this thread.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux");
    Duration::from_nanos(stat.split(' ').next().and_then(|ns| ns.parse().ok()).expect("nanoseconds"))
}

fn labels(n: u32) -> Labels {
    let (metric, instance) = (format!("node_metric_{}_total", n % 1000), format!("10.0.{}.17:9100", n / 1000));
    // Names as Kubernetes makes them.
    let pod = format!("frontend-{:08x}", (n % PODS).wrapping_mul(0x9e37_79b1));
    Labels::from_pairs([
        ("__name__", metric.as_str()),
        ("cluster", if n.is_multiple_of(2) { "production-eu-west-1" } else { "production-us-east-1" }),
        ("instance", instance.as_str()),
        ("job", "node-exporter"),
        ("pod", pod.as_str()),
    ])
}

struct Bench {
    _folder: tempfile::TempDir,
    shard: Arc<Shard>,
    index: u64,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let options =
            DbOptions { path: folder.path().to_path_buf(), memory_bytes: 256 << 20, seal: Seal::identity(), faults: FaultPlan::default() };
        let db = Db::open(options).expect("a database");
        let identity = ShardIdentity { shard: ShardId(1), replica: ReplicaId(1), workspace: WorkspaceId::new("default") };
        let shard = Shard::open(db.create_shard(identity).expect("a shard"), ShardConfig::default()).expect("an open shard");
        let mut bench = Self { _folder: folder, shard, index: 0 };
        bench.apply(&entry::open(KEY, &[Generation { generation: 1, rev: 1, from_ms: i64::MIN, shards: vec![ShardId(1)] }]));
        bench
    }

    fn apply(&mut self, payload: &[u8]) {
        let point = LogPoint { term: 1, leader: ReplicaId(1), index: self.index };
        self.index += 1;
        self.shard.apply(point, payload).expect("applied");
    }

    /// One sample of every series at `timestamp_ms`.
    fn write(&mut self, timestamp_ms: i64) {
        for from in (0..SERIES).step_by(SERIES_OF_ENTRY as usize) {
            let (mut rows, mut region) = (RowsBuilder::default(), Vec::new());
            for n in from..from + SERIES_OF_ENTRY {
                let labels = labels(n);
                region.clear();
                labels.iter().for_each(|(name, value)| push_label(&mut region, name.as_bytes(), value.as_bytes()));
                rows.series(n - from, hash::fp128(&labels, KEY), hash::placement_hash(&labels, KEY), &region);
                rows.sample(Sample { timestamp_ms, value: f64::from(n) });
            }
            let rows = rows.finish();
            let mut builder = EntryBuilder::new(timestamp_ms + 1000, 1);
            let input = PartInput { batch_id: u128::from(self.index), generation: 1, origin: Origin::RemoteWrite, rows: &rows };
            builder.add_part(&self.shard, input).expect("well-formed rows");
            let payload = builder.finish();
            self.apply(&payload);
        }
    }
}

fn of_cpu<T>(c: &mut Criterion, name: &str, mut run: impl FnMut() -> T) {
    c.bench_function(name, |b| {
        b.iter_custom(|times| {
            let begun = cpu();
            (0..times).for_each(|_| drop(black_box(run())));
            cpu() - begun
        });
    });
}

fn look_ups(c: &mut Criterion, shard: &Arc<Shard>, place: &str, range: TimeRange) {
    let view = shard.read_view();
    let regex = |name: &str, pattern: &str| Matcher::new(name, MatchOp::Regex, pattern).expect("a pattern");
    let selectors = [
        (
            "equal",
            vec![
                Matcher::equal("__name__", "node_metric_7_total"),
                Matcher::equal("cluster", "production-us-east-1"),
                Matcher::equal("job", "node-exporter"),
            ],
        ),
        (
            "regex",
            vec![
                regex("__name__", "node_metric_(7|8)_total"),
                regex("instance", "10\\.0\\.1.*:9100"),
                Matcher::equal("job", "node-exporter"),
            ],
        ),
    ];
    for (kind, matchers) in selectors {
        assert!(view.matching(&matchers, range).expect("read") > 0);
        of_cpu(c, &format!("index/{place}/three_matchers_{kind}"), || view.matching(&matchers, range).expect("read"));
    }
    let values = |limit| view.label_values("pod", &[], range, limit).expect("read");
    assert_eq!(values(0).len(), PODS as usize);
    of_cpu(c, &format!("index/{place}/label_values_100000"), || values(0));
    of_cpu(c, &format!("index/{place}/label_values_limit_100"), || values(100));
    let metric = [Matcher::equal("__name__", "node_metric_7_total")];
    of_cpu(c, &format!("index/{place}/label_values_of_metric"), || view.label_values("pod", &metric, range, 0).expect("read"));
}

fn index(c: &mut Criterion) {
    let mut bench = Bench::new();
    let begun = cpu();
    bench.write(T0);
    eprintln!("{SERIES} new series applied in {:?}", cpu() - begun);
    let first_day = TimeRange { after_ms: T0 - 1, to_ms: T0 };
    look_ups(c, &bench.shard, "head", first_day);
    of_cpu(c, "index/head/cardinality", || bench.shard.cardinality(10, 3));
    // The next day's samples seal the chunks of the first; what parts list then leaves the head.
    bench.write(T0 + DAY_MS);
    bench.shard.checkpoint().expect("written");
    let index_bytes: u64 = bench.shard.store().view().parts().iter().filter(|part| !part.kind.has_samples()).map(|part| part.bytes).sum();
    eprintln!("index of a stored day: {:.2} bytes a series", index_bytes as f64 / f64::from(SERIES));
    look_ups(c, &bench.shard, "stored_day", first_day);
    look_ups(c, &bench.shard, "stored_day_and_head", TimeRange::ALL);
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(10);
    targets = index
}
criterion_main!(benches);
