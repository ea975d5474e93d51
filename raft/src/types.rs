//! openraft's generic parameters, pinned once. No other file names the type parameter's parts.

use bytes::Bytes;
use model::{LogPoint, ReplicaId};
use openraft::vote::{LeaderIdCompare, RaftLeaderId};
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;
use std::fmt;

/// An opaque byte string: what is proposed and what apply answers.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Blob(pub(crate) Bytes);

impl fmt::Debug for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Blob({} bytes)", self.0.len())
    }
}

impl fmt::Display for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

// openraft asks for serde wherever it is enabled; nothing here is ever stored or sent in serde's form.
impl Serialize for Blob {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Vec::<u8>::deserialize(deserializer).map(|bytes| Self(bytes.into()))
    }
}

/// What a membership says about a replica: the store that holds it. The address is looked up, never stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Node {
    pub(crate) store_id: u64,
}

/// A candidate or leader: standard Raft, at most one leader in a term.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LeaderId {
    pub(crate) term: u64,
    pub(crate) node: u64,
}

/// The leader of a term, once a quorum elected it. Totally ordered by term; the node only tells who it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct CommittedLeader {
    pub(crate) term: u64,
    pub(crate) node: u64,
}

impl PartialOrd for LeaderId {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        LeaderIdCompare::std(self, other)
    }
}

impl PartialEq<CommittedLeader> for LeaderId {
    fn eq(&self, _other: &CommittedLeader) -> bool {
        false
    }
}

impl PartialOrd<CommittedLeader> for LeaderId {
    fn partial_cmp(&self, other: &CommittedLeader) -> Option<Ordering> {
        // In one term an elected leader overrides every candidate.
        Some(self.term.cmp(&other.term).then(Ordering::Less))
    }
}

impl fmt::Display for LeaderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "T{}-N{}", self.term, self.node)
    }
}

impl fmt::Display for CommittedLeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "T{}-N{}", self.term, self.node)
    }
}

impl RaftLeaderId for LeaderId {
    type Term = u64;
    type NodeId = u64;
    type Committed = CommittedLeader;

    fn new(term: u64, node: u64) -> Self {
        Self { term, node }
    }

    fn term(&self) -> u64 {
        self.term
    }

    fn node_id(&self) -> &u64 {
        &self.node
    }

    fn to_committed(&self) -> CommittedLeader {
        CommittedLeader { term: self.term, node: self.node }
    }
}

openraft::declare_raft_types!(
    /// The one set of types that all groups use.
    pub(crate) TypeConfig:
        D = Blob,
        R = Blob,
        NodeId = u64,
        Node = Node,
        LeaderId = LeaderId,
);

pub(crate) type Raft = openraft::Raft<TypeConfig, crate::state_machine::Machine>;
pub(crate) type LogId = openraft::alias::LogIdOf<TypeConfig>;
pub(crate) type Vote = openraft::alias::VoteOf<TypeConfig>;
pub(crate) type Entry = openraft::alias::EntryOf<TypeConfig>;
pub(crate) type Payload = openraft::EntryPayload<Blob, u64, Node>;
pub(crate) type Membership = openraft::Membership<u64, Node>;
pub(crate) type StoredMembership = openraft::alias::StoredMembershipOf<TypeConfig>;
pub(crate) type SnapshotMeta = openraft::alias::SnapshotMetaOf<TypeConfig>;
pub(crate) type Metrics = openraft::RaftMetrics<TypeConfig>;

/// Our name of openraft's log id.
pub(crate) fn point_of(id: LogId) -> LogPoint {
    LogPoint { term: id.leader_id.term, leader: ReplicaId(id.leader_id.node), index: id.index }
}

/// openraft's name of our log point.
pub(crate) fn log_id_of(point: LogPoint) -> LogId {
    LogId::new(CommittedLeader { term: point.term, node: point.leader.0 }, point.index)
}
