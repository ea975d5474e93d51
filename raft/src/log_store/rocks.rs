//! The engine of production: one dedicated RocksDB, `raftdb`.

use super::engine::{LogEngine, LogOp};
use super::keys::{self, CF_LOG, CF_STATE, StateTag};
use super::ledger::{self, Ledger};
use super::loss::{self, LogLoss};
use crate::error::OpenError;
use bytes::Bytes;
use model::ReplicaId;
use rocksdb::properties::LIVE_SST_FILES_SIZE;
use rocksdb::{
    ColumnFamily, ColumnFamilyDescriptor, DB, DBCompressionType, DBRecoveryMode, Direction, IteratorMode, LogLevel, Options, ReadOptions,
};
use rocksdb::{WriteBatch, WriteOptions};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::{fmt, io};

/// Settings of the engine.
#[derive(Clone, Copy, Debug)]
pub struct RocksOptions {
    /// Memory for entries not yet in files: two memtables of half of it each.
    pub memory_bytes: usize,
    /// Write-ahead files kept at most; a start reads all of them. Above twice `memory_bytes` they are kept only by families that are
    /// rarely written, and those are flushed then.
    pub wal_bytes_max: u64,
    /// How far other stores have heard that this log was synced: one that ends before is an older image of the disk.
    pub synced_elsewhere: u64,
}

impl Default for RocksOptions {
    fn default() -> Self {
        Self { memory_bytes: 16 << 20, wal_bytes_max: 48 << 20, synced_elsewhere: 0 }
    }
}

/// A [`LogEngine`] over RocksDB.
pub struct RocksEngine {
    db: DB,
    ledger: Ledger,
    loss: Option<LogLoss>,
    /// What [`LogEngine::synced`] had reached before the last loss.
    counted_before: u64,
    /// Bytes written since all memtables were flushed: write-ahead files hold no more.
    unflushed: AtomicU64,
    synced: WriteOptions,
    unsynced: WriteOptions,
}

impl fmt::Debug for RocksEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RocksEngine").field("path", &self.db.path()).finish_non_exhaustive()
    }
}

impl RocksEngine {
    /// Opens or creates the log in `directory`.
    ///
    /// # Errors
    /// The database or its ledger cannot be opened. A log that ends before what was once synced opens, but knows of its
    /// [`LogEngine::loss`] from then on.
    pub fn open(directory: &Path, options: RocksOptions) -> Result<Self, OpenError> {
        let file_error = |source| OpenError::File { path: directory.to_owned(), source };
        std::fs::create_dir_all(directory).map_err(file_error)?;
        let exists = directory.join("CURRENT").exists();
        let noted = match ledger::read(directory)? {
            Some(noted) => noted,
            None if exists => return Err(OpenError::LedgerDamaged { path: directory.join("LEDGER"), reason: "missing beside a log" }),
            None => {
                ledger::write(directory, 0).map_err(file_error)?;
                0
            }
        };
        let families = [(CF_LOG, options.memory_bytes / 2), (CF_STATE, 1 << 20)]
            .map(|(name, memtable)| ColumnFamilyDescriptor::new(name, family_options(memtable)));
        let db = DB::open_cf_descriptors(&database_options(options), directory, families)
            .map_err(|source| OpenError::Database { path: directory.to_owned(), source })?;
        let latest = db.latest_sequence_number();
        let mut loss = loss::read(directory)?;
        // A log that lost something counts on from what it had: others must not take each later start for another loss.
        let before = loss.as_ref().map_or(0, |loss| loss.ledger);
        let synced = (before + noted).max(options.synced_elsewhere);
        if before + latest < synced {
            let replicas = stored_replicas(&db).map_err(file_error)?;
            let found = LogLoss { latest: before + latest, ledger: synced, replicas };
            loss = Some(loss::note(directory, loss, found).map_err(file_error)?);
            // Only after the loss is noted: the next write would otherwise make the log look whole.
            ledger::write(directory, latest).map_err(file_error)?;
        }
        let counted_before = loss.as_ref().map_or(0, |loss| loss.ledger);
        let ledger = Ledger::start(directory.to_owned(), latest.min(noted)).map_err(file_error)?;
        let mut synced = WriteOptions::default();
        synced.set_sync(true);
        Ok(Self { db, ledger, loss, counted_before, unflushed: AtomicU64::new(0), synced, unsynced: WriteOptions::default() })
    }

