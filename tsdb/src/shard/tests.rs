//! Rules of the replicated core, on real stores in temporary folders.
#![allow(clippy::disallowed_methods, reason = "tests have real threads")]

mod blocks;
mod churn;
mod crash;
mod full;
mod labels;
mod life;
mod memory;
mod records;
mod rules;
mod shared;
mod values;

use super::*;
use crate::db::{Db, DbOptions, ShardIdentity};
use crate::entry::{self, Limits, Origin};
use crate::resolve::{EntryBuilder, PartInput};
use crate::rows::{RowsBuilder, push_label};
use crate::store::FaultPlan;
use crate::verdict::{ApplyResponse, PartVerdict};
use crate::view::TimeRange;
use model::seal::Seal;
use model::{Labels, Matcher, ReplicaId, Sample, WorkspaceId, hash};
use std::collections::BTreeMap;
use std::ops::ControlFlow;

pub(super) const SHARD: ShardId = ShardId(7);
pub(super) const KEY: u64 = 0x5eed;
pub(super) const HOUR: i64 = 3_600_000;
/// A moment that is neither near the epoch nor at a day's edge.
pub(super) const T0: i64 = 1_700_000_000_000;

/// A replica in a folder, with the log it was given.
pub(super) struct Replica {
    pub(super) folder: tempfile::TempDir,
    pub(super) faults: FaultPlan,
    pub(super) shard: Arc<Shard>,
    db: Db,
    pub(super) log: Vec<Bytes>,
}

pub(super) fn config() -> ShardConfig {
    ShardConfig::default()
}

pub(super) fn options(folder: &std::path::Path, faults: &FaultPlan) -> DbOptions {
    DbOptions { path: folder.to_path_buf(), memory_bytes: 16 << 20, seal: Seal::identity(), faults: faults.clone() }
}

pub(super) fn point(index: u64) -> LogPoint {
    LogPoint { term: 1, leader: ReplicaId(1), index }
}

pub(super) fn one_generation() -> Bytes {
    entry::open(KEY, &[Generation { generation: 1, rev: 1, from_ms: i64::MIN, shards: vec![SHARD] }])
}

impl Replica {
    /// An empty replica that knows no generation.
    pub(super) fn blank() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let faults = FaultPlan::default();
        let db = Db::open(options(folder.path(), &faults)).unwrap();
        let identity = ShardIdentity { shard: SHARD, replica: ReplicaId(1), workspace: WorkspaceId::new("default") };
        let shard = Shard::open(db.create_shard(identity).unwrap(), config()).unwrap();
        Self { folder, faults, shard, db, log: Vec::new() }
    }

    /// A replica that was told its generation and the time.
    pub(super) fn new() -> Self {
        let mut replica = Self::blank();
        replica.apply(one_generation());
        replica.apply(entry::tick(T0));
        replica
    }

    pub(super) fn apply(&mut self, payload: Bytes) -> Bytes {
        let response = self.shard.apply(point(self.log.len() as u64), &payload).unwrap();
        self.log.push(payload);
        response
    }

    pub(super) fn write(&mut self, time_ms: i64, batch_id: u128, rows: &[(Labels, i64, f64)]) -> PartVerdict {
        let payload = self.entry(time_ms, batch_id, rows);
        ApplyResponse::decode(&self.apply(payload)).unwrap().parts.remove(0)
    }

    /// Writes rows that are encoded already.
    pub(super) fn write_rows(&mut self, time_ms: i64, batch_id: u128, rows: &[u8]) -> PartVerdict {
        let payload = self.entry_of(time_ms, batch_id, rows);
        ApplyResponse::decode(&self.apply(payload)).unwrap().parts.remove(0)
    }

    pub(super) fn entry(&self, time_ms: i64, batch_id: u128, rows: &[(Labels, i64, f64)]) -> Bytes {
        self.entry_of(time_ms, batch_id, &encode_rows(rows))
    }

    pub(super) fn entry_of(&self, time_ms: i64, batch_id: u128, rows: &[u8]) -> Bytes {
        let mut builder = EntryBuilder::new(time_ms, 1);
        builder.add_part(&self.shard, PartInput { batch_id, generation: 1, origin: Origin::RemoteWrite, rows }).unwrap();
        builder.finish()
    }

    /// Ends as a killed process would and begins anew from the disk, replaying what the checkpoint does not hold.
    pub(super) fn restart(self) -> Self {
        let Self { folder, faults, shard, db, log } = self;
        drop((shard, db));
        faults.clear();
        let db = Db::open(options(folder.path(), &faults)).unwrap();
        let shard = Shard::open(db.open_shard(SHARD, ReplicaId(1)).unwrap(), config()).unwrap();
        let replayed = Self { folder, faults, shard, db, log };
        let from = replayed.shard.durable().map_or(0, |(point, _)| point.index + 1);
        for (index, payload) in replayed.log.iter().enumerate().skip(from as usize) {
            replayed.shard.apply(point(index as u64), payload).unwrap();
        }
        replayed
    }

    /// Another replica that applied the same log and never wrote a checkpoint.
    pub(super) fn full_replay(&self) -> Self {
        let mut other = Self::blank();
        for payload in &self.log {
            other.apply(payload.clone());
        }
        other
    }

    pub(super) fn contents(&self, matchers: &[Matcher]) -> BTreeMap<String, Vec<(i64, u64)>> {
        contents_of(&self.shard.read_view(), matchers, TimeRange::ALL)
    }
}

