//! Getting rid of files that RocksDB cannot read: what lies in them is quarantined, the file goes unread, and another replica brings back
//! the samples (see `repair`).

use super::Shard;
use crate::db::{DamagedFile, Db};
use crate::error::StoreError;
use crate::store::Day;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

impl Shard {
    /// Finds out which files the quarantined parts of a day cannot be read from; [`Db::damaged_files`] tells them afterwards. Reads
    /// these parts as far as they can be read.
    ///
    /// # Errors
    /// [`StoreError::Cancelled`] once `stop` is set.
    pub fn find_damaged_files(&self, day: Day, stop: &AtomicBool) -> Result<(), StoreError> {
        let view = self.store().view();
        for part in view.quarantined().filter(|part| part.day == day) {
            match view.verify_part(part, stop) {
                Err(error @ StoreError::Cancelled) => return Err(error),
                Err(error) => self.store().note_damage(&error),
                Ok(()) => {}
            }
        }
        Ok(())
    }

    /// Whether listed parts of this shard may lie in a file.
    #[must_use]
    pub fn has_parts_in(&self, file: &DamagedFile) -> bool {
        self.store().lists_in(file)
    }
}

/// Quarantines all parts that may have keys in a damaged file, durably, then drops it; tells whether it is gone. It is not as long as
/// readers, senders or receivers hold what lies in it, or if RocksDB has not moved it behind its newest files yet: ask again later.
///
/// `shards` are all shards of the database that are open. What else they hold in the file is lost with it: the caller sees to it that each
/// shard with samples there has another replica. Blocks on checkpoints of all shards.
///
/// # Errors
/// The store cannot be written.
pub fn drop_damaged_file(db: &Db, file: &DamagedFile, shards: &[Arc<Shard>]) -> Result<bool, StoreError> {
    let mut shards: Vec<&Arc<Shard>> = shards.iter().collect();
    shards.sort_by_key(|shard| shard.id);
    shards.dedup_by_key(|shard| shard.id);
    // No part is written while the file goes: it might lie within its keys.
    let _alone: Vec<_> = shards.iter().map(|shard| shard.checkpointing.lock()).collect();
    let mut quarantined = BTreeSet::new();
    for shard in shards {
        let store = shard.store();
        store.quarantine_in(file)?;
        if store.is_held_in(file) {
            return Ok(false);
        }
        quarantined.insert(store.local());
    }
    db.drop_damaged(file, &quarantined)
}
