//! The receiving side.

#![deny(clippy::indexing_slicing)]

use super::export::ORDER;
use super::{END, ExportMeta};
use crate::error::{Corruption, StoreError, TransferError};
use crate::keys::{ChunkKey, Family, HeadKey, MetaKey, MetaTag};
use crate::store::file::{FileWriter, Tally, TempFiles};
use crate::store::{Dataset, Day, ShardStore, Step};
use crate::wire::{Reader, check_crc};
use rocksdb::WriteBatch;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Records are gathered up to this size, then become a file. Files do not overlap, so RocksDB puts them where they stay.
const FILE_BYTES: usize = 16 << 20;

/// A copy that is being received. Dropping it gives it up; its bytes go at the latest when the database is opened next.
#[derive(Debug)]
pub struct Staging {
    copy: ReceivedCopy,
    meta: ExportMeta,
    blocks: u64,
    last: Option<(usize, Vec<u8>)>,
    gathered: Gathered,
    parts: BTreeMap<u64, (Day, Tally)>,
    pages: Tally,
    series: Tally,
    is_ended: bool,
}

/// A complete copy, checked and durable, that is not in use yet. Dropping it gives it up.
#[derive(Debug)]
pub struct Staged {
    copy: ReceivedCopy,
}

/// The number under which a copy is written; given up when dropped before it is installed.
#[derive(Debug)]
struct ReceivedCopy {
    dataset: Arc<Dataset>,
    is_installed: bool,
}

impl Drop for ReceivedCopy {
    fn drop(&mut self) {
        let (db, local) = (&self.dataset.db, self.dataset.local);
        if !self.is_installed
            && !db.engine.faults.is_armed()
            && let Err(error) = db.abandon_staging(local)
        {
            tracing::warn!(%error, local, "a copy that was given up stays until the next start");
        }
    }
}

/// Records of one family on their way into a file.
#[derive(Debug, Default)]
struct Gathered {
    family: Option<Family>,
    records: Vec<(Vec<u8>, Vec<u8>)>,
    bytes: usize,
}

impl Gathered {
    fn put(&mut self, dataset: &Dataset, family: Family, key: Vec<u8>, sealed: &[u8]) -> Result<(), StoreError> {
        if self.family != Some(family) || self.bytes >= FILE_BYTES {
            self.write(dataset)?;
            self.family = Some(family);
        }
        self.bytes += key.len() + sealed.len();
        self.records.push((key, sealed.to_vec()));
        Ok(())
    }

    fn write(&mut self, dataset: &Dataset) -> Result<(), StoreError> {
        let records = std::mem::take(&mut self.records);
        self.bytes = 0;
        let Some(family) = self.family.filter(|_| !records.is_empty()) else { return Ok(()) };
        let mut files = TempFiles::default();
        let mut file = FileWriter::create(dataset.engine(), family, &mut files)?;
        for (key, sealed) in &records {
            file.put(key, &[], sealed)?;
        }
        file.finish()?;
        files.ingest(dataset.engine())
    }
}

impl Staging {
    pub(crate) fn begin(present: &Dataset, meta: ExportMeta) -> Result<Self, StoreError> {
        let db = Arc::clone(&present.db);
        let local = db.begin_staging(present.identity.clone())?;
        let dataset = Arc::new(Dataset::new(db, local, present.identity.clone()));
        let copy = ReceivedCopy { dataset, is_installed: false };
        copy.dataset.engine().faults.reached(Step::StageBegin)?;
        let parts = meta.manifest.parts.iter().map(|part| (part.id, (part.day, Tally::default()))).collect();
        Ok(Self {
            copy,
            meta,
            blocks: 0,
            last: None,
            gathered: Gathered::default(),
            parts,
            pages: Tally::default(),
            series: Tally::default(),
            is_ended: false,
        })
    }

    /// Takes the next block, in the order in which they were sent. Not durable before [`Staging::finish`].
    ///
    /// # Errors
    /// [`StoreError::Transfer`] if the block is damaged, out of order or holds what the meta does not list; or a write failed.
    pub fn write(&mut self, block: &[u8]) -> Result<(), StoreError> {
        let index = self.blocks;
        let damaged = |source| TransferError::Block { index, source };
        let mut reader = Reader::new(check_crc(block).map_err(damaged)?);
        let dataset = Arc::clone(&self.copy.dataset);
        while !reader.rest().is_empty() {
            if self.is_ended {
                return Err(TransferError::Order { index }.into());
            }
            let family = reader.u8().map_err(damaged)?;
            if family == END {
                self.end(&mut reader).map_err(damaged)?;
                self.is_ended = true;
                continue;
            }
            let family = Family::from_number(family).map_err(damaged)?;
            let portable = reader.bytes().map_err(damaged)?;
            let sealed = reader.bytes().map_err(damaged)?;
            self.check_order(family, portable)?;
            let key = family.with_local(portable, dataset.local).map_err(damaged)?;
            self.count(family, &key, portable, sealed).map_err(damaged)?.ok_or(TransferError::Unlisted { index })?;
            self.gathered.put(&dataset, family, key, sealed)?;
        }
        self.blocks += 1;
        Ok(())
    }

