//! One RocksDB per node, shared by all its shards.
//!
//! A shard's data lies under a node-local number that is never used twice: replacing the data (installing a transferred copy)
//! is one synced batch that points the shard to another number. A number is *live*, *staging* (being received) or *doomed*
//! (being removed); what a crash leaves staging or doomed is removed by the next start.

mod damage;
mod inner;
mod options;
mod registry;

pub use damage::DamagedFile;
pub(crate) use inner::{Engine, Owner, corrupt};

use crate::error::StoreError;
use crate::keys::Family;
use crate::store::{Dataset, FaultPlan, MatcherCache, ShardStore, Step};
use inner::file_error;
use model::seal::Seal;
use model::{ReplicaId, ShardId, WorkspaceId};
use options::FamilyOptions;
use parking_lot::Mutex;
use registry::{Registry, ShardRow};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

pub(crate) use registry::NumberState;

/// The share of the memory that keeps what matchers found in index segments.
const MATCHERS_SHARE: usize = 16;

/// What a database needs to know.
#[derive(Clone, Debug)]
pub struct DbOptions {
    /// Its folder; created if missing.
    pub path: PathBuf,
    /// Memory for block cache and memtables together, taken as load needs it.
    pub memory_bytes: usize,
    /// Seals and opens every value.
    pub seal: Seal,
    /// Where tests stop; by default nowhere.
    pub faults: FaultPlan,
}

/// Whose data it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardIdentity {
    /// The shard, cluster-wide.
    pub shard: ShardId,
    /// This copy of it.
    pub replica: ReplicaId,
    /// The workspace it belongs to.
    pub workspace: WorkspaceId,
}

/// The chunk database of a node; clones share it. It closes when the last handle, view or writer is gone.
#[derive(Clone, Debug)]
pub struct Db(Arc<DbInner>);

#[derive(Debug)]
pub(crate) struct DbInner {
    pub(crate) engine: Engine,
    registry: Mutex<Registry>,
}

impl Db {
    /// Opens or creates the database and finishes what an earlier process left half done.
    ///
    /// # Errors
    /// The folder cannot be used, or records of the node are damaged or of an unknown format.
    pub fn open(options: DbOptions) -> Result<Self, StoreError> {
        let families = FamilyOptions::new(options.memory_bytes);
        let rocks_folder = options.path.join("rocks");
        let ingest_folder = options.path.join("ingest");
        if ingest_folder.exists() {
            std::fs::remove_dir_all(&ingest_folder).map_err(file_error(&ingest_folder))?;
        }
        std::fs::create_dir_all(&ingest_folder).map_err(file_error(&ingest_folder))?;
        let rocks = rocksdb::DB::open_cf_descriptors(&families.database_options(), &rocks_folder, families.descriptors())?;
        let engine = Engine {
            rocks,
            seal: options.seal,
            faults: options.faults,
            options: families,
            ingest_folder,
            files: AtomicU64::new(0),
            unflushed: AtomicU64::new(0),
            damaged: damage::DamagedFiles::default(),
            matchers: MatcherCache::new(options.memory_bytes / MATCHERS_SHARE),
        };
        let registry = Registry::load(&engine)?;
        let db = Self(Arc::new(DbInner { engine, registry: Mutex::new(registry) }));
        db.reclaim()?;
        Ok(db)
    }

    /// Makes empty data for a replica; durable when it returns.
    ///
    /// # Errors
    /// [`StoreError::ShardExists`], or the write failed.
    pub fn create_shard(&self, identity: ShardIdentity) -> Result<ShardStore, StoreError> {
        {
            let mut registry = self.0.registry.lock();
            if registry.find(identity.shard, identity.replica).is_some() {
                return Err(StoreError::ShardExists { shard: identity.shard, replica: identity.replica });
            }
            registry.create(&self.0.engine, identity.clone(), NumberState::Live)?;
        }
        self.open_shard(identity.shard, identity.replica)
    }

