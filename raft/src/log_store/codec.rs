//! What a log value looks like, before it is sealed.
//!
//! Entry: `version u8 | kind u8 | term u64le | leader u64le | payload`. State values: `version u8 | present u8 | fields u64le…`.

use crate::transport::convert;
use crate::types::{Blob, CommittedLeader, Entry, LogId, Payload, Vote};
use bytes::{BufMut, Bytes};
use model::seal::{self, Seal, SealClass, SealContext};
use model::{ReplicaId, ShardId};
use prost::Message;
use std::borrow::Cow;

const VERSION: u8 = 1;
const KIND_BLANK: u8 = 0;
const KIND_NORMAL: u8 = 1;
const KIND_MEMBERSHIP: u8 = 2;
const HEADER_BYTES: usize = 18;

/// Why a stored value means nothing to this binary.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// The value did not open.
    #[error(transparent)]
    Open(#[from] seal::OpenError),
    /// The value could not be sealed.
    #[error(transparent)]
    Seal(#[from] seal::SealError),
    /// Too short.
    #[error("log value of {0} bytes is too short")]
    Truncated(usize),
    /// Written by a binary that knows more.
    #[error("log value has unknown version {0}")]
    UnknownVersion(u8),
    /// Written by a binary that knows more.
    #[error("log entry has unknown kind {0}")]
    UnknownKind(u8),
    /// The membership does not decode.
    #[error("membership in the log does not decode: {0}")]
    Membership(String),
}

impl From<CodecError> for std::io::Error {
    fn from(error: CodecError) -> Self {
        Self::new(std::io::ErrorKind::InvalidData, error)
    }
}

/// Seals and opens the values of one replica.
#[derive(Clone, Debug)]
pub(crate) struct Codec {
    pub(crate) seal: Seal,
    pub(crate) shard: ShardId,
    pub(crate) replica: ReplicaId,
}

impl Codec {
    fn context<'a>(&self, column_family: &'static str, key: &'a [u8]) -> SealContext<'a> {
        SealContext { column_family, shard: self.shard, key, class: SealClass::Store }
    }

    fn sealed(&self, column_family: &'static str, key: &[u8], plain: &[u8]) -> Result<Bytes, CodecError> {
        let mut out = Vec::new();
        self.seal.seal(self.context(column_family, key), plain, &mut out)?;
        Ok(out.into())
    }

    /// The stored form of an entry.
    pub(crate) fn encode_entry(&self, entry: &Entry) -> Result<Bytes, CodecError> {
        let membership;
        let (kind, payload): (u8, &[u8]) = match &entry.payload {
            Payload::Blank => (KIND_BLANK, &[]),
            Payload::Normal(blob) => (KIND_NORMAL, &blob.0),
            Payload::Membership(members) => {
                membership = convert::membership_to_proto(members).encode_to_vec();
                (KIND_MEMBERSHIP, &membership)
            }
        };
        let mut plain = Vec::with_capacity(HEADER_BYTES + payload.len());
        plain.put_u8(VERSION);
        plain.put_u8(kind);
        plain.put_u64_le(entry.log_id.leader_id.term);
        plain.put_u64_le(entry.log_id.leader_id.node);
        plain.put_slice(payload);
        self.sealed(super::keys::CF_LOG, &entry.log_id.index.to_be_bytes(), &plain)
    }

    /// Opens a stored entry. The payload shares the value's memory.
    pub(crate) fn decode_entry(&self, index: u64, sealed: &Bytes) -> Result<Entry, CodecError> {
        let key = index.to_be_bytes();
        let plain = match self.seal.open(self.context(super::keys::CF_LOG, &key), sealed)? {
            Cow::Borrowed(plain) => sealed.slice_ref(plain),
            Cow::Owned(plain) => plain.into(),
        };
        let (Some(&version), Some(&kind)) = (plain.first(), plain.get(1)) else { return Err(CodecError::Truncated(plain.len())) };
        if version != VERSION {
            return Err(CodecError::UnknownVersion(version));
        }
        let mut fields = U64s(plain.get(2..).unwrap_or_default());
        let (Some(term), Some(node)) = (fields.next(), fields.next()) else { return Err(CodecError::Truncated(plain.len())) };
        let body = plain.slice(HEADER_BYTES..);
        let payload = match kind {
            KIND_BLANK => Payload::Blank,
            KIND_NORMAL => Payload::Normal(Blob(body)),
            KIND_MEMBERSHIP => {
                let members = proto::raft::Membership::decode(body).map_err(|error| CodecError::Membership(error.to_string()))?;
                Payload::Membership(convert::membership_from_proto(&members).map_err(|error| CodecError::Membership(error.to_string()))?)
            }
            kind => return Err(CodecError::UnknownKind(kind)),
        };
        Ok(Entry { log_id: LogId::new(CommittedLeader { term, node }, index), payload })
    }

    fn encode_state(&self, tag: super::StateTag, fields: Option<[u64; 3]>) -> Result<Bytes, CodecError> {
        let mut plain = vec![VERSION, u8::from(fields.is_some())];
        for field in fields.into_iter().flatten() {
            plain.put_u64_le(field);
        }
        self.sealed(super::keys::CF_STATE, &[tag as u8], &plain)
    }

    fn decode_state(&self, tag: super::StateTag, sealed: &Bytes) -> Result<Option<[u64; 3]>, CodecError> {
        let key = [tag as u8];
        let plain = self.seal.open(self.context(super::keys::CF_STATE, &key), sealed)?;
        let (Some(&version), Some(&present)) = (plain.first(), plain.get(1)) else { return Err(CodecError::Truncated(plain.len())) };
        if version != VERSION {
            return Err(CodecError::UnknownVersion(version));
        }
        if present == 0 {
            return Ok(None);
        }
        let mut fields = U64s(plain.get(2..).unwrap_or_default());
        match (fields.next(), fields.next(), fields.next()) {
            (Some(a), Some(b), Some(c)) => Ok(Some([a, b, c])),
            _ => Err(CodecError::Truncated(plain.len())),
        }
    }

    /// The stored form of a vote.
    pub(crate) fn encode_vote(&self, vote: &Vote) -> Result<Bytes, CodecError> {
        self.encode_state(super::StateTag::Vote, Some([vote.leader_id.term, vote.leader_id.node, u64::from(vote.committed)]))
    }

    /// Opens a stored vote.
    pub(crate) fn decode_vote(&self, sealed: &Bytes) -> Result<Option<Vote>, CodecError> {
        Ok(self.decode_state(super::StateTag::Vote, sealed)?.map(|[term, node, committed]| {
            let mut vote = Vote::new(term, node);
            vote.committed = committed != 0;
            vote
        }))
    }

    /// The stored form of a log id.
    pub(crate) fn encode_log_id(&self, tag: super::StateTag, id: Option<LogId>) -> Result<Bytes, CodecError> {
        self.encode_state(tag, id.map(|id| [id.leader_id.term, id.leader_id.node, id.index]))
    }

    /// Opens a stored log id.
    pub(crate) fn decode_log_id(&self, tag: super::StateTag, sealed: &Bytes) -> Result<Option<LogId>, CodecError> {
        let fields = self.decode_state(tag, sealed)?;
        Ok(fields.map(|[term, node, index]| LogId::new(CommittedLeader { term, node }, index)))
    }
}

/// Reads little-endian words.
struct U64s<'a>(&'a [u8]);

