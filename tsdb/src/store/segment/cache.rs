//! What matchers found in segments: a segment never changes, so neither does the answer.

use crate::metrics;
use model::{MatchOp, Matcher};
use parking_lot::Mutex;
use roaring::RoaringBitmap;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// What an entry costs beside its key's text and its bitmap, roughly.
const ENTRY_BYTES: usize = 200;

/// Which matcher over which segment.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    /// The node's own number of the data.
    local: u32,
    part: u64,
    /// The matcher: length of the name, operator, name and value.
    matcher: Box<str>,
}

#[derive(Debug)]
struct Entry {
    found: Arc<RoaringBitmap>,
    bytes: usize,
    used: u64,
}

#[derive(Debug, Default)]
struct Entries {
    by_key: HashMap<Arc<Key>, Entry>,
    /// By the time of their last use, counted in uses.
    by_use: BTreeMap<u64, Arc<Key>>,
    uses: u64,
    bytes: usize,
}

/// Bitmaps of matchers over segments, of all shards of a node; those used longest ago go when a bound of bytes is met.
#[derive(Debug)]
pub(crate) struct MatcherCache {
    bytes_max: usize,
    entries: Mutex<Entries>,
}

impl MatcherCache {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { bytes_max, entries: Mutex::default() }
    }

    /// What is kept of a matcher; `is_read` tells whether it counts as a use.
    pub(super) fn get(&self, local: u32, part: u64, matcher: &Matcher, is_read: bool) -> Option<Arc<RoaringBitmap>> {
        let key = Key::of(local, part, matcher);
        let mut entries = self.entries.lock();
        let Entries { by_key, by_use, uses, .. } = &mut *entries;
        let found = by_key.get_mut(&key).map(|entry| {
            if let Some(key) = by_use.remove(&entry.used) {
                *uses += 1;
                entry.used = *uses;
                by_use.insert(*uses, key);
            }
            Arc::clone(&entry.found)
        });
        drop(entries);
        if is_read {
            metrics::count_index_cache(found.is_some());
        }
        found
    }

    /// Keeps what a matcher found, unless it alone would take more than an eighth of the room.
    pub(super) fn insert(&self, local: u32, part: u64, matcher: &Matcher, found: &Arc<RoaringBitmap>) {
        let key = Arc::new(Key::of(local, part, matcher));
        let bytes = ENTRY_BYTES + key.matcher.len() + found.serialized_size();
        if bytes > self.bytes_max / 8 {
            return;
        }
        let mut entries = self.entries.lock();
        entries.uses += 1;
        let used = entries.uses;
        let entry = Entry { found: Arc::clone(found), bytes, used };
        entries.by_use.insert(used, Arc::clone(&key));
        entries.bytes += bytes;
        if let Some(before) = entries.by_key.insert(key, entry) {
            entries.by_use.remove(&before.used);
            entries.bytes -= before.bytes;
        }
        while entries.bytes > self.bytes_max {
            let Some((_, oldest)) = entries.by_use.pop_first() else { break };
            entries.bytes -= entries.by_key.remove(&oldest).map_or(0, |entry| entry.bytes);
        }
        metrics::set_index_cache_bytes(entries.bytes);
    }

    /// Forgets a segment.
    pub(crate) fn remove(&self, local: u32, part: u64) {
        let mut entries = self.entries.lock();
        let Entries { by_key, by_use, bytes, .. } = &mut *entries;
        by_key.retain(|key, entry| {
            let is_kept = key.local != local || key.part != part;
            if !is_kept {
                by_use.remove(&entry.used);
                *bytes -= entry.bytes;
            }
            is_kept
        });
        metrics::set_index_cache_bytes(*bytes);
    }
}

impl Key {
    fn of(local: u32, part: u64, matcher: &Matcher) -> Self {
        let Matcher { name, op, value, .. } = matcher;
        let sign = match op {
            MatchOp::Equal => "=",
            MatchOp::NotEqual => "!",
            MatchOp::Regex => "~",
            MatchOp::NotRegex => "^",
        };
        let length = name.len().to_string();
        Self { local, part, matcher: [length.as_str(), sign, name, value].concat().into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_used_longest_ago_goes_first_and_bytes_are_bounded() {
        let cache = MatcherCache::new(20_000);
        let found = Arc::new(RoaringBitmap::from_iter([1, 2, 3]));
        let matcher = |n: usize| Matcher::equal("a", format!("value {n:03}"));
        for n in 0..50 {
            cache.insert(1, 7, &matcher(n), &found);
            assert!(cache.get(1, 7, &matcher(0), true).is_some(), "the first is used all the time");
        }
        for n in 50..200 {
            cache.insert(2, 7, &matcher(n), &found);
            assert!(cache.get(1, 7, &matcher(0), true).is_some(), "the first is used all the time");
        }
        let entries = cache.entries.lock();
        assert!(entries.bytes <= 20_000 && entries.bytes > 19_000, "{}", entries.bytes);
        assert_eq!(entries.bytes, entries.by_key.values().map(|entry| entry.bytes).sum::<usize>());
        assert_eq!(entries.by_key.len(), entries.by_use.len());
        drop(entries);
        assert!(cache.get(1, 7, &matcher(1), true).is_none() && cache.get(2, 7, &matcher(199), true).is_some());
        cache.remove(2, 7);
        let entries = cache.entries.lock();
        assert_eq!((entries.by_key.len(), entries.by_use.len()), (1, 1));
        assert!(entries.bytes < 1000);
    }

    #[test]
    fn large_answers_are_not_kept_and_repeated_ones_count_once() {
        let cache = MatcherCache::new(8000);
        let large = Arc::new((0..10_000).step_by(3).collect::<RoaringBitmap>());
        cache.insert(1, 1, &Matcher::equal("a", "b"), &large);
        assert!(cache.get(1, 1, &Matcher::equal("a", "b"), false).is_none());
        let small = Arc::new(RoaringBitmap::new());
        (0..100).for_each(|_| cache.insert(1, 1, &Matcher::equal("a", "b"), &small));
        assert!(cache.entries.lock().bytes < 300);
    }
}
