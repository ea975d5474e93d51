//! Places at which a test stops a checkpoint, an install or a removal, to reopen the database from there.

use crate::error::StoreError;
use parking_lot::Mutex;
use std::sync::Arc;

/// A step after which everything may be over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// All pages of a checkpoint are handed over.
    Pages,
    /// The files of all parts are written and synced, not yet part of the database.
    PartFiles,
    /// The files are part of the database.
    Ingest,
    /// Everything but the manifest is there.
    BeforeFlip,
    /// The manifest is durable.
    Flip,
    /// What the new manifest no longer lists is gone.
    Cleanup,
    /// A transferred copy has its local number.
    StageBegin,
    /// A transferred copy is part of the database, and durable.
    Staged,
    /// The transferred copy is about to replace the old one.
    BeforeInstall,
    /// The transferred copy has replaced the old one.
    Install,
    /// A replica is marked for removal.
    Doom,
    /// The ranges of a removed replica are gone, its mark is not.
    DoomedRanges,
}

impl Step {
    /// The steps of a checkpoint, in order.
    pub const CHECKPOINT: [Self; 6] = [Self::Pages, Self::PartFiles, Self::Ingest, Self::BeforeFlip, Self::Flip, Self::Cleanup];
    /// The steps of a transfer, in order.
    pub const TRANSFER: [Self; 6] = [Self::StageBegin, Self::Staged, Self::BeforeInstall, Self::Install, Self::Doom, Self::DoomedRanges];
}

/// Where to stop; by default nowhere. Clones share the plan, so a test can set it while the database is open.
#[derive(Clone, Debug, Default)]
pub struct FaultPlan(Arc<Mutex<Option<Step>>>);

impl FaultPlan {
    /// Makes the next arrival at `step` fail with [`StoreError::Stopped`], leaving everything as a crash would.
    pub fn stop_after(&self, step: Step) {
        *self.0.lock() = Some(step);
    }

    /// Stops nowhere any more.
    pub fn clear(&self) {
        *self.0.lock() = None;
    }

    pub(crate) fn reached(&self, step: Step) -> Result<(), StoreError> {
        if *self.0.lock() == Some(step) { Err(StoreError::Stopped(step)) } else { Ok(()) }
    }

    /// Whether a stop is planned; files are then left as a crash leaves them.
    pub(crate) fn is_armed(&self) -> bool {
        self.0.lock().is_some()
    }
}
