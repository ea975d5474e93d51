//! RocksDB's options: what each family needs, and shares of one memory budget.

use crate::keys::Family;
use rocksdb::{
    BlockBasedOptions, Cache, ChecksumType, ColumnFamilyDescriptor, DBCompressionType, LogLevel, Options, WriteBufferManager, WriteOptions,
};

const MEMTABLE_BYTES_MIN: usize = 1 << 20;
const MEMTABLE_BYTES_MAX: usize = 16 << 20;
const CACHE_BYTES_MIN: usize = 4 << 20;
const FILE_BYTES: u64 = 256 << 20;

/// Options of every family, and of the files that are written outside and ingested.
pub(super) struct FamilyOptions {
    families: Vec<(Family, Options)>,
    cache: Cache,
    memtables: WriteBufferManager,
    memtable_bytes_max: usize,
}

impl FamilyOptions {
    /// Half of `memory_bytes` caches blocks, a quarter bounds all memtables together; a sixteenth keeps what matchers found;
    /// the rest is left for indexes and scans.
    pub(super) fn new(memory_bytes: usize) -> Self {
        let cache = Cache::new_lru_cache((memory_bytes / 2).max(CACHE_BYTES_MIN));
        let memtable = (memory_bytes / 32).clamp(MEMTABLE_BYTES_MIN, MEMTABLE_BYTES_MAX);
        let memtable_bytes_max = (memory_bytes / 4).max(4 * MEMTABLE_BYTES_MIN);
        Self {
            families: Family::ALL.into_iter().map(|family| (family, family_options(family, &cache, memtable))).collect(),
            cache,
            memtables: WriteBufferManager::new_write_buffer_manager(memtable_bytes_max, false),
            memtable_bytes_max,
        }
    }

    /// Bytes that blocks in the cache and memtables take now.
    pub(super) fn memory_used(&self) -> usize {
        self.cache.get_usage() + self.memtables.get_usage()
    }

    pub(super) fn database_options(&self) -> Options {
        database_options(&self.memtables, self.memtable_bytes_max)
    }

    pub(super) fn of(&self, family: Family) -> &Options {
        self.families.iter().find(|(f, _)| *f == family).map(|(_, options)| options).expect("every family has its options")
    }

    pub(super) fn descriptors(&self) -> impl Iterator<Item = ColumnFamilyDescriptor> {
        self.families.iter().map(|(family, options)| ColumnFamilyDescriptor::new(family.name(), options.clone()))
    }
}

fn family_options(family: Family, cache: &Cache, memtable: usize) -> Options {
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(cache);
    table.set_cache_index_and_filter_blocks(true);
    table.set_pin_l0_filter_and_index_blocks_in_cache(true);
    table.set_checksum_type(ChecksumType::XXH3);
    table.set_format_version(5);
    match family {
        // A group is up to 16 KiB; postings tell where samples are, so a read always hits and filters would be waste.
        Family::Chunk | Family::Index | Family::Head => table.set_block_size(32 << 10),
        Family::Series => table.set_block_size(16 << 10),
        // Returning series are rare: most lookups are for new ones and must not touch the disk.
        Family::Fpr => table.set_ribbon_filter(10.0),
        Family::Meta => {}
    }
    let mut options = Options::default();
    options.set_block_based_table_factory(&table);
    options.set_write_buffer_size(memtable);
    options.set_max_write_buffer_number(2);
    options.set_target_file_size_base(FILE_BYTES);
    options.set_compression_type(match family {
        // Hashes do not shrink, what is around them does.
        Family::Series | Family::Fpr => DBCompressionType::Zstd,
        Family::Meta => DBCompressionType::Lz4,
        Family::Chunk | Family::Index | Family::Head => DBCompressionType::None,
    });
    options
}

fn database_options(memtables: &WriteBufferManager, memtable_bytes_max: usize) -> Options {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    options.set_paranoid_checks(true);
    options.set_avoid_unnecessary_blocking_io(true);
    options.set_write_buffer_manager(memtables);
    options.set_max_total_wal_size(memtable_bytes_max as u64);
    options.set_max_background_jobs(2);
    options.set_max_open_files(1024);
    // A start is not to wait for sixteen threads of each family to begin and end, nor for counts of entries that compactions find anyway.
    options.set_max_file_opening_threads(1);
    options.set_skip_stats_update_on_db_open(true);
    options.set_bytes_per_sync(1 << 20);
    // What it tells of every flush and compaction would be a hundredth of a small node's data.
    options.set_log_level(LogLevel::Warn);
    options.set_keep_log_file_num(2);
    options.set_max_log_file_size(1 << 20);
    options
}

/// Options of a write that is durable when it returns, with everything written before it.
pub(super) fn synced() -> WriteOptions {
    let mut options = WriteOptions::default();
    options.set_sync(true);
    options
}
