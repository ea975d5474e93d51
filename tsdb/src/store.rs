//! What one shard keeps on disk: parts, index segments, series records and the pages of its last checkpoint.
//!
//! **A part, a page or a series record exists only if the manifest lists it.** Files are ingested and records written first; then
//! one synced batch replaces the manifest together with the log point it stands for. So a crash leaves the old state or the new
//! one, and keys that no manifest lists, which the next open deletes.
//!
//! Whatever is listed never changes, and is deleted only when neither the current manifest nor one that a [`StoreView`] holds
//! lists it. A view therefore needs no RocksDB snapshot: its manifest pins what it reads, also against the deletion of whole
//! files, which RocksDB snapshots do not prevent.
//!
//! | module | does |
//! |---|---|
//! | [`manifest`] | days, parts, what a flip makes true |
//! | [`checkpoint`], [`part`] | writing: pages, parts, the flip |
//! | [`rewrite`] | making one part of several, without what was deleted |
//! | [`view`], `scan` | reading |
//! | `segment` | the index of a day |
//! | [`snapshot`] | sending a shard's data to another replica and installing it there |
//! | [`faults`] | where tests stop |

pub mod checkpoint;
mod dataset;
pub mod faults;
mod file;
mod group;
pub mod manifest;
mod pack;
pub mod part;
mod reclaim;
pub mod rewrite;
mod scan;
mod scrub;
mod segment;
mod series;
pub mod snapshot;
pub mod view;

pub use checkpoint::{CheckpointWriter, PAGE_BYTES_MAX};
pub(crate) use dataset::Dataset;
pub use faults::{FaultPlan, Step};
pub use manifest::{Day, Part, PartKind};
pub use part::{PartSeries, PartWriter};
pub use rewrite::RewritePlan;
pub use scan::StoredPage;
pub(crate) use segment::MatcherCache;
pub use series::SeriesRecord;
pub use snapshot::{ExportMeta, ShardExport, Staged, Staging};
pub use view::StoreView;

use crate::db::ShardIdentity;
use crate::error::StoreError;
use crate::keys::{Family, MetaKey, MetaTag};
use manifest::{Manifest, Pending};
use model::LogPoint;
use parking_lot::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

/// The data of one replica; clones share it.
#[derive(Clone, Debug)]
pub struct ShardStore(Arc<StoreInner>);

#[derive(Debug)]
pub(crate) struct StoreInner {
    dataset: Arc<Dataset>,
    state: Mutex<State>,
    retired: AtomicBool,
}

#[derive(Debug)]
struct State {
    current: Arc<Manifest>,
    /// Manifests that views may still hold.
    older: Vec<Weak<Manifest>>,
    /// Parts that are not listed but may have keys.
    unlisted: Vec<Part>,
    /// Generations that are not current but may have pages.
    stale_generations: Vec<u32>,
    next_part: u64,
    next_generation: u32,
    is_checkpointing: bool,
}

impl StoreInner {
    /// Makes every further write through this handle fail.
    pub(crate) fn retire(&self) {
        self.retired.store(true, Ordering::SeqCst);
    }

    fn ensure_live(&self) -> Result<(), StoreError> {
        if self.retired.load(Ordering::SeqCst) { Err(StoreError::Retired) } else { Ok(()) }
    }
}

impl ShardStore {
    pub(crate) fn from_inner(inner: Arc<StoreInner>) -> Self {
        Self(inner)
    }

    pub(crate) fn downgrade(&self) -> Weak<StoreInner> {
        Arc::downgrade(&self.0)
    }

    /// Reads the manifest and deletes what it does not list.
    pub(crate) fn load(dataset: Arc<Dataset>) -> Result<Self, StoreError> {
        let key = |tag| MetaKey { local: dataset.local, tag }.encode();
        let manifest = dataset.get(Family::Meta, &key(MetaTag::Manifest), Manifest::decode)?.unwrap_or_default();
        let pending = dataset.get(Family::Meta, &key(MetaTag::Pending), Pending::decode)?.unwrap_or_default();
        let unlisted: Vec<Part> = manifest.unlisted.iter().chain(&pending.parts).filter(|part| !manifest.lists(part.id)).copied().collect();
        let stale_generations = reclaim::stale_generations(&dataset, manifest.generation)?;
        let newest = stale_generations.last().copied().unwrap_or(0).max(manifest.generation);
        let state = State {
            older: Vec::new(),
            unlisted,
            next_part: manifest.next_part.max(pending.next_part),
            next_generation: newest + 1,
            stale_generations,
            is_checkpointing: false,
            current: Arc::new(manifest),
        };
        let store = Self(Arc::new(StoreInner { dataset, state: Mutex::new(state), retired: AtomicBool::new(false) }));
        store.reclaim()?;
        Ok(store)
    }

    /// Whose data it is.
    #[must_use]
    pub fn identity(&self) -> &ShardIdentity {
        &self.0.dataset.identity
    }

    /// Whether the handle refuses further writes: the data was replaced, or it is unknown what of it reached the disk.
    #[must_use]
    pub fn is_retired(&self) -> bool {
        self.0.ensure_live().is_err()
    }

    /// The log point whose state the last checkpoint holds.
    #[must_use]
    pub fn point(&self) -> Option<LogPoint> {
        self.0.state.lock().current.point
    }

    /// What is there now; it stays readable while the view lives.
    #[must_use]
    pub fn view(&self) -> StoreView {
        let manifest = Arc::clone(&self.0.state.lock().current);
        StoreView::new(Arc::clone(&self.0.dataset), manifest)
    }

    /// Begins a checkpoint.
    ///
    /// # Errors
    /// [`StoreError::CheckpointRunning`] while another one is being written, [`StoreError::Retired`] once the data was replaced.
    pub fn begin_checkpoint(&self) -> Result<CheckpointWriter<'_>, StoreError> {
        CheckpointWriter::begin(&self.0, PartKind::Flush)
    }

    /// Begins to send what is there now to another replica.
    #[must_use]
    pub fn export(&self) -> ShardExport {
        ShardExport::new(self.view())
    }

    /// Begins to receive another replica's data; this data stays in use until [`Staged::install`].
    ///
    /// # Errors
    /// The data was replaced meanwhile, or the write failed.
    pub fn stage(&self, meta: ExportMeta) -> Result<Staging, StoreError> {
        self.0.ensure_live()?;
        Staging::begin(&self.0.dataset, meta)
    }

    /// Deletes what is no longer listed and no view holds. Commits and opens call it; call it after dropping an old view.
    ///
    /// # Errors
    /// RocksDB failed; a later call tries again.
    pub fn reclaim(&self) -> Result<(), StoreError> {
        self.0.reclaim()
    }
}

#[cfg(test)]
pub(crate) use tests::damage_part;

#[cfg(test)]
mod tests;