    fn family(&self, name: &str) -> io::Result<&ColumnFamily> {
        family(&self.db, name)
    }

    fn batch(&self, ops: &[LogOp]) -> io::Result<WriteBatch> {
        let (log, state) = (self.family(CF_LOG)?, self.family(CF_STATE)?);
        let mut batch = WriteBatch::default();
        for op in ops {
            match op {
                LogOp::PutEntry { replica, index, value } => batch.put_cf(log, keys::entry(*replica, *index), value),
                LogOp::Truncate { replica, index } => {
                    batch.delete_range_cf(log, keys::entry(*replica, *index), keys::entry(*replica, u64::MAX));
                }
                LogOp::Purge { replica, index } => {
                    batch.delete_range_cf(log, keys::entry(*replica, 0), keys::entry(*replica, index.saturating_add(1)));
                }
                LogOp::PutState { replica, tag, value } => batch.put_cf(state, keys::state(*replica, *tag), value),
                LogOp::Destroy { replica } => {
                    batch.delete_range_cf(log, keys::entry(*replica, 0), keys::entry(*replica, u64::MAX));
                    for tag in StateTag::ALL {
                        batch.delete_cf(state, keys::state(*replica, tag));
                    }
                }
            }
        }
        Ok(batch)
    }

    /// Gives whole files of purged entries back at once; what is left goes with compaction.
    fn drop_files(&self, ops: &[LogOp]) -> io::Result<()> {
        let log = self.family(CF_LOG)?;
        for op in ops {
            let (replica, last) = match op {
                LogOp::Purge { replica, index } => (*replica, *index),
                LogOp::Destroy { replica } => (*replica, u64::MAX),
                _ => continue,
            };
            self.db.delete_file_in_range_cf(log, keys::entry(replica, 0), keys::entry(replica, last)).map_err(io::Error::other)?;
        }
        Ok(())
    }
}

fn family<'a>(db: &'a DB, name: &str) -> io::Result<&'a ColumnFamily> {
    db.cf_handle(name).ok_or_else(|| io::Error::other(format!("column family {name} is missing")))
}

/// Every replica that has left anything: one seek each.
fn stored_replicas(db: &DB) -> io::Result<BTreeSet<ReplicaId>> {
    let mut replicas = BTreeSet::new();
    for name in [CF_LOG, CF_STATE] {
        let mut rows = db.raw_iterator_cf(family(db, name)?);
        rows.seek_to_first();
        while let Some(prefix) = rows.key().and_then(|key| key.first_chunk::<8>()) {
            let replica = u64::from_be_bytes(*prefix);
            replicas.insert(ReplicaId(replica));
            let Some(next) = replica.checked_add(1) else { break };
            rows.seek(next.to_be_bytes());
        }
        rows.status().map_err(io::Error::other)?;
    }
    Ok(replicas)
}

fn database_options(options: RocksOptions) -> Options {
    let mut db = Options::default();
    db.create_if_missing(true);
    db.create_missing_column_families(true);
    db.set_wal_recovery_mode(DBRecoveryMode::PointInTime);
    db.set_track_and_verify_wals_in_manifest(true);
    db.set_paranoid_checks(true);
    db.set_max_total_wal_size(options.wal_bytes_max);
    // Torn tails stay detectable only in files that are not reused.
    db.set_recycle_log_file_num(0);
    db.set_wal_bytes_per_sync(512 << 10);
    db.set_max_background_jobs(2);
    db.set_max_open_files(256);
    // A start is not to wait for sixteen threads of each family to begin and end, nor for counts of entries that compactions find anyway.
    db.set_max_file_opening_threads(1);
    db.set_skip_stats_update_on_db_open(true);
    // What it tells of every flush and compaction would be a hundredth of a small node's data.
    db.set_log_level(LogLevel::Warn);
    db.set_max_log_file_size(1 << 20);
    db.set_keep_log_file_num(2);
    db
}

fn family_options(memtable_bytes: usize) -> Options {
    let mut family = Options::default();
    family.set_write_buffer_size(memtable_bytes.max(1 << 20));
    family.set_max_write_buffer_number(2);
    family.set_compression_type(DBCompressionType::None);
    // Files of level 0 are never dropped whole by a purge: they move on early.
    family.set_level_zero_file_num_compaction_trigger(2);
    family
}