    fn end(&self, reader: &mut Reader<'_>) -> Result<(), Corruption> {
        let (keys, hash) = (reader.varint()?, reader.u32_le()?);
        if (keys, hash) == (self.series.keys, self.series.hash) { Ok(()) } else { Err(Corruption::new("count or hash of series")) }
    }

    fn check_order(&mut self, family: Family, portable: &[u8]) -> Result<(), StoreError> {
        let misplaced = TransferError::Order { index: self.blocks };
        let Some(place) = ORDER.iter().position(|f| *f == family) else { return Err(misplaced.into()) };
        let next = (place, portable.to_vec());
        if self.last.as_ref().is_some_and(|last| *last >= next) {
            return Err(misplaced.into());
        }
        self.last = Some(next);
        Ok(())
    }

    /// Counts a record under what the meta lists; none if it lists nothing of the kind.
    fn count(&mut self, family: Family, key: &[u8], portable: &[u8], sealed: &[u8]) -> Result<Option<()>, Corruption> {
        let manifest = &self.meta.manifest;
        match family {
            Family::Meta => return Ok(None),
            Family::Head => {
                if HeadKey::decode(key)?.generation != manifest.generation {
                    return Ok(None);
                }
                self.pages.add(portable, sealed);
            }
            Family::Series | Family::Fpr => self.series.add(portable, sealed),
            Family::Chunk | Family::Index => {
                let key = ChunkKey::decode(key)?;
                match self.parts.get_mut(&key.part) {
                    Some((day, tally)) if day.0 == key.day => tally.add(portable, sealed),
                    _ => return Ok(None),
                }
            }
        }
        Ok(Some(()))
    }

    /// Checks that everything promised came, and makes it durable.
    ///
    /// # Errors
    /// [`StoreError::Transfer`] on a mismatch of counts or hashes, or a write failed; the copy is then given up.
    pub fn finish(mut self) -> Result<Staged, StoreError> {
        self.check_content()?;
        let dataset = &self.copy.dataset;
        self.gathered.write(dataset)?;
        let mut batch = WriteBatch::default();
        let key = MetaKey { local: dataset.local, tag: MetaTag::Manifest }.encode();
        dataset.put(&mut batch, Family::Meta, &key, &self.meta.manifest.encode())?;
        dataset.engine().write_synced(batch)?;
        dataset.engine().faults.reached(Step::Staged)?;
        Ok(Staged { copy: self.copy })
    }

    fn check_content(&self) -> Result<(), TransferError> {
        let manifest = &self.meta.manifest;
        if !self.is_ended {
            return Err(TransferError::Block { index: self.blocks, source: Corruption::new("the last block is missing") });
        }
        let check = |part, promised: (u64, u32), found: Tally| {
            if promised == (found.keys, found.hash) {
                return Ok(());
            }
            let ((keys, hash), found_keys, found_hash) = (promised, found.keys, found.hash);
            Err(TransferError::Content { part, keys, hash, found_keys, found_hash })
        };
        check(0, (u64::from(manifest.pages), manifest.pages_hash), self.pages)?;
        for part in &manifest.parts {
            check(part.id, (part.keys, part.hash), self.parts.get(&part.id).map(|(_, tally)| *tally).unwrap_or_default())?;
        }
        Ok(())
    }
}

impl Staged {
    /// Makes the copy the replica's data in one synced batch; durable when it returns. Handles to the old data refuse further
    /// writes, its views stay readable, and its bytes go when the last view has gone.
    ///
    /// # Errors
    /// The write failed: the database must be opened again to know which data counts.
    pub fn install(mut self) -> Result<ShardStore, StoreError> {
        let dataset = Arc::clone(&self.copy.dataset);
        let engine = dataset.engine();
        engine.faults.reached(Step::BeforeInstall)?;
        let store = ShardStore::load(Arc::clone(&dataset))?;
        dataset.db.install(&store, &dataset)?;
        self.copy.is_installed = true;
        engine.faults.reached(Step::Install)?;
        if let Err(error) = dataset.db.reclaim() {
            if matches!(error, StoreError::Stopped(_)) {
                return Err(error);
            }
            tracing::warn!(%error, shard = %dataset.identity.shard, "replaced data could not be deleted yet");
        }
        Ok(store)
    }
}
