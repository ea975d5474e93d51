//! What matchers found in segments: a segment never changes, so neither does the answer.

use crate::metrics;
use model::lru::ByteLru;
use model::{MatchOp, Matcher};
use parking_lot::Mutex;
use roaring::RoaringBitmap;
use std::sync::Arc;

/// What an entry costs beside its key's text and its bitmap, roughly.
const ENTRY_BYTES: usize = 200;

/// Which matcher over which segment.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Key {
    /// The node's own number of the data.
    local: u32,
    part: u64,
    /// The matcher: length of the name, operator, name and value.
    matcher: Box<str>,
}

/// Bitmaps of matchers over segments, of all shards of a node; those used longest ago go when a bound of bytes is met.
#[derive(Debug)]
pub(crate) struct MatcherCache(Mutex<ByteLru<Key, Arc<RoaringBitmap>>>);

impl MatcherCache {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self(Mutex::new(ByteLru::new(bytes_max as u64)))
    }

    /// What is kept of a matcher; `is_read` tells whether it is counted as a request.
    pub(super) fn get(&self, local: u32, part: u64, matcher: &Matcher, is_read: bool) -> Option<Arc<RoaringBitmap>> {
        let found = self.0.lock().get(&Key::of(local, part, matcher)).map(Arc::clone);
        if is_read {
            metrics::count_index_cache(found.is_some());
        }
        found
    }

    /// Keeps what a matcher found, unless it alone would take more than an eighth of the room.
    pub(super) fn insert(&self, local: u32, part: u64, matcher: &Matcher, found: &Arc<RoaringBitmap>) {
        let key = Key::of(local, part, matcher);
        let bytes = ENTRY_BYTES + key.matcher.len() + found.serialized_size();
        let mut kept = self.0.lock();
        kept.insert(key, Arc::clone(found), bytes as u64);
        metrics::set_index_cache_bytes(kept.bytes());
    }

    /// Forgets a segment.
    pub(crate) fn remove(&self, local: u32, part: u64) {
        let mut kept = self.0.lock();
        kept.retain(|key| key.local != local || key.part != part);
        metrics::set_index_cache_bytes(kept.bytes());
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
    fn answers_are_kept_for_one_matcher_over_one_segment_until_that_goes() {
        let cache = MatcherCache::new(20_000);
        let found = Arc::new(RoaringBitmap::from_iter([1, 2, 3]));
        let matchers = [Matcher::equal("a", "b"), Matcher::equal("ab", ""), Matcher::new("a", MatchOp::NotEqual, "b").unwrap()];
        for (local, part) in [(1, 7), (1, 8), (2, 7)] {
            cache.insert(local, part, &matchers[0], &found);
        }
        assert!(matchers[1..].iter().all(|other| cache.get(1, 7, other, true).is_none()));
        cache.remove(1, 7);
        let kept = [(1, 7), (1, 8), (2, 7)].map(|(local, part)| cache.get(local, part, &matchers[0], true).is_some());
        assert_eq!(kept, [false, true, true]);
        assert!(cache.0.lock().bytes() > 2 * ENTRY_BYTES as u64, "keys and bitmaps count too");
    }
}