impl LogEngine for RocksEngine {
    fn write(&self, ops: &[LogOp], sync: bool) -> io::Result<()> {
        let batch = self.batch(ops)?;
        let options = if sync { &self.synced } else { &self.unsynced };
        self.unflushed.fetch_add(batch.size_in_bytes() as u64, Ordering::Relaxed);
        self.db.write_opt(batch, options).map_err(io::Error::other)?;
        if sync {
            self.ledger.synced(self.db.latest_sequence_number())?;
        }
        self.drop_files(ops)
    }

    fn entries(&self, replica: ReplicaId, from: u64, to: u64, bytes_max: usize) -> io::Result<Vec<(u64, Bytes)>> {
        if from >= to {
            return Ok(Vec::new());
        }
        let mut options = ReadOptions::default();
        options.set_iterate_upper_bound(keys::entry(replica, to));
        let start = keys::entry(replica, from);
        let rows = self.db.iterator_cf_opt(self.family(CF_LOG)?, options, IteratorMode::From(&start, Direction::Forward));
        let mut entries = Vec::new();
        let mut bytes = 0;
        for (expected, row) in (from..to).zip(rows) {
            let (key, value) = row.map_err(io::Error::other)?;
            if keys::index_of(replica, &key) != Some(expected) {
                break;
            }
            bytes += value.len();
            if bytes > bytes_max && !entries.is_empty() {
                break;
            }
            entries.push((expected, Bytes::from(Vec::from(value))));
        }
        Ok(entries)
    }

    fn first_entry(&self, replica: ReplicaId) -> io::Result<Option<Bytes>> {
        let start = keys::entry(replica, 0);
        let mut rows = self.db.iterator_cf(self.family(CF_LOG)?, IteratorMode::From(&start, Direction::Forward));
        let first = rows.next().transpose().map_err(io::Error::other)?;
        Ok(first.filter(|(key, _)| keys::index_of(replica, key).is_some()).map(|(_, value)| Bytes::from(Vec::from(value))))
    }

    fn last_index(&self, replica: ReplicaId) -> io::Result<Option<u64>> {
        let end = keys::entry(replica, u64::MAX);
        let mut rows = self.db.iterator_cf(self.family(CF_LOG)?, IteratorMode::From(&end, Direction::Reverse));
        match rows.next() {
            None => Ok(None),
            Some(row) => row.map(|(key, _)| keys::index_of(replica, &key)).map_err(io::Error::other),
        }
    }

    fn state(&self, replica: ReplicaId, tag: StateTag) -> io::Result<Option<Bytes>> {
        let value = self.db.get_cf(self.family(CF_STATE)?, keys::state(replica, tag)).map_err(io::Error::other)?;
        Ok(value.map(Bytes::from))
    }

    fn replicas(&self) -> io::Result<Vec<ReplicaId>> {
        Ok(stored_replicas(&self.db)?.into_iter().collect())
    }

    fn loss(&self) -> Option<&LogLoss> {
        self.loss.as_ref()
    }

    fn synced(&self) -> u64 {
        self.counted_before + self.ledger.number()
    }

    fn reaches(&self) -> u64 {
        self.counted_before + self.db.latest_sequence_number()
    }

    fn stored_bytes(&self) -> u64 {
        let files = self.family(CF_LOG).ok().and_then(|log| self.db.property_int_value_cf(log, LIVE_SST_FILES_SIZE).ok().flatten());
        self.unflushed.load(Ordering::Relaxed) + files.unwrap_or(0)
    }

    fn flush(&self) -> io::Result<()> {
        // What is written meanwhile may or may not be flushed: it goes on to count.
        let before = self.unflushed.load(Ordering::Relaxed);
        for name in [CF_LOG, CF_STATE] {
            self.db.flush_cf(self.family(name)?).map_err(io::Error::other)?;
        }
        // Purged entries in files that also hold others go only so.
        self.db.compact_range_cf(self.family(CF_LOG)?, None::<&[u8]>, None::<&[u8]>);
        self.unflushed.fetch_sub(before, Ordering::Relaxed);
        Ok(())
    }
}
