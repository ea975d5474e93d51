//! Series that this node has routed before, by the bytes of their labels as senders repeat them: a series that is found needs no
//! look at its labels, no hashes of them, and no labels on its way to the shard.
//!
//! ```text
//! labels on the wire --predicted: the entry behind the last one found--> entry
//!                    `-table: keyed 128-bit hash of the bytes---------> entry    (identity hash, placement hash)
//! ```
//!
//! Version 2 sends references to symbols whose numbers change from request to request: there the hash is that of the hashes of the
//! symbols, each of which is hashed once a request.
//!
//! An entry says two things that are true for ever under its key: these bytes are labels that the workspace admits, and these are
//! their hashes. The key is drawn from the workspace's secret and the limits of admission, so neither another workspace's labels nor
//! those that a limit refuses are found. Whether the shard still knows the series is the shard's business: one that does not asks for
//! the labels.

use crate::ingest::admit::AdmitLimits;
use crate::ingest::decode::{RawSeries, ReferringSeries, Samples};
use crate::metrics;
use hashbrown::HashTable;
use model::labels::METRIC_NAME;
use parking_lot::{RwLock, RwLockReadGuard};
use xxhash_rust::xxh3::{xxh3_64_with_seed, xxh3_128_with_secret};

/// Bytes of a secret that the hash takes.
const SECRET_BYTES: usize = 192;
/// What one series takes: its entry and its share of the table.
const BYTES_PER_SERIES: usize = size_of::<Entry>() + 12;
/// Entries by which the list grows at least; it grows by an eighth, so that little of it is ever empty.
const GROW_MIN: usize = 4096;
/// Times that a full list may miss as many series as it holds before it counts as outdated and is emptied.
const MISSES_PER_ENTRY: usize = 2;

/// What is known of a series from the bytes of its labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Keyed hash of the bytes.
    raw: u128,
    /// Identity hash (`model::hash::fp128`).
    pub fp128: u128,
    /// Placement hash (`model::hash::placement_hash`).
    pub placement: u64,
    /// Bytes of the labels in version 1; 0 in version 2.
    labels_bytes: u32,
}

/// The key of one workspace's entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    seed: u64,
    secret: Box<[u8; SECRET_BYTES]>,
}

impl Key {
    fn seed(hash_key: u64, limits: &AdmitLimits) -> u64 {
        let AdmitLimits { labels, label_name_bytes, label_value_bytes, labels_bytes, oldest_ms: _ } = limits;
        let mut bytes = [0; 32];
        for (place, limit) in bytes.chunks_exact_mut(8).zip([labels, label_name_bytes, label_value_bytes, labels_bytes]) {
            place.copy_from_slice(&(*limit as u64).to_le_bytes());
        }
        xxh3_64_with_seed(&bytes, hash_key)
    }

    /// Draws the key of a workspace.
    #[must_use]
    pub fn new(hash_key: u64, limits: &AdmitLimits) -> Self {
        let seed = Self::seed(hash_key, limits);
        let mut secret = Box::new([0; SECRET_BYTES]);
        for (i, word) in secret.chunks_exact_mut(8).enumerate() {
            word.copy_from_slice(&xxh3_64_with_seed(&(i as u64).to_le_bytes(), seed).to_le_bytes());
        }
        Self { seed, secret }
    }

    /// Whether this is the key of the workspace under these limits.
    #[must_use]
    pub fn is_of(&self, hash_key: u64, limits: &AdmitLimits) -> bool {
        self.seed == Self::seed(hash_key, limits)
    }

    #[inline]
    fn hash(&self, labels: &[u8]) -> u128 {
        xxh3_128_with_secret(labels, self.secret.as_slice())
    }
}

/// Symbols of a request that are hashed: those of any sender in use; a request with more is read in full.
const SYMBOLS_MAX: usize = 1 << 16;
/// Ends the hashes of a series' symbols, so that no label bytes of version 1 are ever mistaken for them.
const OF_SYMBOLS: u8 = 2;

