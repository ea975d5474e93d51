//! What is kept, up to so many bytes; what was not used for longest goes first.

use super::extent::Extent;
use crate::metrics;
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// One entry may take this share of the room at most, so that a huge result does not drive out all others.
const ENTRY_SHARE: u64 = 8;
/// Bytes of an entry beside its extent.
const ENTRY_BYTES: u64 = 256;

/// What a kept result answers: one query on one day.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    /// Whose series.
    pub(super) workspace: Arc<str>,
    /// Tells apart workspaces of the same name, one after the other.
    pub(super) placement_key: u64,
    /// Revision of the shard map.
    pub(super) map_revision: u64,
    /// The query as it was written: positions of annotations belong to it.
    pub(super) text: Arc<str>,
    pub(super) step_ms: i64,
    /// Where the steps lie: their times modulo the step.
    pub(super) phase_ms: i64,
    pub(super) lookback_ms: i64,
    pub(super) subquery_step_ms: i64,
    /// Days since 1970; `None` for what concerns the query whatever the day.
    pub(super) day: Option<i64>,
}

/// What is known for a key.
#[derive(Clone, Debug)]
pub(super) enum Kept {
    /// A part of the result.
    Extent(Arc<Extent>),
    /// The query has annotations that only an evaluation of the whole range can tell.
    Whole,
    /// What was said of the range as a whole cannot be told of its days: they are to be evaluated one by one.
    Cut,
}

#[derive(Debug, Default)]
struct Inner {
    entries: HashMap<Arc<Key>, Entry>,
    /// By last use.
    order: BTreeMap<u64, Arc<Key>>,
    uses: u64,
    bytes: u64,
}

#[derive(Debug)]
struct Entry {
    kept: Kept,
    bytes: u64,
    used: u64,
}

/// The store.
#[derive(Debug)]
pub(super) struct Store {
    bytes_max: u64,
    inner: Mutex<Inner>,
}

impl Store {
    pub(super) fn new(bytes_max: u64) -> Self {
        Self { bytes_max, inner: Mutex::default() }
    }

    pub(super) fn is_off(&self) -> bool {
        self.bytes_max == 0
    }

    pub(super) fn get(&self, key: &Key) -> Option<Kept> {
        let mut inner = self.inner.lock();
        let Inner { entries, order, uses, .. } = &mut *inner;
        let (known, _) = entries.get_key_value(key)?;
        let known = Arc::clone(known);
        let entry = entries.get_mut(key)?;
        *uses += 1;
        order.remove(&entry.used);
        entry.used = *uses;
        order.insert(*uses, known);
        Some(entry.kept.clone())
    }

    pub(super) fn put(&self, key: Key, kept: Kept) {
        let extent_bytes = match &kept {
            Kept::Extent(extent) => extent.bytes(),
            Kept::Whole | Kept::Cut => 0,
        };
        let bytes = ENTRY_BYTES + (key.workspace.len() + key.text.len()) as u64 + extent_bytes;
        let mut inner = self.inner.lock();
        inner.remove(&key);
        if bytes <= self.bytes_max / ENTRY_SHARE {
            inner.insert(key, kept, bytes);
        }
        while inner.bytes > self.bytes_max {
            let Some(oldest) = inner.order.values().next().cloned() else { break };
            inner.remove(&oldest);
        }
        metrics::set_query_cache_bytes(inner.bytes);
    }

    pub(super) fn remove(&self, key: &Key) {
        self.inner.lock().remove(key);
    }

    #[cfg(test)]
    pub(super) fn bytes(&self) -> u64 {
        self.inner.lock().bytes
    }
}

impl Inner {
    fn insert(&mut self, key: Key, kept: Kept, bytes: u64) {
        self.uses += 1;
        let key = Arc::new(key);
        self.order.insert(self.uses, Arc::clone(&key));
        self.entries.insert(key, Entry { kept, bytes, used: self.uses });
        self.bytes += bytes;
    }

    fn remove(&mut self, key: &Key) {
        if let Some(entry) = self.entries.remove(key) {
            self.order.remove(&entry.used);
            self.bytes -= entry.bytes;
        }
    }
}
