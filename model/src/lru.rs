//! What is kept up to so many bytes; what was used longest ago goes first.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::sync::Arc;

/// One entry may take this share of the room at most, so that a huge one does not drive out all others.
const ENTRY_SHARE: u64 = 8;

/// A map bounded by the bytes that its owner says its entries take. Each operation costs the logarithm of the number of entries.
#[derive(Debug)]
pub struct ByteLru<K, V> {
    bytes_max: u64,
    entries: HashMap<Arc<K>, Entry<V>>,
    /// By last use, counted in uses.
    order: BTreeMap<u64, Arc<K>>,
    uses: u64,
    bytes: u64,
}

#[derive(Debug)]
struct Entry<V> {
    value: V,
    bytes: u64,
    used: u64,
}

impl<K: Eq + Hash, V> ByteLru<K, V> {
    /// Keeps at most `bytes_max` bytes.
    #[must_use]
    pub fn new(bytes_max: u64) -> Self {
        Self { bytes_max, entries: HashMap::new(), order: BTreeMap::new(), uses: 0, bytes: 0 }
    }

    /// Bytes kept at most.
    #[must_use]
    pub fn bytes_max(&self) -> u64 {
        self.bytes_max
    }

    /// Bytes kept now.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// What is kept for `key`; counts as a use.
    pub fn get(&mut self, key: &K) -> Option<&V> {
        let entry = self.entries.get_mut(key)?;
        let known = self.order.remove(&entry.used)?;
        self.uses += 1;
        entry.used = self.uses;
        self.order.insert(self.uses, known);
        Some(&entry.value)
    }

    /// Keeps `value` in the place of what was kept for `key`, unless it would take more than an eighth of the room.
    pub fn insert(&mut self, key: K, value: V, bytes: u64) {
        self.remove(&key);
        if bytes > self.bytes_max / ENTRY_SHARE {
            return;
        }
        self.uses += 1;
        let key = Arc::new(key);
        self.order.insert(self.uses, Arc::clone(&key));
        self.entries.insert(key, Entry { value, bytes, used: self.uses });
        self.bytes += bytes;
        while self.bytes > self.bytes_max {
            let Some((_, oldest)) = self.order.pop_first() else { break };
            self.bytes -= self.entries.remove(&oldest).map_or(0, |entry| entry.bytes);
        }
    }

    /// Forgets `key`.
    pub fn remove(&mut self, key: &K) {
        if let Some(entry) = self.entries.remove(key) {
            self.order.remove(&entry.used);
            self.bytes -= entry.bytes;
        }
    }

    /// Forgets the keys of which `is_kept` says no. Looks at every entry.
    pub fn retain(&mut self, is_kept: impl Fn(&K) -> bool) {
        let Self { entries, order, bytes, .. } = self;
        entries.retain(|key, entry| {
            let is_kept = is_kept(key);
            if !is_kept {
                order.remove(&entry.used);
                *bytes -= entry.bytes;
            }
            is_kept
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(lru: &ByteLru<u32, u32>) {
        assert!(lru.bytes() <= lru.bytes_max());
        assert_eq!(lru.bytes(), lru.entries.values().map(|entry| entry.bytes).sum::<u64>());
        assert!(lru.order.values().eq(lru.order.iter().filter(|(used, key)| lru.entries[*key].used == **used).map(|(_, key)| key)));
        assert_eq!(lru.entries.len(), lru.order.len());
    }

    #[test]
    fn what_was_used_longest_ago_goes_first_and_bytes_are_bounded() {
        let mut lru = ByteLru::new(1000);
        for n in 0..200 {
            lru.insert(n, n, 100);
            assert_eq!(lru.get(&0), Some(&0), "the first is used all the time");
            check(&lru);
        }
        assert_eq!((lru.bytes(), lru.get(&190).copied(), lru.get(&191).copied()), (1000, None, Some(191)));
        lru.retain(|n| *n != 0);
        check(&lru);
        assert_eq!((lru.bytes(), lru.get(&0).copied(), lru.get(&199).copied()), (900, None, Some(199)));
    }

    #[test]
    fn what_is_too_large_is_not_kept_and_what_comes_again_counts_once() {
        let mut lru = ByteLru::new(800);
        (0..9).for_each(|n| lru.insert(1, n, 100));
        assert_eq!((lru.bytes(), lru.get(&1)), (100, Some(&8)));
        lru.insert(1, 9, 101);
        check(&lru);
        assert_eq!((lru.bytes(), lru.get(&1)), (0, None), "the old value is outdated all the same");
    }
}
