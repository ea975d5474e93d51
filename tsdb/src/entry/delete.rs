//! Deletes and what replicas tell of their days.

use super::{Kind, begin};
use crate::error::Corruption;
use crate::wire::{Reader, put_bytes, put_varint};
use bytes::Bytes;
use model::{MatchOp, Matcher, Timestamp};

/// What a replica holds of a day that is over, as a hash that replicas of the same log share. It changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DayDigest {
    /// Days since 1970.
    pub day: u16,
    /// The hash is of the state at this entry, and of every later one up to the next that changes the day.
    pub at_index: u64,
    /// Sum of the hashes of all (series, timestamp, bits).
    pub digest: u64,
}

/// A delete of series and of a span of time. It does not move entry time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delete {
    /// Newest revision of the shard map that the asker knows.
    pub known_revision: u64,
    /// First timestamp to delete.
    pub first_ms: Timestamp,
    /// Last timestamp to delete.
    pub last_ms: Timestamp,
    /// A series is meant if it satisfies all matchers of any set; no set may be empty.
    pub matcher_sets: Vec<Vec<Matcher>>,
}

/// Largest encoding of one set of matchers in a delete.
pub const MATCHERS_BYTES_MAX: usize = 64 << 10;

/// Encodes what a replica holds of a day.
#[must_use]
pub fn day_digest(digest: DayDigest) -> Bytes {
    let DayDigest { day, at_index, digest } = digest;
    let mut out = begin(Kind::DayDigest);
    out.extend_from_slice(&day.to_le_bytes());
    out.extend_from_slice(&at_index.to_le_bytes());
    out.extend_from_slice(&digest.to_le_bytes());
    out.into()
}

/// Encodes a delete.
///
/// # Errors
/// A set of matchers is empty or takes more than [`MATCHERS_BYTES_MAX`].
pub fn delete(delete: &Delete) -> Result<Bytes, DeleteError> {
    let Delete { known_revision, first_ms, last_ms, matcher_sets } = delete;
    let mut out = begin(Kind::Delete);
    out.extend_from_slice(&known_revision.to_le_bytes());
    out.extend_from_slice(&first_ms.to_le_bytes());
    out.extend_from_slice(&last_ms.to_le_bytes());
    put_varint(&mut out, matcher_sets.len() as u64);
    for matchers in matcher_sets {
        let from = out.len();
        put_matchers(&mut out, matchers);
        if matchers.is_empty() {
            return Err(DeleteError::NoMatcher);
        }
        if out.len() - from > MATCHERS_BYTES_MAX {
            return Err(DeleteError::TooLarge { bytes: out.len() - from });
        }
    }
    Ok(out.into())
}

/// Why a delete cannot be proposed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeleteError {
    /// A set without matchers would delete everything.
    #[error("a selector has no matcher")]
    NoMatcher,
    /// The matchers of one selector are too long.
    #[error("the matchers of a selector take {bytes} bytes, more than {MATCHERS_BYTES_MAX}")]
    TooLarge {
        /// What they take.
        bytes: usize,
    },
}

pub(super) fn read_delete(r: &mut Reader<'_>) -> Result<Delete, Corruption> {
    let known_revision = r.u64_le()?;
    let (first_ms, last_ms) = (i64::from_le_bytes(r.array()?), i64::from_le_bytes(r.array()?));
    let n = r.count(1)?;
    let matcher_sets = (0..n).map(|_| read_matchers(r)).collect::<Result<_, _>>()?;
    Ok(Delete { known_revision, first_ms, last_ms, matcher_sets })
}

/// Appends a set of matchers.
pub(crate) fn put_matchers(out: &mut Vec<u8>, matchers: &[Matcher]) {
    put_varint(out, matchers.len() as u64);
    for matcher in matchers {
        out.push(match matcher.op {
            MatchOp::Equal => 0,
            MatchOp::NotEqual => 1,
            MatchOp::Regex => 2,
            MatchOp::NotRegex => 3,
        });
        put_bytes(out, matcher.name.as_bytes());
        put_bytes(out, matcher.value.as_bytes());
    }
}

/// Takes what [`put_matchers`] wrote.
pub(crate) fn read_matchers(r: &mut Reader<'_>) -> Result<Vec<Matcher>, Corruption> {
    let n = r.count(3)?;
    let matcher = |r: &mut Reader<'_>| {
        let op = match r.u8()? {
            0 => MatchOp::Equal,
            1 => MatchOp::NotEqual,
            2 => MatchOp::Regex,
            3 => MatchOp::NotRegex,
            _ => return Err(Corruption::new("operator of a matcher")),
        };
        Matcher::new(r.text()?, op, r.text()?).map_err(|_| Corruption::new("pattern of a matcher"))
    };
    (0..n).map(|_| matcher(r)).collect()
}
