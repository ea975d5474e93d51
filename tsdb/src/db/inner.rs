//! The open database as the shards' data sees it.

use super::damage::DamagedFiles;
use super::options::{FamilyOptions, synced};
use crate::error::{Corruption, StoreError};
use crate::keys::Family;
use crate::store::{FaultPlan, MatcherCache};
use model::seal::{Seal, SealClass, SealContext};
use model::{ShardId, WorkspaceId};
use rocksdb::{
    ColumnFamily, DB, DBPinnableSlice, DBRawIterator, FlushOptions, IngestExternalFileOptions, Options, ReadOptions, WriteBatch,
};
use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Written bytes from which a checkpoint has the memtables flushed. Its write-ahead log takes up to four times the bytes that its files
/// do, and a start reads it before anything else; below this, more and smaller files would cost more than they save.
const FLUSH_BYTES: u64 = 512 << 10;

/// RocksDB, the sealer and the folder for files on their way in.
pub(crate) struct Engine {
    pub(super) rocks: DB,
    pub(crate) seal: Seal,
    pub(crate) faults: FaultPlan,
    pub(super) options: FamilyOptions,
    pub(super) ingest_folder: PathBuf,
    pub(super) files: AtomicU64,
    /// Bytes written since memtables were flushed last.
    pub(super) unflushed: AtomicU64,
    pub(super) damaged: DamagedFiles,
    pub(super) matchers: MatcherCache,
}

impl Engine {
    pub(super) fn handle(&self, family: Family) -> &ColumnFamily {
        self.rocks.cf_handle(family.name()).expect("every family was created at open")
    }

    /// What matchers found in index segments lately.
    pub(crate) fn matchers(&self) -> &MatcherCache {
        &self.matchers
    }

    pub(crate) fn file_options(&self, family: Family) -> &Options {
        self.options.of(family)
    }

    /// A path that nothing uses, for a file to be ingested.
    pub(crate) fn new_file(&self) -> PathBuf {
        self.ingest_folder.join(format!("{}.sst", self.files.fetch_add(1, Ordering::Relaxed)))
    }

    /// Moves finished files into `family`; durable when it returns.
    pub(crate) fn ingest(&self, family: Family, files: Vec<PathBuf>) -> Result<(), StoreError> {
        if files.is_empty() {
            return Ok(());
        }
        let mut options = IngestExternalFileOptions::default();
        options.set_move_files(true);
        Ok(self.rocks.ingest_external_file_cf_opts(self.handle(family), &options, files)?)
    }

    pub(crate) fn seal(&self, family: Family, owner: Owner<'_>, portable: &[u8], value: &[u8]) -> Result<Vec<u8>, StoreError> {
        let mut sealed = Vec::new();
        self.seal.seal(owner.context(family, portable), value, &mut sealed)?;
        Ok(sealed)
    }