    /// Opens a replica's data, deleting what no manifest lists. Opening it twice gives the same data.
    ///
    /// # Errors
    /// [`StoreError::UnknownShard`], or its records are damaged or of an unknown format.
    pub fn open_shard(&self, shard: ShardId, replica: ReplicaId) -> Result<ShardStore, StoreError> {
        let mut registry = self.0.registry.lock();
        let row = registry.find(shard, replica).ok_or(StoreError::UnknownShard { shard, replica })?;
        if let Some(open) = row.open.upgrade() {
            return Ok(ShardStore::from_inner(open));
        }
        let dataset = Dataset::new(Arc::clone(&self.0), row.local, row.identity.clone());
        let dataset = Arc::new(dataset);
        let store = ShardStore::load(Arc::clone(&dataset))?;
        row.watch(&store, &dataset);
        Ok(store)
    }

    /// The replicas that live here, by shard and replica.
    #[must_use]
    pub fn shards(&self) -> Vec<ShardIdentity> {
        self.0.registry.lock().live().map(|row| row.identity.clone()).collect()
    }

    /// Removes a replica: durable when it returns, though its bytes go only when nobody reads them any more.
    ///
    /// # Errors
    /// [`StoreError::UnknownShard`], or the write failed.
    pub fn destroy_shard(&self, shard: ShardId, replica: ReplicaId) -> Result<(), StoreError> {
        {
            let mut registry = self.0.registry.lock();
            let row = registry.find(shard, replica).ok_or(StoreError::UnknownShard { shard, replica })?;
            let local = row.local;
            if let Some(open) = row.open.upgrade() {
                open.retire();
            }
            registry.doom(&self.0.engine, local)?;
        }
        self.0.engine.faults.reached(Step::Doom)?;
        self.reclaim()
    }

    /// Bytes that its block cache and its memtables take now, of [`DbOptions::memory_bytes`].
    #[must_use]
    pub fn memory_used(&self) -> u64 {
        self.0.engine.options.memory_used() as u64
    }

    /// Makes files of what memtables hold, so that the next open has no write-ahead log to read.
    ///
    /// # Errors
    /// RocksDB failed; nothing is lost by it.
    pub fn flush(&self) -> Result<(), StoreError> {
        self.0.engine.flush(true)
    }

    /// Deletes the bytes of removed and replaced data that nobody reads any more.
    ///
    /// # Errors
    /// RocksDB failed; a later call tries again.
    pub fn reclaim(&self) -> Result<(), StoreError> {
        self.0.reclaim()
    }
}

impl DbInner {
    pub(crate) fn reclaim(&self) -> Result<(), StoreError> {
        let removable = self.registry.lock().removable();
        for row in removable {
            self.remove_data(&row)?;
            self.engine.faults.reached(Step::DoomedRanges)?;
            self.registry.lock().forget(&self.engine, row.local)?;
        }
        Ok(())
    }

    /// Deletes all keys under a number. Which days there are is read off the keys, so that nothing is trusted.
    fn remove_data(&self, row: &ShardRow) -> Result<(), StoreError> {
        let local = row.local.to_be_bytes();
        for family in [Family::Series, Family::Fpr, Family::Head] {
            self.engine.delete_prefix(family, &local)?;
        }
        for family in [Family::Chunk, Family::Index] {
            let mut iterator = self.engine.iterate(family, &[], false);
            iterator.seek_to_first();
            while let Some(day) = iterator.key().and_then(|key| key.first_chunk::<2>().copied()) {
                let prefix = [&day[..], &local].concat();
                iterator.seek(&prefix);
                if iterator.key().is_some_and(|key| key.starts_with(&prefix)) {
                    self.engine.delete_prefix(family, &prefix)?;
                }
                match u16::from_be_bytes(day).checked_add(1) {
                    Some(next) => iterator.seek(next.to_be_bytes()),
                    None => break,
                }
            }
            iterator.status()?;
        }
        Ok(())
    }

    /// Takes a fresh number for a copy that is being received.
    pub(crate) fn begin_staging(&self, identity: ShardIdentity) -> Result<u32, StoreError> {
        self.registry.lock().create(&self.engine, identity, NumberState::Staging)
    }

    /// Gives up a number whose copy was not installed.
    pub(crate) fn abandon_staging(&self, local: u32) -> Result<(), StoreError> {
        self.registry.lock().doom(&self.engine, local)?;
        self.reclaim()
    }

    /// Points the replica from its present number to the staged one of `store`, in one synced batch.
    pub(crate) fn install(&self, store: &ShardStore, dataset: &Arc<Dataset>) -> Result<(), StoreError> {
        self.registry.lock().install(&self.engine, store, dataset)
    }
}
