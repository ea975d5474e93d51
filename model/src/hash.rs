//! Hashes of label sets and the choice of a shard. Frozen: stored data and routing depend on every bit.

use crate::labels::{Labels, METRIC_NAME};
use xxhash_rust::xxh3::{Xxh3, xxh3_128_with_seed};

/// Ends each name and each value; no UTF-8 text holds it.
const SEPARATOR: u8 = 0xff;

/// Feeds (name, value) pairs, sorted by name, into the hash that chooses a shard.
///
/// Labels that tell what a metric is (`__name__`, `__type__`, `__unit__`) and `le` take no part: one target's metrics and all buckets of
/// one histogram share a shard, and series that differ only in what operators drop with the name meet on one.
pub struct PlacementHasher(Box<Xxh3>);

impl std::fmt::Debug for PlacementHasher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PlacementHasher").finish_non_exhaustive()
    }
}

impl PlacementHasher {
    /// Starts a hash under the workspace's constant key.
    #[must_use]
    pub fn new(key: u64) -> Self {
        Self(Box::new(Xxh3::with_seed(key)))
    }

    /// Adds one label; pairs must come sorted by name.
    pub fn label(&mut self, name: &[u8], value: &[u8]) {
        if name == METRIC_NAME.as_bytes() || name == b"le" || name == b"__type__" || name == b"__unit__" {
            return;
        }
        self.0.update(name);
        self.0.update(&[SEPARATOR]);
        self.0.update(value);
        self.0.update(&[SEPARATOR]);
    }

    /// Ends the hash; the hasher starts anew.
    pub fn finish(&mut self) -> u64 {
        let digest = self.0.digest();
        self.0.reset();
        digest
    }
}

/// Hashes the labels that choose a shard, under the workspace's key.
#[must_use]
pub fn placement_hash(labels: &Labels, key: u64) -> u64 {
    let mut hasher = PlacementHasher::new(key);
    for (name, value) in labels {
        hasher.label(name.as_bytes(), value.as_bytes());
    }
    hasher.finish()
}

/// The replicated identity of a label set: 128 bits over name, 0xff, value, 0xff of all labels, sorted by name.
#[must_use]
pub fn fp128(labels: &Labels, key: u64) -> u128 {
    let mut bytes = Vec::with_capacity(256);
    for (name, value) in labels {
        bytes.extend_from_slice(name.as_bytes());
        bytes.push(SEPARATOR);
        bytes.extend_from_slice(value.as_bytes());
        bytes.push(SEPARATOR);
    }
    xxh3_128_with_seed(&bytes, key)
}

/// Chooses one of `buckets` for `key` so that adding a bucket moves only what goes there.
///
/// Source: Lamping and Veach, "A Fast, Minimal Memory, Consistent Hash Algorithm", 2014.
#[must_use]
pub fn jump_hash(mut key: u64, buckets: u32) -> u32 {
    let (mut chosen, mut next) = (0i64, 0i64);
    while next < i64::from(buckets) {
        chosen = next;
        key = key.wrapping_mul(2_862_933_555_777_941_757).wrapping_add(1);
        next = ((chosen + 1) as f64 * ((1u64 << 31) as f64 / ((key >> 33) + 1) as f64)) as i64;
    }
    u32::try_from(chosen).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        Labels::from_pairs(pairs.iter().copied())
    }

    #[test]
    fn c8_placement_hash_is_frozen() {
        let series =
            labels(&[("__name__", "http_request_duration_seconds_bucket"), ("instance", "a:9100"), ("job", "node"), ("le", "0.5")]);
        assert_eq!(placement_hash(&series, 0x5eed), placement_hash(&labels(&[("instance", "a:9100"), ("job", "node")]), 0x5eed));
        let typed = labels(&[("__type__", "histogram"), ("__unit__", "seconds"), ("instance", "a:9100"), ("job", "node")]);
        assert_eq!(placement_hash(&series, 0x5eed), placement_hash(&typed, 0x5eed));
        assert_eq!(placement_hash(&series, 0x5eed), GOLDEN_PLACEMENT);
        assert_eq!(fp128(&series, 0x5eed), GOLDEN_FP128);
    }

    const GOLDEN_PLACEMENT: u64 = 13_985_727_273_485_120_607;
    const GOLDEN_FP128: u128 = 178_287_484_567_160_376_834_204_311_136_520_341_929;

    #[test]
    fn jump_hash_moves_only_to_the_new_bucket() {
        for key in 0..2000u64 {
            let key = key.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            for n in 1..12 {
                let (old, new) = (jump_hash(key, n), jump_hash(key, n + 1));
                assert!(new == old || new == n, "key {key} went from {old} to {new} of {}", n + 1);
            }
        }
    }
}
