//! What stands in a log engine, decoded: for those who watch a replica from outside. Only for logs that are not encrypted.

use crate::log_store::{Codec, StateTag};
use crate::transport::convert;
use crate::types::{Payload, point_of};
use bytes::Bytes;
use model::seal::Seal;
use model::{LogPoint, ReplicaId, ShardId};
use std::collections::BTreeSet;
use std::io;

/// What an entry carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// Nothing: a new leader's first entry.
    Blank,
    /// What was proposed.
    Payload(Bytes),
    /// Each set of voters of which a majority is needed; two while a change is running.
    Voters(Vec<BTreeSet<ReplicaId>>),
}

/// A vote: for whom, in which term, and whether a quorum gave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VoteOf {
    /// The term.
    pub term: u64,
    /// The candidate, or the leader.
    pub replica: ReplicaId,
    /// True once it leads.
    pub committed: bool,
}

/// Decodes what one replica writes.
#[derive(Debug)]
pub struct Decoder(Codec);

impl Decoder {
    /// For one replica's values.
    #[must_use]
    pub fn new(shard: ShardId, replica: ReplicaId) -> Self {
        Self(Codec { seal: Seal::identity(), shard, replica })
    }

    /// An entry.
    ///
    /// # Errors
    /// The value is not one of this replica's.
    pub fn entry(&self, index: u64, value: &Bytes) -> io::Result<(LogPoint, Content)> {
        let entry = self.0.decode_entry(index, value)?;
        let content = match entry.payload {
            Payload::Blank => Content::Blank,
            Payload::Normal(blob) => Content::Payload(blob.0),
            Payload::Membership(membership) => {
                let sets = membership.get_joint_config().iter();
                Content::Voters(sets.map(|set| set.iter().map(|id| ReplicaId(*id)).collect()).collect())
            }
        };
        Ok((point_of(entry.log_id), content))
    }

    /// A vote.
    ///
    /// # Errors
    /// The value is not one of this replica's.
    pub fn vote(&self, value: &Bytes) -> io::Result<Option<VoteOf>> {
        let vote = self.0.decode_vote(value)?;
        Ok(vote.map(|vote| VoteOf { term: vote.leader_id.term, replica: ReplicaId(vote.leader_id.node), committed: vote.committed }))
    }

    /// A log point: the last purged or the last committed one.
    ///
    /// # Errors
    /// The value is not one of this replica's.
    pub fn point(&self, tag: StateTag, value: &Bytes) -> io::Result<Option<LogPoint>> {
        Ok(self.0.decode_log_id(tag, value)?.map(point_of))
    }
}

/// The voters of [`crate::Durable::membership`], in sets as [`Content::Voters`].
///
/// # Errors
/// The bytes are no membership.
pub fn voters_of(membership: &[u8]) -> io::Result<Vec<BTreeSet<ReplicaId>>> {
    let stored = convert::stored_membership_from_bytes(&Bytes::copy_from_slice(membership))?;
    let sets = stored.membership().get_joint_config().iter();
    Ok(sets.map(|set| set.iter().map(|id| ReplicaId(*id)).collect()).collect())
}
