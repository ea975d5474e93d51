//! One replica of one shard: applies its log, answers reads, writes checkpoints.
//!
//! ```text
//! apply (one caller) --> Replicated (mutex) --> Head (lock) --> Index (lock)
//! checkpoint (worker)    freezes all three, writes without them, flips the store, lets listed chunks go
//! readers                Head, then Index, in short read sections; parts through a view of the store
//! ```
//!
//! Locks are always taken in that order. The result of apply depends on the log alone (`core.md` C1): never on what a checkpoint
//! flushed, on which series left the head, or on a clock.

mod apply;
pub mod changes;
mod checkpoint;
mod compact;
mod damage;
mod delete;
mod digest;
mod fence;
mod flush;
mod integrity;
pub(crate) mod judge;
mod repair;
mod stored;
#[cfg(test)]
mod tests;
mod told;
mod write;

pub use apply::ApplyError;
pub use changes::Changes;
pub use checkpoint::CheckpointReason;
pub use damage::drop_damaged_file;
pub use delete::TOMBSTONES_MAX;
pub use digest::DigestCheck;
pub use fence::{FenceState, MapState};
pub use integrity::{ScrubPlace, Scrubbed};
pub use repair::{DayRepair, RepairSeries};

use crate::config::ShardConfig;
use crate::error::StoreError;
use crate::head::Head;
use crate::postings::Index;
use crate::state::{Replicated, Tombstones};
use crate::store::ShardStore;
use crate::view::TimeRange;
use bytes::Bytes;
use model::{Generation, LogPoint, ShardId, Timestamp};
use parking_lot::{Mutex, RwLock};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use told::Told;

/// Time between two entries that let idle series leave the head.
const EVICT_EVERY_MS: i64 = 10 * 60_000;

/// One replica of one shard.
#[derive(Debug)]
pub struct Shard {
    pub(crate) id: ShardId,
    pub(crate) config: ShardConfig,
    store: RwLock<ShardStore>,
    /// How often the data was replaced as a whole.
    pub(crate) incarnation: AtomicU64,
    pub(crate) replicated: Mutex<Replicated>,
    /// What of it others ask for.
    told: Told,
    /// When which time was written; a lock of its own, never held with another.
    changes: Mutex<Changes>,
    pub(crate) head: RwLock<Head>,
    pub(crate) index: RwLock<Index>,
    /// Taken to open a view and to flip a checkpoint, so that a view sees the manifest before or after it.
    pub(crate) views: Mutex<Views>,
    since_checkpoint: Mutex<SinceCheckpoint>,
    /// Chunks that parts list by now, waiting for readers with older views. Taken before `head`.
    listed: Mutex<Vec<checkpoint::Listed>>,
    checkpointing: Mutex<()>,
    /// What the log says of days that are over; follows the log, but is no part of the state.
    digests: Mutex<digest::Digests>,
    /// Entry time of the last `EvictIdle`, for the leader that proposes the next.
    last_evict_ms: AtomicI64,
    /// Set when apply stopped half-way through an entry: nothing may be made durable from then on.
    halted: AtomicBool,
}

/// The views that readers hold, by the number of checkpoints flipped before each was opened.
#[derive(Debug, Default)]
pub(crate) struct Views {
    pub(crate) flips: u64,
    held: BTreeMap<u64, u32>,
}

impl Views {
    pub(crate) fn hold(&mut self) -> u64 {
        *self.held.entry(self.flips).or_default() += 1;
        self.flips
    }

    pub(crate) fn release(&mut self, flips: u64) {
        if let Some(count) = self.held.get_mut(&flips) {
            *count -= 1;
            if *count == 0 {
                self.held.remove(&flips);
            }
        }
    }

    /// Whether every view that is held was opened after flip number `flip`.
    fn all_opened_since(&self, flip: u64) -> bool {
        self.held.keys().next().is_none_or(|oldest| *oldest >= flip)
    }
}

/// What a replay would have to do, at least.
#[derive(Clone, Copy, Debug, Default)]
struct SinceCheckpoint {
    log_bytes: u64,
    samples: u64,
    entries: u64,
    /// Samples accepted and series sealed: what a checkpoint would save beside log that says nothing.
    changes: u64,
    /// Entry time of the checkpoint.
    time_ms: Timestamp,
}

