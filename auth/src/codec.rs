//! The encoding of what is replicated: JSON behind a version byte, as all records of the meta group.

use serde::{Deserialize, Serialize};

const VERSION: u8 = 1;

/// Why bytes are not what they should be.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// Written by a binary that knows more.
    #[error("unknown format version {0:?} of an access record")]
    Version(Option<u8>),
    /// Not the JSON it should be, or of an unknown kind.
    #[error("malformed access record: {0}")]
    Json(#[from] serde_json::Error),
}

/// Encodes a command, an answer, the directory or an audit record.
///
/// # Panics
/// Never: the types hold nothing that JSON cannot.
#[must_use]
pub fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    let mut out = vec![VERSION];
    serde_json::to_writer(&mut out, value).expect("access records have only text keys");
    out
}

/// Decodes what [`encode`] wrote. Costs the length of the bytes.
///
/// # Errors
/// See [`DecodeError`].
pub fn decode<T: for<'d> Deserialize<'d>>(bytes: &[u8]) -> Result<T, DecodeError> {
    match bytes.split_first() {
        Some((&VERSION, json)) => Ok(serde_json::from_slice(json)?),
        other => Err(DecodeError::Version(other.map(|(version, _)| *version))),
    }
}
