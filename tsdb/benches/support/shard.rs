//! A shard in a folder of its own that takes one scrape after another.

use model::clock::{Clock, SystemClock};
use model::seal::Seal;
use model::{Generation, Labels, LogPoint, ReplicaId, Sample, ShardId, WorkspaceId, hash};
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;
use tsdb::entry::Origin;
use tsdb::rows::{RowsBuilder, push_label};
use tsdb::store::FaultPlan;
use tsdb::{Db, DbOptions, EntryBuilder, PartInput, Shard, ShardConfig, ShardIdentity, entry};

const KEY: u64 = 1;
/// Time of the first scrape.
pub(crate) const T0: i64 = 1_700_000_000_000;
/// Series of one target.
pub(crate) const METRICS: u32 = 1000;

/// The shard and what it was given so far.
pub(crate) struct Fed {
    _folder: tempfile::TempDir,
    pub(crate) shard: Arc<Shard>,
    index: u64,
    scrapes: i64,
    identities: Vec<(u128, u64, Vec<u8>)>,
}

fn identity(n: u32) -> (u128, u64, Vec<u8>) {
    let (metric, instance) = (format!("node_metric_{}_total", n % METRICS), format!("10.0.{}.17:9100", n / METRICS));
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

impl Fed {
    /// A shard that is told to take every sample.
    pub(crate) fn new(series: u32) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let options =
            DbOptions { path: folder.path().to_path_buf(), memory_bytes: 64 << 20, seal: Seal::identity(), faults: FaultPlan::default() };
        let db = Db::open(options).expect("a database");
        let identity_of_shard = ShardIdentity { shard: ShardId(1), replica: ReplicaId(1), workspace: WorkspaceId::new("default") };
        let store = db.create_shard(identity_of_shard).expect("a shard");
        let shard = Shard::open(store, ShardConfig::default()).expect("an open shard");
        let mut fed = Self { _folder: folder, shard, index: 0, scrapes: 0, identities: (0..series).map(identity).collect() };
        let list = [Generation { generation: 1, rev: 1, from_ms: i64::MIN, shards: vec![ShardId(1)] }];
        fed.apply(&entry::open(KEY, &list));
        fed
    }

    /// One scrape of every series, 15 s after the one before; targets differ by some milliseconds.
    pub(crate) fn rows(&mut self, value: impl Fn(usize, i64) -> f64) -> bytes::Bytes {
        self.scrapes += 1;
        let mut rows = RowsBuilder::default();
        for (n, (fp, placement, labels)) in self.identities.iter().enumerate() {
            let timestamp_ms = T0 + self.scrapes * 15_000 + (n / METRICS as usize) as i64 * 37;
            rows.series(n as u32, *fp, *placement, labels);
            rows.sample(Sample { timestamp_ms, value: value(n, self.scrapes) });
        }
        rows.finish()
    }

    /// The log entry that the leader makes of rows.
    pub(crate) fn resolve(&self, rows: &[u8]) -> bytes::Bytes {
        let mut builder = EntryBuilder::new(T0 + self.scrapes * 15_000 + 1000, 1);
        let input = PartInput { batch_id: self.scrapes as u128, generation: 1, origin: Origin::RemoteWrite, rows };
        builder.add_part(&self.shard, input).expect("well-formed rows");
        builder.finish()
    }

    pub(crate) fn apply(&mut self, payload: &[u8]) {
        let point = LogPoint { term: 1, leader: ReplicaId(1), index: self.index };
        self.index += 1;
        black_box(self.shard.apply(point, payload).expect("applied"));
    }

    /// Writes one scrape.
    pub(crate) fn write(&mut self, value: impl Fn(usize, i64) -> f64) {
        let rows = self.rows(value);
        let payload = self.resolve(&rows);
        self.apply(&payload);
    }
}

/// Time that `work` takes.
#[allow(dead_code, reason = "not every bench needs it")]
pub(crate) fn timed(work: impl FnOnce()) -> Duration {
    let clock = SystemClock::default();
    work();
    clock.monotonic()
}
