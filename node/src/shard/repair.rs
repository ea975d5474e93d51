//! Fetches a damaged day of a replica from another one.

use super::LocalShard;
use crate::node::Node;
use crate::query::fragment_service::{Found, KnownMap, ReadError, ReadKind, ReadSpec, ready};
use crate::query::scatter::read_from;
use crate::task;
use model::{Labels, StoreId, Timestamp};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tsdb::chunk::Samples;
use tsdb::error::StoreError;
use tsdb::record::{Record, Value};
use tsdb::shard::{DayRepair, RepairSeries, drop_damaged_file};
use tsdb::store::Day;

/// Span of time that one request asks for: the other node holds its answer in memory.
const WINDOW_MS: i64 = 10 * 60_000;
/// Samples that are gathered, 16 bytes each, before they become a part.
const PIECE_SAMPLES: usize = 4 << 20;
/// Time for one request.
const REQUEST: Duration = Duration::from_secs(60);

/// Why a day is still damaged.
#[derive(Debug, thiserror::Error)]
pub enum RepairError {
    /// There is no other replica.
    #[error("no other replica holds the shard")]
    Alone,
    /// The other replica, or this one's leader, did not answer.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// What came cannot be stored.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The work was aborted.
    #[error("the repair was aborted: {0}")]
    Aborted(#[from] tokio::task::JoinError),
}

/// Stores of the other replicas of a shard.
fn others(node: &Node, local: &LocalShard) -> Vec<StoreId> {
    match node.meta.get().shards.get(&local.id.0) {
        Some(record) => record.voting_stores().filter(|store| *store != node.store_id()).collect(),
        None => Vec::new(),
    }
}

/// Drops the files that the damaged parts of a day cannot be read from, with what else lies in them, if another replica of each shard
/// concerned answers; tells whether the way is free for the repair. Files that only readers still hold go in a later call.
///
/// # Errors
/// See [`RepairError`].
pub async fn drop_damaged_files(node: &Arc<Node>, local: &Arc<LocalShard>, day: Day) -> Result<bool, RepairError> {
    let (shard, stop) = (Arc::clone(&local.shard), Arc::clone(node));
    task::blocking(move || shard.find_damaged_files(day, &stop.draining)).await??;
    let mut is_free = true;
    for file in node.db.damaged_files()? {
        let concerned = node.shards.all().into_iter().filter(|local| file.has_samples() && local.shard.has_parts_in(&file));
        let mut is_elsewhere = true;
        for local in concerned {
            is_elsewhere &= answers_elsewhere(node, &local, day).await;
        }
        if !is_elsewhere {
            tracing::error!(file = file.name, "a damaged file stays: no other replica answers for what can be read of it");
            continue;
        }
        let (db, shards) = (node.db.clone(), node.shards.all().iter().map(|local| Arc::clone(&local.shard)).collect::<Vec<_>>());
        let dropping = file.clone();
        let is_gone = task::blocking(move || drop_damaged_file(&db, &dropping, &shards)).await??;
        tracing::warn!(file = file.name, is_gone, "a damaged file is dropped, and comes back from other replicas");
        is_free &= is_gone;
    }
    Ok(is_free)
}

/// Whether another replica reads a day.
async fn answers_elsewhere(node: &Arc<Node>, local: &Arc<LocalShard>, day: Day) -> bool {
    let spec = ReadSpec { known_revision: u64::MAX, ..ReadSpec::new(ReadKind::LabelNames, day.first_ms(), day.last_ms()) };
    for store in others(node, local) {
        if read_from(node, local.workspace.as_str(), local.id, store, &spec, Instant::now() + REQUEST).await.is_ok() {
            return true;
        }
    }
    false
}

/// Replaces the damaged parts of a day by what another replica holds; tries one after another.
///
/// # Errors
/// The last replica's; see [`RepairError`].
pub async fn day(node: &Arc<Node>, local: &Arc<LocalShard>, day: Day) -> Result<(), RepairError> {
    let stores = others(node, local);
    let mut outcome = Err(RepairError::Alone);
    for store in stores {
        outcome = from_store(node, local, day, store).await;
        if outcome.is_ok() {
            break;
        }
    }
    outcome
}

async fn from_store(node: &Arc<Node>, local: &Arc<LocalShard>, day: Day, store: StoreId) -> Result<(), RepairError> {
    let shard = Arc::clone(&local.shard);
    let Some(repair) = task::blocking(move || shard.begin_repair(day)).await? else { return Ok(()) };
    let mut piece = Piece::default();
    let mut from_ms = day.first_ms();
    while from_ms <= day.last_ms() {
        let to_ms = (from_ms + WINDOW_MS - 1).min(day.last_ms());
        piece.fetch(node, local, store, from_ms, to_ms).await?;
        if piece.samples >= PIECE_SAMPLES {
            std::mem::take(&mut piece).store(node, local, &repair).await?;
        }
        from_ms = to_ms + 1;
    }
    piece.store(node, local, &repair).await?;
    let shard = Arc::clone(&local.shard);
    task::blocking(move || shard.finish_repair(&repair)).await??;
    Ok(())
}

/// A part of a day on its way from another replica.
#[derive(Debug, Default)]
struct Piece {
    series: BTreeMap<Labels, Samples>,
    samples: usize,
}

impl Piece {
    /// Adds what the replica of `store` holds from `from_ms` to `to_ms`, both included; windows come in the order of time.
    async fn fetch(
        &mut self,
        node: &Node,
        local: &LocalShard,
        store: StoreId,
        from_ms: Timestamp,
        to_ms: Timestamp,
    ) -> Result<(), ReadError> {
        let every_sample = ReadKind::Samples { samples_max: u64::MAX };
        let spec = ReadSpec { known_revision: u64::MAX, ..ReadSpec::new(every_sample, from_ms - 1, to_ms) };
        let found = read_from(node, local.workspace.as_str(), local.id, store, &spec, Instant::now() + REQUEST).await?;
        let Found::Samples(found) = found else { return Ok(()) };
        for series in found {
            self.samples += series.len();
            let samples = self.series.entry(series.labels.clone()).or_default();
            for (at, (t, value)) in series.timestamps.iter().zip(&series.values).enumerate() {
                match series.start_ms(at) {
                    0 => {
                        samples.ts.push(*t);
                        samples.values.push(*value);
                    }
                    start_ms => samples.records.push(Record { timestamp_ms: *t, start_ms, value: Value::Float(*value) }),
                }
            }
            samples.records.extend(series.histograms.iter().map(|h| Record {
                timestamp_ms: h.timestamp_ms,
                start_ms: h.start_ms,
                value: Value::Histogram(Arc::clone(&h.histogram)),
            }));
        }
        Ok(())
    }

    /// Makes a part of it, once this replica has applied everything that it may hold.
    async fn store(self, node: &Node, local: &LocalShard, repair: &DayRepair) -> Result<(), RepairError> {
        ready(node, local, KnownMap::ANY, Instant::now() + REQUEST).await?;
        let series = self.series.into_iter().map(|(labels, samples)| RepairSeries { labels, samples }).collect();
        let (shard, repair) = (Arc::clone(&local.shard), repair.clone());
        Ok(task::blocking(move || shard.add_repaired(&repair, series)).await??)
    }
}