impl Shard {
    /// Opens a shard on what its last checkpoint holds; the log is to be replayed from there.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn open(store: ShardStore, config: ShardConfig) -> Result<Arc<Self>, StoreError> {
        let shard = Self {
            id: store.identity().shard,
            config,
            store: RwLock::new(store.clone()),
            incarnation: AtomicU64::new(0),
            replicated: Mutex::default(),
            told: Told::default(),
            changes: Mutex::default(),
            head: RwLock::default(),
            index: RwLock::default(),
            views: Mutex::default(),
            since_checkpoint: Mutex::default(),
            listed: Mutex::default(),
            checkpointing: Mutex::default(),
            digests: Mutex::default(),
            last_evict_ms: AtomicI64::new(0),
            halted: AtomicBool::new(false),
        };
        shard.reload(store)?;
        Ok(Arc::new(shard))
    }

    /// Takes over what `store` holds, after a snapshot was installed. Views opened before end with [`crate::view::ReadError::Replaced`].
    ///
    /// # Errors
    /// The store cannot be read; the shard stays as it was.
    pub fn reload(&self, store: ShardStore) -> Result<(), StoreError> {
        let _alone = self.checkpointing.lock();
        let (replicated, head, index) = stored::restore(&store)?;
        let mut state = self.replicated.lock();
        self.listed.lock().clear();
        let (mut live_head, mut live_index) = (self.head.write(), self.index.write());
        *self.since_checkpoint.lock() = SinceCheckpoint { time_ms: replicated.time_ms, ..SinceCheckpoint::default() };
        *self.store.write() = store;
        (*state, *live_head, *live_index) = (replicated, head, index);
        self.told.all(&state);
        *self.changes.lock() = Changes::since(state.applied.map_or(0, |point| point.index));
        self.incarnation.fetch_add(1, Ordering::SeqCst);
        self.halted.store(false, Ordering::SeqCst);
        Ok(())
    }

    /// The shard's data on disk: to send its last checkpoint to another replica, or to receive one and then [`Shard::reload`] it.
    #[must_use]
    pub fn store(&self) -> ShardStore {
        self.store.read().clone()
    }

    /// Whether the shard has its first map: before, it judges nothing.
    #[must_use]
    pub fn has_map(&self) -> bool {
        !self.generations().is_empty()
    }

    /// What was written into `range`, and when. Everything is known of entries that were applied before the call.
    #[must_use]
    pub fn changes(&self, range: TimeRange) -> Changes {
        self.changes.lock().within(range)
    }

    /// The cluster-wide number.
    #[must_use]
    pub fn id(&self) -> ShardId {
        self.id
    }

    /// The last entry applied.
    #[must_use]
    pub fn applied(&self) -> Option<LogPoint> {
        self.replicated.lock().applied
    }

    /// The bytes that the last [`Shard::set_extra`] kept.
    #[must_use]
    pub fn extra(&self) -> Bytes {
        self.replicated.lock().extra.clone()
    }

    /// The newest sample that was ever accepted, whether it is still there or not. Waits for an entry that is being applied.
    #[must_use]
    pub fn newest_sample_ms(&self) -> Option<Timestamp> {
        self.replicated.lock().bounds.map(|(_, newest)| newest)
    }

    /// Samples ever accepted. Waits for an entry that is being applied.
    #[must_use]
    pub fn accepted_samples(&self) -> u64 {
        self.replicated.lock().samples
    }

    /// Series in memory: those with samples of late, and a few that wait to leave.
    #[must_use]
    pub fn series_in_head(&self) -> u64 {
        self.head.read().live()
    }

    /// Entry time: the latest time of the entries applied.
    #[must_use]
    pub fn time_ms(&self) -> Timestamp {
        self.told.time_ms()
    }

    /// Whether the leader should propose an `EvictIdle`: ten minutes after the last, while there is a series in the head.
    #[must_use]
    pub fn wants_evict_idle(&self, now_ms: Timestamp) -> bool {
        now_ms.saturating_sub(self.last_evict_ms.load(Ordering::SeqCst)) >= EVICT_EVERY_MS && self.head.read().live() > 0
    }

    /// The settings of judgement in force.
    #[must_use]
    pub fn limits(&self) -> crate::entry::Limits {
        self.told.limits()
    }

    /// Keeps of `metadata` what would change what the shard knows.
    pub(crate) fn retain_new_metadata(&self, metadata: &mut Vec<crate::metadata::FamilyMetadata<'_>>) {
        if !metadata.is_empty() {
            let known = self.told.known_families();
            metadata.retain(|family| !known.has(family));
        }
    }

    /// Hands over what is known about metric families, by name; only about one, if it is named.
    pub fn families(&self, only: Option<&str>, mut visit: impl FnMut(&str, &crate::metadata::Known)) {
        let known = self.told.known_families();
        match only {
            Some(family) => known.get(family).into_iter().for_each(|found| visit(family, found)),
            None => known.iter().for_each(|(family, found)| visit(family, found)),
        }
    }

    /// The generations the shard was told, by `from_ms`.
    #[must_use]
    pub fn generations(&self) -> Arc<[Generation]> {
        self.told.map().generations
    }

    /// Where the last checkpoint stands, with its extra bytes: what a restart begins from, and up to where the log may be purged.
    #[must_use]
    pub fn durable(&self) -> Option<(LogPoint, Bytes)> {
        let view = self.store().view();
        Some((view.point()?, Bytes::copy_from_slice(view.extra())))
    }

    /// What readers must not see: deletes, and everything before a time.
    pub(crate) fn hidden(&self) -> (Tombstones, Timestamp) {
        self.told.hidden()
    }

    pub(crate) fn log_bytes_since_checkpoint(&self) -> u64 {
        self.since_checkpoint.lock().log_bytes
    }

    pub(crate) fn with_head<R>(&self, read: impl FnOnce(&Head) -> R) -> R {
        read(&self.head.read())
    }
}