impl Iterator for U64s<'_> {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        let (word, rest) = self.0.split_first_chunk::<8>()?;
        self.0 = rest;
        Some(u64::from_le_bytes(*word))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn codec() -> Codec {
        Codec { seal: Seal::identity(), shard: ShardId(7), replica: ReplicaId(1024) }
    }

    #[test]
    fn unknown_version_and_kind_are_refused() {
        let seal = |plain: &[u8]| Bytes::from([&[0u8], plain].concat());
        let mut plain = vec![VERSION, 9];
        plain.extend_from_slice(&[0; 16]);
        assert_eq!(codec().decode_entry(1, &seal(&plain)), Err(CodecError::UnknownKind(9)));
        plain[0] = 2;
        assert_eq!(codec().decode_entry(1, &seal(&plain)), Err(CodecError::UnknownVersion(2)));
        assert_eq!(codec().decode_entry(1, &seal(&[1, 1, 0])), Err(CodecError::Truncated(3)));
        assert_eq!(codec().decode_vote(&seal(&[2, 0])), Err(CodecError::UnknownVersion(2)));
    }

    proptest! {
        #[test]
        fn entries_and_state_come_back_as_they_went(term: u64, node: u64, index: u64, payload: Vec<u8>, committed: bool) {
            let id = LogId::new(CommittedLeader { term, node }, index);
            for payload in [Payload::Blank, Payload::Normal(Blob(payload.into()))] {
                let entry = Entry { log_id: id, payload };
                prop_assert_eq!(codec().decode_entry(index, &codec().encode_entry(&entry).unwrap()).unwrap(), entry);
            }
            let mut vote = Vote::new(term, node);
            vote.committed = committed;
            prop_assert_eq!(codec().decode_vote(&codec().encode_vote(&vote).unwrap()).unwrap(), Some(vote));
            let tag = super::super::StateTag::Purged;
            prop_assert_eq!(codec().decode_log_id(tag, &codec().encode_log_id(tag, Some(id)).unwrap()).unwrap(), Some(id));
            prop_assert_eq!(codec().decode_log_id(tag, &codec().encode_log_id(tag, None).unwrap()).unwrap(), None);
        }

        #[test]
        fn decoding_any_bytes_never_panics(bytes: Vec<u8>) {
            let bytes = Bytes::from(bytes);
            let _ = codec().decode_entry(1, &bytes);
            let _ = codec().decode_vote(&bytes);
        }
    }
}
