//! Recent entries in memory, so that apply and replication do not read back what was just written.

use super::replica::ReplicaLog;
use crate::types::{Entry, Payload};
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

/// Memory an entry takes beside its payload.
const ENTRY_OVERHEAD_BYTES: usize = 128;

/// Shares one bound among the tails of all replicas of a process.
#[derive(Debug)]
pub(crate) struct TailBudget {
    bytes_max: usize,
    share: AtomicUsize,
    tails: Mutex<Vec<Weak<ReplicaLog>>>,
}

impl TailBudget {
    pub(crate) fn new(bytes_max: usize) -> Arc<Self> {
        Arc::new(Self { bytes_max, share: AtomicUsize::new(bytes_max), tails: Mutex::default() })
    }

    /// Bytes one replica may keep.
    pub(super) fn share(&self) -> usize {
        self.share.load(Ordering::Relaxed)
    }

    /// Takes one more replica in; the others shrink to the smaller share at once.
    pub(super) fn join(&self, log: &Arc<ReplicaLog>) {
        let mut tails = self.tails.lock();
        tails.retain(|tail| tail.strong_count() > 0);
        tails.push(Arc::downgrade(log));
        self.share.store(self.bytes_max / tails.len(), Ordering::Relaxed);
        let others: Vec<_> = tails.iter().filter_map(Weak::upgrade).collect();
        drop(tails);
        for other in others {
            other.shrink();
        }
    }
}

/// The newest entries of one log, without gaps, ending at its last.
#[derive(Debug, Default)]
pub(super) struct Tail {
    entries: VecDeque<Entry>,
    bytes: usize,
}

fn entry_bytes(entry: &Entry) -> usize {
    match &entry.payload {
        Payload::Normal(blob) => blob.0.len() + ENTRY_OVERHEAD_BYTES,
        Payload::Blank | Payload::Membership(_) => ENTRY_OVERHEAD_BYTES,
    }
}

impl Tail {
    /// Index of the first entry kept.
    pub(super) fn first(&self) -> Option<u64> {
        self.entries.front().map(|entry| entry.log_id.index)
    }

    pub(super) fn get(&self, index: u64) -> Option<&Entry> {
        let offset = usize::try_from(index.checked_sub(self.first()?)?).ok()?;
        self.entries.get(offset)
    }

    pub(super) fn push(&mut self, entry: Entry) {
        let next = self.entries.back().map(|last| last.log_id.index + 1);
        assert!(next.is_none_or(|next| next == entry.log_id.index), "log entries are appended without gaps");
        self.bytes += entry_bytes(&entry);
        self.entries.push_back(entry);
    }

    /// Removes entries after `last`.
    pub(super) fn truncate_after(&mut self, last: Option<u64>) {
        while self.entries.back().is_some_and(|entry| last.is_none_or(|last| entry.log_id.index > last)) {
            if let Some(entry) = self.entries.pop_back() {
                self.bytes -= entry_bytes(&entry);
            }
        }
    }

    /// Removes entries up to `index`.
    pub(super) fn purge(&mut self, index: u64) {
        while self.entries.front().is_some_and(|entry| entry.log_id.index <= index) {
            self.pop_front();
        }
    }

    /// Removes the oldest entries before `written` until at most `bytes_max` are left.
    pub(super) fn shrink(&mut self, bytes_max: usize, written: u64) {
        while self.bytes > bytes_max && self.entries.front().is_some_and(|entry| entry.log_id.index < written) {
            self.pop_front();
        }
    }

    fn pop_front(&mut self) {
        if let Some(entry) = self.entries.pop_front() {
            self.bytes -= entry_bytes(&entry);
        }
    }
}