/// Keyed hashes of the symbols of one request of version 2.
#[derive(Debug, Default)]
pub struct SymbolHashes {
    hashes: Vec<u128>,
    /// The reference that names the metric.
    metric_name: Option<u64>,
    /// Hashes of the symbols of one series, one behind the other.
    series: Vec<u8>,
}

impl SymbolHashes {
    /// Hashes the symbols of a request; false if they are too many.
    pub fn hash(&mut self, key: &Key, symbols: &[&[u8]]) -> bool {
        self.hashes.clear();
        if symbols.len() > SYMBOLS_MAX {
            return false;
        }
        self.hashes.extend(symbols.iter().map(|symbol| key.hash(symbol)));
        self.metric_name = symbols.iter().position(|symbol| *symbol == METRIC_NAME.as_bytes()).map(|at| at as u64);
        true
    }

    /// The hash of a series and the reference to its metric's name (0, the empty text, if it has none); `None` if a reference leads
    /// nowhere or a name has no value.
    #[inline]
    fn of_series(&mut self, key: &Key, series: &ReferringSeries<'_>) -> Option<(u128, u64)> {
        let Self { hashes, metric_name, series: bytes } = self;
        bytes.clear();
        let (mut count, mut metric, mut name, mut is_valid) = (0usize, 0, 0, true);
        let is_read = series.each_ref(|reference| {
            match usize::try_from(reference).ok().and_then(|reference| hashes.get(reference)) {
                Some(hash) => bytes.extend_from_slice(&hash.to_le_bytes()),
                None => is_valid = false,
            }
            if count.is_multiple_of(2) {
                name = reference;
            } else if Some(name) == *metric_name {
                metric = reference;
            }
            count += 1;
        });
        bytes.push(OF_SYMBOLS);
        (is_read && is_valid && count.is_multiple_of(2) && count > 0).then(|| (key.hash(bytes), metric))
    }
}

/// The series known to one node; bounded.
#[derive(Debug)]
pub struct KnownSeries {
    entries_max: usize,
    list: RwLock<List>,
}

#[derive(Debug, Default)]
struct List {
    /// In the order learned: what one request brought stands together, as its sender will repeat it.
    entries: Vec<Entry>,
    by_raw: HashTable<u32>,
    /// Series that were not found since the list was full.
    missed_when_full: usize,
}

impl KnownSeries {
    /// Takes at most about `bytes_max` bytes, as series come.
    #[must_use]
    pub fn new(bytes_max: usize) -> Self {
        Self { entries_max: (bytes_max / BYTES_PER_SERIES).min(u32::MAX as usize), list: RwLock::default() }
    }

    /// Begins the look-ups of one request.
    #[must_use]
    pub fn lookup<'k>(&'k self, key: &'k Key) -> Lookup<'k> {
        Lookup { list: self.list.read(), key, next: 0, missed: None, predicted: 0, in_table: 0, new: 0 }
    }

    /// Takes in what requests brought that was not known; their shards should know them by now.
    pub fn learn(&self, learned: &[Entry]) {
        if learned.is_empty() {
            return;
        }
        let mut list = self.list.write();
        for entry in learned {
            list.learn(*entry, self.entries_max);
        }
        metrics::set_known_series(list.entries.len() as u64, list.bytes() as u64);
    }
}

impl List {
    fn learn(&mut self, entry: Entry, entries_max: usize) {
        if self.entries.len() >= entries_max {
            self.missed_when_full += 1;
            if self.missed_when_full <= entries_max.saturating_mul(MISSES_PER_ENTRY) {
                return;
            }
            *self = Self::default();
        }
        if self.find(entry.raw).is_some() || entries_max == 0 {
            return;
        }
        if self.entries.len() == self.entries.capacity() {
            self.entries.reserve_exact((self.entries.len() / 8).max(GROW_MIN).min(entries_max - self.entries.len()));
        }
        let at = u32::try_from(self.entries.len()).unwrap_or(u32::MAX);
        self.entries.push(entry);
        let entries = &self.entries;
        self.by_raw.insert_unique(entry.raw as u64, at, |at| entries.get(*at as usize).map_or(0, |e| e.raw as u64));
    }

