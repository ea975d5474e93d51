//! One shard's keys and values under its node-local number.

use super::file::FileWriter;
use super::segment::SegmentCache;
use crate::db::{DbInner, Engine, Owner, ShardIdentity, corrupt};
use crate::error::{Corruption, StoreError};
use crate::keys::Family;
use model::ShardId;
use rocksdb::{DBRawIterator, WriteBatch};
use std::sync::Arc;

/// The data behind a number; while it is referenced, its keys stay.
#[derive(Debug)]
pub(crate) struct Dataset {
    pub(crate) db: Arc<DbInner>,
    pub(crate) local: u32,
    pub(crate) identity: ShardIdentity,
    pub(crate) segments: SegmentCache,
}

impl Dataset {
    pub(crate) fn new(db: Arc<DbInner>, local: u32, identity: ShardIdentity) -> Self {
        Self { db, local, identity, segments: SegmentCache::default() }
    }

    /// Lets go of what is kept in memory of an index segment.
    pub(crate) fn forget_segment(&self, part: u64) {
        self.segments.remove(part);
        self.engine().matchers().remove(self.local, part);
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.db.engine
    }

    fn owner(&self) -> Owner<'_> {
        Owner { shard: self.identity.shard, workspace: Some(&self.identity.workspace).filter(|_| self.identity.shard != ShardId::META) }
    }

    /// The portable key and the sealed value of what is stored under `key`.
    pub(crate) fn seal(&self, family: Family, key: &[u8], value: &[u8]) -> Result<(Vec<u8>, Vec<u8>), StoreError> {
        let portable = family.portable(key).expect("own keys are whole");
        let sealed = self.engine().seal(family, self.owner(), &portable, value)?;
        Ok((portable, sealed))
    }

    pub(crate) fn put(&self, batch: &mut WriteBatch, family: Family, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        let (_, sealed) = self.seal(family, key, value)?;
        self.engine().put(batch, family, key, &sealed);
        Ok(())
    }

    /// The hash of a label set as it stands in keys on disk.
    pub(crate) fn key_hash(&self, fp128: u128) -> Result<u128, StoreError> {
        Ok(self.engine().seal.label_hash(self.owner().class(), fp128)?)
    }

    pub(crate) fn put_file(&self, file: &mut FileWriter<'_>, family: Family, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        let (portable, sealed) = self.seal(family, key, value)?;
        file.put(key, &portable, &sealed)
    }

    /// Opens a sealed value and reads it.
    pub(crate) fn read<T>(
        &self,
        family: Family,
        key: &[u8],
        sealed: &[u8],
        decode: impl FnOnce(&[u8]) -> Result<T, Corruption>,
    ) -> Result<T, StoreError> {
        let portable = family.portable(key).map_err(corrupt(family, key))?;
        let value = self.engine().open(family, self.owner(), &portable, sealed)?;
        decode(&value).map_err(corrupt(family, key))
    }

    pub(crate) fn get<T>(
        &self,
        family: Family,
        key: &[u8],
        decode: impl FnOnce(&[u8]) -> Result<T, Corruption>,
    ) -> Result<Option<T>, StoreError> {
        match self.engine().get(family, key)? {
            Some(sealed) => self.read(family, key, &sealed, decode).map(Some),
            None => Ok(None),
        }
    }

    pub(crate) fn iterate(&self, family: Family, prefix: &[u8], fill_cache: bool) -> DBRawIterator<'_> {
        self.engine().iterate(family, prefix, fill_cache)
    }
}