pub(super) fn contents_of(view: &crate::view::ReadView, matchers: &[Matcher], range: TimeRange) -> BTreeMap<String, Vec<(i64, u64)>> {
    let mut found = BTreeMap::new();
    view.select(matchers, range, |series| {
        let samples = series.timestamps.iter().copied().zip(series.values.iter().map(|v| v.to_bits())).collect();
        assert!(found.insert(series.labels.to_string(), samples).is_none(), "{} comes once", series.labels);
        ControlFlow::Continue(())
    })
    .unwrap();
    found
}

/// Asserts that a read of the newest samples ends each series, labels, start and all, as a read of everything does.
pub(super) fn assert_newest(view: &crate::view::ReadView, matchers: &[Matcher], range: TimeRange) {
    let end_of = |series: crate::view::SelectedSeries<'_>| {
        let float = series.timestamps.last().zip(series.values.last());
        let (float, histogram) = (float.map(|(t, v)| (*t, v.to_bits())), series.histograms.last());
        let of_float = float.filter(|(t, _)| histogram.is_none_or(|h| h.timestamp_ms < *t));
        let of_histogram = histogram.filter(|_| of_float.is_none()).map(|h| format!("{h:?}"));
        let start = of_float.and(series.start_timestamps.last().copied()).unwrap_or(0);
        (series.sid, series.labels.to_string(), of_float, start, of_histogram)
    };
    let (mut all, mut newest) = (Vec::new(), Vec::new());
    let all_read = view.select(matchers, range, |series| {
        all.push(end_of(series));
        ControlFlow::Continue(())
    });
    let newest_read = view.select_newest(matchers, range, |series| {
        newest.push(end_of(series));
        ControlFlow::Continue(())
    });
    assert!(all_read.is_ok() && newest_read.is_ok());
    assert_eq!(newest, all);
}

/// Everything that is not a float in the columns: histograms by series, exemplars, metadata.
pub(super) fn others_of(shard: &Arc<Shard>) -> Vec<String> {
    let mut found = Vec::new();
    let view = shard.read_view();
    view.select(&[], TimeRange::ALL, |series| {
        assert!(series.start_timestamps.is_empty() || series.start_timestamps.len() == series.timestamps.len());
        found.push(format!("{} {:?} {:?}", series.labels, series.start_timestamps, series.histograms));
        ControlFlow::Continue(())
    })
    .unwrap();
    let all = [Vec::new()];
    view.exemplars(&all, TimeRange::ALL, |labels, exemplars| found.push(format!("{labels} {exemplars:?}"))).unwrap();
    shard.families(None, |family, known| found.push(format!("{family} {known:?}")));
    found
}

pub(super) fn encode_rows(rows: &[(Labels, i64, f64)]) -> Bytes {
    let mut builder = RowsBuilder::default();
    for (ordinal, (labels, timestamp_ms, value)) in rows.iter().enumerate() {
        begin_row(&mut builder, ordinal as u32, labels);
        builder.sample(Sample { timestamp_ms: *timestamp_ms, value: *value });
    }
    builder.finish()
}

/// Begins the row of one series.
pub(super) fn begin_row(builder: &mut RowsBuilder, ordinal: u32, labels: &Labels) {
    let mut region = Vec::new();
    labels.iter().for_each(|(name, value)| push_label(&mut region, name.as_bytes(), value.as_bytes()));
    builder.series(ordinal, hash::fp128(labels, KEY), hash::placement_hash(labels, KEY), &region);
}

pub(super) fn series(n: u32) -> Labels {
    Labels::from_pairs([("__name__", ["up", "http_requests_total", "go_goroutines"][n as usize % 3]), ("instance", &format!("host-{n}"))])
}

pub(super) fn limits(version: u64, out_of_order_window_ms: i64, late_window_ms: i64) -> Bytes {
    entry::set_limits(&Limits { version, out_of_order_window_ms, late_window_ms, ..Limits::default() })
}