    fn find(&self, raw: u128) -> Option<u32> {
        self.by_raw.find(raw as u64, |at| self.entries.get(*at as usize).is_some_and(|e| e.raw == raw)).copied()
    }

    fn bytes(&self) -> usize {
        self.entries.capacity() * size_of::<Entry>() + self.by_raw.allocation_size()
    }
}

/// The look-ups of one request, in the order of its series.
#[derive(Debug)]
pub struct Lookup<'k> {
    list: RwLockReadGuard<'k, List>,
    key: &'k Key,
    /// Where the next series probably stands.
    next: usize,
    missed: Option<(u128, u32)>,
    predicted: u64,
    in_table: u64,
    new: u64,
}

impl Lookup<'_> {
    /// What is known of a series, and its samples. `None` if it must be read as a whole.
    #[inline]
    pub fn find<'a>(&mut self, series: &RawSeries<'a>) -> Option<(Entry, Samples<'a>)> {
        if let Some(entry) = self.list.entries.get(self.next)
            && let Some(labels) = series.bytes().get(..entry.labels_bytes as usize)
            && self.key.hash(labels) == entry.raw
            && let Some(samples) = series.samples_behind(labels.len())
        {
            self.next += 1;
            self.predicted += 1;
            return Some((*entry, samples));
        }
        self.find_in_table(series)
    }

    fn find_in_table<'a>(&mut self, series: &RawSeries<'a>) -> Option<(Entry, Samples<'a>)> {
        self.missed = None;
        self.new += 1;
        let labels = series.leading_labels();
        let labels_bytes = u32::try_from(labels.len()).ok().filter(|n| *n > 0)?;
        let samples = series.samples_behind(labels.len())?;
        let raw = self.key.hash(labels);
        let Some(at) = self.list.find(raw) else {
            self.missed = Some((raw, labels_bytes));
            return None;
        };
        self.new -= 1;
        self.in_table += 1;
        self.next = at as usize + 1;
        Some((*self.list.entries.get(at as usize)?, samples))
    }

    /// What is known of a series of version 2, the series, and the reference to its metric's name. `None` if it must be read as a whole.
    #[inline]
    pub fn find_referring<'a>(&mut self, series: &RawSeries<'a>, symbols: &mut SymbolHashes) -> Option<(Entry, ReferringSeries<'a>, u64)> {
        self.missed = None;
        self.new += 1;
        let referring = series.referring()?;
        let (raw, metric) = symbols.of_series(self.key, &referring)?;
        let predicted = self.list.entries.get(self.next).is_some_and(|entry| entry.raw == raw);
        let Some(at) = (if predicted { Some(self.next) } else { self.list.find(raw).map(|at| at as usize) }) else {
            self.missed = Some((raw, 0));
            return None;
        };
        self.new -= 1;
        *(if predicted { &mut self.predicted } else { &mut self.in_table }) += 1;
        self.next = at + 1;
        Some((*self.list.entries.get(at)?, referring, metric))
    }

    /// What to learn of the series that was looked for last and not found, once it was read and admitted.
    #[must_use]
    pub fn entry_of_missed(&self, fp128: u128, placement: u64) -> Option<Entry> {
        self.missed.map(|(raw, labels_bytes)| Entry { raw, fp128, placement, labels_bytes })
    }
}

impl Drop for Lookup<'_> {
    fn drop(&mut self) {
        metrics::count_known_series_lookups(self.predicted, self.in_table, self.new);
    }
}

#[cfg(test)]
mod tests;