    pub(crate) fn open<'v>(
        &self,
        family: Family,
        owner: Owner<'_>,
        portable: &[u8],
        sealed: &'v [u8],
    ) -> Result<Cow<'v, [u8]>, StoreError> {
        self.seal.open(owner.context(family, portable), sealed).map_err(|source| StoreError::Sealed {
            family: family.name(),
            key: portable.to_vec(),
            source,
        })
    }

    pub(crate) fn get(&self, family: Family, key: &[u8]) -> Result<Option<DBPinnableSlice<'_>>, StoreError> {
        Ok(self.rocks.get_pinned_cf(self.handle(family), key)?)
    }

    /// An iterator over the keys that begin with `prefix`; long scans leave the cache alone.
    pub(crate) fn iterate(&self, family: Family, prefix: &[u8], fill_cache: bool) -> DBRawIterator<'_> {
        let mut options = ReadOptions::default();
        options.fill_cache(fill_cache);
        options.set_iterate_lower_bound(prefix.to_vec());
        if let Some(after) = after_prefix(prefix) {
            options.set_iterate_upper_bound(after);
        }
        self.rocks.raw_iterator_cf_opt(self.handle(family), options)
    }

    pub(crate) fn put(&self, batch: &mut WriteBatch, family: Family, key: &[u8], sealed: &[u8]) {
        batch.put_cf(self.handle(family), key, sealed);
    }

    pub(crate) fn delete(&self, batch: &mut WriteBatch, family: Family, key: &[u8]) {
        batch.delete_cf(self.handle(family), key);
    }

    pub(crate) fn write(&self, batch: WriteBatch) -> Result<(), StoreError> {
        self.unflushed.fetch_add(batch.size_in_bytes() as u64, Ordering::Relaxed);
        Ok(self.rocks.write(batch)?)
    }

    /// Makes files of what was written, if that is much, so that the write-ahead log goes; begun, not done, when it returns.
    pub(crate) fn flush_if_large(&self) -> Result<(), StoreError> {
        if self.unflushed.load(Ordering::Relaxed) < FLUSH_BYTES {
            return Ok(());
        }
        self.flush(false)
    }

    /// Makes files of all that was written; begun, not done, when it returns, unless it `waits`.
    pub(super) fn flush(&self, waits: bool) -> Result<(), StoreError> {
        self.unflushed.store(0, Ordering::Relaxed);
        let mut options = FlushOptions::default();
        options.set_wait(waits);
        // A log file goes when no family needs it any more.
        Ok(self.rocks.flush_cfs_opt(&Family::ALL.map(|family| self.handle(family)), &options)?)
    }

    /// Writes a batch; durable when it returns, with every batch written before.
    pub(crate) fn write_synced(&self, batch: WriteBatch) -> Result<(), StoreError> {
        self.unflushed.fetch_add(batch.size_in_bytes() as u64, Ordering::Relaxed);
        Ok(self.rocks.write_opt(batch, &synced())?)
    }

    /// Deletes the keys from `from` up to, not including, `to`; whole files go at once.
    ///
    /// The caller proves that no view needs any of them: whole files are dropped in spite of RocksDB snapshots.
    pub(crate) fn delete_range(&self, family: Family, from: &[u8], to: &[u8]) -> Result<(), StoreError> {
        let last = before(to);
        self.rocks.delete_file_in_range_cf(self.handle(family), from, &last)?;
        Ok(self.rocks.delete_range_cf(self.handle(family), from, to)?)
    }

    /// Deletes every key that begins with `prefix`.
    pub(crate) fn delete_prefix(&self, family: Family, prefix: &[u8]) -> Result<(), StoreError> {
        match after_prefix(prefix) {
            Some(after) => self.delete_range(family, prefix, &after),
            None => Ok(()),
        }
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("path", &self.rocks.path()).finish_non_exhaustive()
    }
}

/// Whose values are sealed or opened.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Owner<'a> {
    pub(crate) shard: ShardId,
    /// None for the node itself and the meta group.
    pub(crate) workspace: Option<&'a WorkspaceId>,
}

impl<'a> Owner<'a> {
    /// The node itself.
    pub(crate) const NODE: Self = Owner { shard: ShardId::META, workspace: None };

    pub(crate) fn class(self) -> SealClass<'a> {
        self.workspace.map_or(SealClass::Readable, SealClass::Workspace)
    }

    fn context<'k>(self, family: Family, key: &'k [u8]) -> SealContext<'k>
    where
        'a: 'k,
    {
        SealContext { column_family: family.name(), shard: self.shard, key, class: self.class() }
    }
}

/// Wraps what is wrong with a value.
pub(crate) fn corrupt(family: Family, key: &[u8]) -> impl FnOnce(Corruption) -> StoreError {
    move |source| StoreError::Corrupt { family: family.name(), key: key.to_vec(), source }
}

pub(crate) fn file_error(path: &Path) -> impl FnOnce(std::io::Error) -> StoreError {
    move |source| StoreError::File { path: path.display().to_string(), source }
}

/// The smallest key behind all keys with this prefix.
fn after_prefix(prefix: &[u8]) -> Option<Vec<u8>> {
    let mut after = prefix.to_vec();
    while let Some(last) = after.pop() {
        if last < u8::MAX {
            after.push(last + 1);
            return Some(after);
        }
    }
    None
}

/// A key right before `to`: RocksDB takes the upper bound of whole files as included, and no stored key is this long.
fn before(to: &[u8]) -> Vec<u8> {
    let mut last = to.to_vec();
    while let Some(byte) = last.pop() {
        if byte > 0 {
            last.push(byte - 1);
            last.extend_from_slice(&[u8::MAX; 32]);
            break;
        }
    }
    last
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_enclose_exactly_a_prefix() {
        assert_eq!(after_prefix(&[1, 2, 255, 255]), Some(vec![1, 3]));
        assert_eq!(after_prefix(&[255]), None);
        assert!(before(&[1, 0, 0]) < vec![1, 0, 0] && before(&[1, 0, 0]) > vec![0, 255, 255, 255]);
    }
}
