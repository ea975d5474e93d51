//! What a shard tells about writes into a range of time, as it travels between nodes.
//!
//! ```text
//! shard u64 | applied u64 | began u64 | has_older u8 | older_end_ms i64 | older_entry u64 | (span_ms i64 | entry u64)*     (little-endian)
//! ```

use model::{ShardId, Timestamp};
use std::collections::BTreeMap;
use tsdb::rows::RowError;
use tsdb::{Changes, TimeRange};

/// Entries of each shard's log that a result is known to include.
pub type Versions = BTreeMap<ShardId, u64>;

/// What one shard tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardChanges {
    /// Which shard.
    pub shard: ShardId,
    /// Every entry up to this one was applied before it was asked: a read that begins afterwards sees all of them.
    pub applied: u64,
    /// Which spans were written by which entries.
    pub changes: Changes,
}

impl ShardChanges {
    /// Appends the encoding.
    pub fn put(&self, out: &mut Vec<u8>) {
        let Self { shard, applied, changes: Changes { began, older, spans } } = self;
        let (end_ms, entry) = older.unwrap_or_default();
        for word in [shard.0, *applied, *began] {
            out.extend_from_slice(&word.to_le_bytes());
        }
        out.push(u8::from(older.is_some()));
        put_span(out, end_ms, entry);
        for (start_ms, entry) in spans {
            put_span(out, *start_ms, *entry);
        }
    }

    /// Reads what [`ShardChanges::put`] wrote.
    ///
    /// # Errors
    /// The bytes are malformed.
    pub fn read(bytes: &[u8]) -> Result<Self, RowError> {
        let malformed = || RowError { offset: 0, detail: "changes of a shard are malformed" };
        let (head, spans) = bytes.split_at_checked(HEAD_BYTES).ok_or_else(malformed)?;
        let word = |at: usize| head.get(at..at + 8).and_then(|b| b.try_into().ok()).map(u64::from_le_bytes).ok_or_else(malformed);
        let older = match head[24] {
            0 => None,
            1 => Some((word(25)?.cast_signed(), word(33)?)),
            _ => return Err(malformed()),
        };
        let pairs = spans.chunks_exact(16);
        if !pairs.remainder().is_empty() {
            return Err(malformed());
        }
        let half = |b: &[u8]| b.try_into().map(u64::from_le_bytes).map_err(|_| malformed());
        let spans = pairs.map(|pair| Ok((half(&pair[..8])?.cast_signed(), half(&pair[8..])?))).collect::<Result<_, RowError>>()?;
        Ok(Self { shard: ShardId(word(0)?), applied: word(8)?, changes: Changes { began: word(16)?, older, spans } })
    }
}

const HEAD_BYTES: usize = 41;

/// What a result includes that was read after the shards told this.
#[must_use]
pub fn versions(changes: &[ShardChanges]) -> Versions {
    changes.iter().map(|told| (told.shard, told.applied)).collect()
}

/// What two results of one shard map include together: of shards that both read the entries that both include.
#[must_use]
pub fn earlier(a: &Versions, b: &Versions) -> Versions {
    let mut common = a.clone();
    for (shard, index) in b {
        common.entry(*shard).and_modify(|known| *known = (*known).min(*index)).or_insert(*index);
    }
    common
}

/// The first millisecond of `ranges` that was written after `versions`.
#[must_use]
pub fn first_change(changes: &[ShardChanges], ranges: &[TimeRange], versions: &Versions) -> Option<Timestamp> {
    let of_shard = |told: &ShardChanges| {
        let known = versions.get(&told.shard).copied().unwrap_or(0);
        ranges.iter().filter_map(|range| told.changes.first_after(*range, known)).min()
    };
    changes.iter().filter_map(of_shard).min()
}

/// The span from the first to the last of `ranges`; an empty one if there are none.
#[must_use]
pub fn hull(ranges: impl IntoIterator<Item = TimeRange>) -> TimeRange {
    let wider = |a: TimeRange, b: TimeRange| TimeRange { after_ms: a.after_ms.min(b.after_ms), to_ms: a.to_ms.max(b.to_ms) };
    ranges.into_iter().reduce(wider).unwrap_or(TimeRange { after_ms: 0, to_ms: 0 })
}

fn put_span(out: &mut Vec<u8>, ms: Timestamp, entry: u64) {
    out.extend_from_slice(&ms.to_le_bytes());
    out.extend_from_slice(&entry.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_come_back_as_they_were_and_cut_ones_are_errors() {
        let mut changes = Changes::since(3);
        changes.note(-7_000_000, 9_000_000, 8);
        for older in [None, Some((-9_000_000, 5))] {
            let told = ShardChanges { shard: ShardId(9), applied: 12, changes: Changes { older, ..changes.clone() } };
            let mut bytes = Vec::new();
            told.put(&mut bytes);
            assert_eq!(ShardChanges::read(&bytes).unwrap(), told);
            for cut in (0..bytes.len()).filter(|cut| cut % 16 != HEAD_BYTES % 16) {
                assert!(ShardChanges::read(&bytes[..cut]).is_err(), "cut at {cut}");
            }
        }
    }
}
