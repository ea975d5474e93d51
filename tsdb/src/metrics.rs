//! Names of the metrics this crate counts.

use metrics::{Unit, counter, describe_counter, describe_gauge, gauge};

/// Rules of the replicated core found broken; must stay 0.
pub const INVARIANT_VIOLATIONS: &str = "flotilla_invariant_violations_total";

/// Metadata of families that a shard had no room for.
pub const METADATA_DROPPED: &str = "flotilla_metadata_dropped_total";

/// Series in the rows that a leader resolved, by how it found them.
pub const SERIES_LOOKUPS: &str = "flotilla_tsdb_series_lookup_total";

/// Matchers looked up in index segments, by whether their answer was kept.
pub const INDEX_CACHE: &str = "flotilla_index_cache_requests_total";

/// Bytes of kept answers.
pub const INDEX_CACHE_BYTES: &str = "flotilla_index_cache_bytes";

/// Describes every metric of this crate to the recorder.
pub fn describe() {
    describe_counter!(INVARIANT_VIOLATIONS, Unit::Count, "Rules of the replicated core found broken, by rule; must stay 0.");
    describe_counter!(METADATA_DROPPED, Unit::Count, "Metadata of metric families passed over because a shard keeps enough of them.");
    describe_counter!(
        INDEX_CACHE,
        Unit::Count,
        "Matchers looked up in the index of stored days, by whether the answer was kept in memory."
    );
    describe_gauge!(INDEX_CACHE_BYTES, Unit::Bytes, "Bytes of kept answers of matchers over the index of stored days.");
    for rule in ["C1", "C4"] {
        counter!(INVARIANT_VIOLATIONS, "rule" => rule).absolute(0);
    }
    describe_counter!(
        SERIES_LOOKUPS,
        Unit::Count,
        "Series in the rows that a leader resolved: predicted from the one before, found in the table, or new to the head."
    );
}

/// Counts a family that was not kept.
pub(crate) fn count_metadata_dropped() {
    counter!(METADATA_DROPPED).increment(1);
}

/// Counts a look-up of a matcher in a segment.
pub(crate) fn count_index_cache(is_hit: bool) {
    counter!(INDEX_CACHE, "result" => if is_hit { "hit" } else { "miss" }).increment(1);
}

/// Tells how many bytes of answers are kept.
pub(crate) fn set_index_cache_bytes(bytes: u64) {
    gauge!(INDEX_CACHE_BYTES).set(bytes as f64);
}

/// Counts a broken rule.
pub(crate) fn count_violation(rule: &'static str) {
    counter!(INVARIANT_VIOLATIONS, "rule" => rule).increment(1);
}

/// Counts the series of one part by how they were found.
pub(crate) fn count_lookups(predicted: u64, table: u64, new: u64) {
    for (way, count) in [("predicted", predicted), ("table", table), ("new", new)] {
        if count > 0 {
            counter!(SERIES_LOOKUPS, "way" => way).increment(count);
        }
    }
}
