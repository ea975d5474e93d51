mod checkpoint;
mod damage;
mod index;
mod removal;
mod transfer;

use super::*;
use crate::chunk::{Decoded, PageCoder, PageInput, PageValues};
use crate::db::{Db, DbOptions};
use crate::keys::{ChunkKey, HeadKey};
use crate::rows::push_label;
use model::seal::Seal;
use model::{Labels, Matcher, ReplicaId, SeriesId, ShardId, WorkspaceId};
use roaring::RoaringBitmap;
use std::collections::{BTreeMap, BTreeSet};
use tempfile::TempDir;

pub(super) const DAY: Day = Day(19_000);
pub(super) const SHARD: ShardId = ShardId(77);
pub(super) const REPLICA: ReplicaId = ReplicaId(1024);

pub(super) fn identity() -> ShardIdentity {
    ShardIdentity { shard: SHARD, replica: REPLICA, workspace: WorkspaceId::new("default") }
}

/// A folder in which databases are opened again and again.
pub(super) struct Disk {
    folder: TempDir,
    pub(super) faults: FaultPlan,
}

impl Disk {
    pub(super) fn new() -> Self {
        Self { folder: TempDir::new().unwrap(), faults: FaultPlan::default() }
    }

    pub(super) fn open(&self) -> Db {
        let options =
            DbOptions { path: self.folder.path().into(), memory_bytes: 8 << 20, seal: Seal::identity(), faults: self.faults.clone() };
        Db::open(options).unwrap()
    }

    pub(super) fn ingest_files(&self) -> usize {
        std::fs::read_dir(self.folder.path().join("ingest")).unwrap().count()
    }
}

/// One series and the samples that a checkpoint flushes of it.
#[derive(Clone, Debug)]
pub(super) struct Flushed {
    pub(super) metric: u32,
    pub(super) sid: u32,
    pub(super) labels: Labels,
    pub(super) samples: Vec<(i64, f64)>,
    pub(super) log_index: u64,
}

impl Flushed {
    pub(super) fn new(metric: u32, sid: u32, samples: Vec<(i64, f64)>) -> Self {
        let labels = Labels::from_pairs([
            ("__name__", format!("metric_{metric}").as_str()),
            ("instance", format!("host-{sid}").as_str()),
            ("parity", if sid.is_multiple_of(2) { "even" } else { "odd" }),
        ]);
        Self { metric, sid, labels, samples, log_index: 1 }
    }

    pub(super) fn fp128(&self) -> u128 {
        model::hash::fp128(&self.labels, 7)
    }
}

/// `count` samples of a day, every 15 s from its `from`-th.
pub(super) fn samples(day: Day, from: usize, count: usize) -> Vec<(i64, f64)> {
    (from..from + count).map(|i| (day.first_ms() + i as i64 * 15_000, i as f64)).collect()
}

pub(super) fn put_part(writer: &mut CheckpointWriter<'_>, day: Day, series: &[Flushed]) -> Result<(), StoreError> {
    let mut part = writer.part(day)?;
    for flushed in series {
        let key = PartSeries { metric: flushed.metric, sid: SeriesId(flushed.sid), fp128: flushed.fp128(), placement: 5 };
        part.series(key, |out| flushed.labels.iter().for_each(|(n, v)| push_label(out, n.as_bytes(), v.as_bytes())))?;
        for piece in flushed.samples.chunks(120) {
            let (ts, values): (Vec<i64>, Vec<f64>) = piece.iter().copied().unzip();
            part.page(flushed.log_index, PageInput { times: &ts, values: PageValues::Floats(&values), starts: &[] })?;
        }
    }
    part.finish()
}

pub(super) fn point(index: u64) -> LogPoint {
    LogPoint { term: 3, leader: REPLICA, index }
}

/// Commits one checkpoint with a page that names it.
pub(super) fn checkpoint(store: &ShardStore, index: u64, series: &[Flushed]) -> Result<(), StoreError> {
    let mut writer = store.begin_checkpoint()?;
    writer.page(format!("first page of {index}").as_bytes())?;
    writer.page(&vec![b'x'; PAGE_BYTES_MAX])?;
    put_part(&mut writer, DAY, series)?;
    writer.commit(point(index), format!("extra {index}").as_bytes())
}

/// Everything that a view answers, to be compared as a whole.
#[derive(Debug, PartialEq)]
pub(super) struct Seen {
    pub(super) index: Option<u64>,
    pub(super) extra: Vec<u8>,
    pub(super) pages: Vec<Vec<u8>>,
    pub(super) series: BTreeMap<u32, (Labels, Vec<(i64, u64)>)>,
}

pub(super) fn read(view: &StoreView) -> Seen {
    let mut pages = Vec::new();
    view.pages(|page| -> Result<(), StoreError> {
        pages.push(page.to_vec());
        Ok(())
    })
    .unwrap();
    let mut series = BTreeMap::new();
    for sid in view.select(&[], i64::MIN, i64::MAX).unwrap() {
        let record = view.series(SeriesId(sid)).unwrap().unwrap();
        assert_eq!(view.find_by_fp128(record.fp128).unwrap(), Some(SeriesId(sid)));
        series.insert(sid, (record.labels, samples_of(view, sid, record.metric)));
    }
    Seen { index: view.point().map(|p| p.index), extra: view.extra().to_vec(), pages, series }
}

pub(super) fn samples_of(view: &StoreView, sid: u32, metric: u32) -> Vec<(i64, u64)> {
    let mut found = BTreeMap::new();
    let mut coder = PageCoder::default();
    view.pages_of(SeriesId(sid), metric, i64::MIN, i64::MAX, |page| {
        let (mut ts, mut out) = (Vec::new(), Decoded::default());
        coder.decode_times(page.times, page.count, &mut ts).unwrap();
        coder.decode_values(page.values, page.count, &mut out).unwrap();
        for (t, v) in ts.into_iter().zip(out.values) {
            let sample = found.entry(t).or_insert((page.log_index, v.to_bits()));
            if page.log_index < sample.0 {
                *sample = (page.log_index, v.to_bits());
            }
        }
    })
    .unwrap();
    found.into_iter().map(|(t, (_, bits))| (t, bits)).collect()
}

/// Numbers of the parts and generations that have keys, listed or not, of all shards.
pub(super) fn stored(store: &ShardStore) -> (BTreeSet<u64>, BTreeSet<u32>) {
    let (mut parts, mut generations) = (BTreeSet::new(), BTreeSet::new());
    for family in [Family::Chunk, Family::Index, Family::Head] {
        let mut iterator = store.0.dataset.iterate(family, &[], true);
        iterator.seek_to_first();
        while let Some(key) = iterator.key() {
            if family == Family::Head {
                generations.insert(HeadKey::decode(key).unwrap().generation);
            } else {
                parts.insert(ChunkKey::decode(key).unwrap().part);
            }
            iterator.next();
        }
    }
    (parts, generations)
}

pub(super) fn listed(store: &ShardStore) -> BTreeSet<u64> {
    store.view().parts().iter().map(|part| part.id).collect()
}

pub(super) fn sids(bitmap: &RoaringBitmap) -> Vec<u32> {
    bitmap.iter().collect()
}
