//! The one pair of functions through which every value of both databases goes, Raft payloads included.
//!
//! Encryption at rest belongs here and nowhere else. This version knows one form: the identity behind a version byte.

use crate::ids::{ShardId, WorkspaceId};
use std::borrow::Cow;

const IDENTITY: u8 = 0;

/// What a sealed value is bound to: moving it elsewhere must not open.
#[derive(Clone, Copy, Debug)]
pub struct SealContext<'a> {
    /// Column family that holds the value.
    pub column_family: &'static str,
    /// Cluster-wide shard, not the node-local number.
    pub shard: ShardId,
    /// Key without its node-local prefix, so that snapshots and moves can re-key.
    pub key: &'a [u8],
    /// Whose value it is; the meta group's and the log's own values have none.
    pub workspace: Option<&'a WorkspaceId>,
}

/// Why a stored value could not be opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// The value has no version byte.
    #[error("sealed value is empty")]
    Empty,
    /// The value was written by a binary that knows more.
    #[error("sealed value has unknown version {0}")]
    UnknownVersion(u8),
}

/// Seals and opens stored values.
#[derive(Clone, Debug, Default)]
pub struct Seal;

impl Seal {
    /// Makes the sealer that keeps values readable.
    #[must_use]
    pub fn identity() -> Self {
        Self
    }

    /// Appends the sealed form of `value` to `out`.
    pub fn seal(&self, _context: SealContext<'_>, value: &[u8], out: &mut Vec<u8>) {
        out.reserve(value.len() + 1);
        out.push(IDENTITY);
        out.extend_from_slice(value);
    }

    /// Opens what [`Seal::seal`] wrote under the same context.
    ///
    /// # Errors
    /// The value is empty or of a version this binary does not know.
    pub fn open<'v>(&self, _context: SealContext<'_>, sealed: &'v [u8]) -> Result<Cow<'v, [u8]>, OpenError> {
        match sealed.split_first() {
            None => Err(OpenError::Empty),
            Some((&IDENTITY, value)) => Ok(Cow::Borrowed(value)),
            Some((&version, _)) => Err(OpenError::UnknownVersion(version)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sealed_value_opens_to_the_same_bytes_and_unknown_versions_are_refused() {
        let context = SealContext { column_family: "chunk", shard: ShardId(7), key: b"k", workspace: None };
        let mut out = Vec::new();
        Seal::identity().seal(context, b"value", &mut out);
        assert_eq!(out, b"\0value");
        assert_eq!(Seal::identity().open(context, &out).unwrap().as_ref(), b"value");
        assert_eq!(Seal::identity().open(context, b""), Err(OpenError::Empty));
        assert_eq!(Seal::identity().open(context, b"\x09value"), Err(OpenError::UnknownVersion(9)));
    }
}
