//! What is kept, up to so many bytes; what was not used for longest goes first.

use super::extent::Extent;
use crate::metrics;
use model::lru::ByteLru;
use parking_lot::Mutex;
use std::sync::Arc;

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

/// The store.
#[derive(Debug)]
pub(super) struct Store(Mutex<ByteLru<Key, Kept>>);

impl Store {
    pub(super) fn new(bytes_max: u64) -> Self {
        Self(Mutex::new(ByteLru::new(bytes_max)))
    }

    pub(super) fn is_off(&self) -> bool {
        self.0.lock().bytes_max() == 0
    }

    pub(super) fn get(&self, key: &Key) -> Option<Kept> {
        self.0.lock().get(key).cloned()
    }

    pub(super) fn put(&self, key: Key, kept: Kept) {
        let extent_bytes = match &kept {
            Kept::Extent(extent) => extent.bytes(),
            Kept::Whole | Kept::Cut => 0,
        };
        let bytes = ENTRY_BYTES + (key.workspace.len() + key.text.len()) as u64 + extent_bytes;
        let mut inner = self.0.lock();
        inner.insert(key, kept, bytes);
        metrics::set_query_cache_bytes(inner.bytes());
    }

    pub(super) fn remove(&self, key: &Key) {
        self.0.lock().remove(key);
    }

    #[cfg(test)]
    pub(super) fn bytes(&self) -> u64 {
        self.0.lock().bytes()
    }
}
