//! Between wire messages and openraft's types.

use crate::transport::MESSAGE_BYTES_TARGET;
use crate::types::{Blob, CommittedLeader, Entry, LogId, Membership, Node, Payload, StoredMembership, TypeConfig, Vote};
use bytes::Bytes;
use model::planted::{self, Bug};
use openraft::raft::{AppendEntriesRequest, StreamAppendError, StreamAppendResult, TransferLeaderError, TransferLeaderRequest};
use openraft::raft::{TransferLeaderResponse, VoteRequest, VoteResponse};
use prost::Message;
use proto::raft as wire;
use std::collections::{BTreeMap, BTreeSet};

/// A message that lacks what every sender sends, or contradicts itself.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ConvertError {
    #[error("field {0} is missing")]
    Missing(&'static str),
    #[error("membership: {0}")]
    Membership(String),
    #[error("does not decode: {0}")]
    Decode(String),
}

impl From<ConvertError> for std::io::Error {
    fn from(error: ConvertError) -> Self {
        Self::new(std::io::ErrorKind::InvalidData, error)
    }
}

pub(crate) fn log_id_to_proto(id: LogId) -> wire::LogId {
    wire::LogId { term: id.leader_id.term, leader: id.leader_id.node, index: id.index }
}

pub(crate) fn log_id_from_proto(id: &wire::LogId) -> LogId {
    LogId::new(CommittedLeader { term: id.term, node: id.leader }, id.index)
}

pub(crate) fn vote_to_proto(vote: &Vote) -> wire::Vote {
    wire::Vote { term: vote.leader_id.term, leader: vote.leader_id.node, committed: vote.committed }
}

pub(crate) fn vote_from_proto(vote: Option<&wire::Vote>) -> Result<Vote, ConvertError> {
    let vote = vote.ok_or(ConvertError::Missing("vote"))?;
    let mut ours = Vote::new(vote.term, vote.leader);
    ours.committed = vote.committed;
    Ok(ours)
}

pub(crate) fn membership_to_proto(membership: &Membership) -> wire::Membership {
    let configs = membership.get_joint_config().iter();
    wire::Membership {
        configs: configs.map(|ids| wire::Voters { replica_ids: ids.iter().copied().collect() }).collect(),
        members: membership.nodes().map(|(id, node)| wire::Member { replica_id: *id, store_id: node.store_id }).collect(),
    }
}

pub(crate) fn membership_from_proto(membership: &wire::Membership) -> Result<Membership, ConvertError> {
    let mut configs: Vec<BTreeSet<u64>> = membership.configs.iter().map(|voters| voters.replica_ids.iter().copied().collect()).collect();
    let nodes: BTreeMap<u64, Node> =
        membership.members.iter().map(|member| (member.replica_id, Node { store_id: member.store_id })).collect();
    if planted::is(Bug::JointIgnored) && configs.len() > 1 {
        configs.remove(0);
    }
    if configs.is_empty() && nodes.is_empty() {
        return Ok(Membership::default());
    }
    Membership::new(configs, nodes).map_err(|error| ConvertError::Membership(error.to_string()))
}

pub(crate) fn stored_membership_to_proto(stored: &StoredMembership) -> wire::StoredMembership {
    wire::StoredMembership { log_id: stored.log_id().map(log_id_to_proto), membership: Some(membership_to_proto(stored.membership())) }
}

pub(crate) fn stored_membership_from_proto(stored: &wire::StoredMembership) -> Result<StoredMembership, ConvertError> {
    let membership = stored.membership.as_ref().map(membership_from_proto).transpose()?.unwrap_or_default();
    Ok(StoredMembership::new(stored.log_id.as_ref().map(log_id_from_proto), membership))
}

pub(crate) fn stored_membership_to_bytes(stored: &StoredMembership) -> Bytes {
    stored_membership_to_proto(stored).encode_to_vec().into()
}

pub(crate) fn stored_membership_from_bytes(bytes: &Bytes) -> Result<StoredMembership, ConvertError> {
    let stored = wire::StoredMembership::decode(bytes.clone()).map_err(|error| ConvertError::Decode(error.to_string()))?;
    stored_membership_from_proto(&stored)
}

fn entry_to_proto(entry: &Entry) -> wire::Entry {
    let payload = match &entry.payload {
        Payload::Blank => wire::entry::Payload::Blank(true),
        Payload::Normal(blob) => wire::entry::Payload::Normal(blob.0.clone()),
        Payload::Membership(members) => wire::entry::Payload::Membership(membership_to_proto(members)),
    };
    wire::Entry { log_id: Some(log_id_to_proto(entry.log_id)), payload: Some(payload) }
}

/// Whether an entry is something that was proposed.
pub(crate) fn carries_payload(entry: &wire::Entry) -> bool {
    matches!(entry.payload, Some(wire::entry::Payload::Normal(_)))
}

fn entry_from_proto(entry: wire::Entry) -> Result<Entry, ConvertError> {
    let log_id = log_id_from_proto(&entry.log_id.ok_or(ConvertError::Missing("log_id"))?);
    let payload = match entry.payload.ok_or(ConvertError::Missing("payload"))? {
        wire::entry::Payload::Blank(_) => Payload::Blank,
        wire::entry::Payload::Membership(members) => Payload::Membership(membership_from_proto(&members)?),
        // A decoded payload shares the memory of the whole message: a small one must not keep a large message alive in the tail cache.
        wire::entry::Payload::Normal(bytes) if bytes.len() < MESSAGE_BYTES_TARGET / 4 => {
            Payload::Normal(Blob(Bytes::copy_from_slice(&bytes)))
        }
        wire::entry::Payload::Normal(bytes) => Payload::Normal(Blob(bytes)),
    };
    Ok(Entry { log_id, payload })
}

pub(crate) fn append_to_proto(append: &AppendEntriesRequest<TypeConfig>) -> wire::Append {
    wire::Append {
        vote: Some(vote_to_proto(&append.vote)),
        prev: append.prev_log_id.map(log_id_to_proto),
        entries: append.entries.iter().map(entry_to_proto).collect(),
        commit: append.leader_commit.map(log_id_to_proto),
    }
}

pub(crate) fn append_from_proto(append: wire::Append) -> Result<AppendEntriesRequest<TypeConfig>, ConvertError> {
    Ok(AppendEntriesRequest {
        vote: vote_from_proto(append.vote.as_ref())?,
        prev_log_id: append.prev.as_ref().map(log_id_from_proto),
        entries: append.entries.into_iter().map(entry_from_proto).collect::<Result<_, _>>()?,
        leader_commit: append.commit.as_ref().map(log_id_from_proto),
    })
}

pub(crate) fn append_answer_to_proto(answer: &StreamAppendResult<TypeConfig>) -> wire::AppendAnswer {
    use wire::append_answer::Result as Answer;
    let result = match answer {
        Ok(matching) => Answer::Matching(wire::Matching { log_id: matching.map(log_id_to_proto) }),
        Err(StreamAppendError::Conflict(at)) if planted::is(Bug::ConflictAsMatch) => {
            Answer::Matching(wire::Matching { log_id: Some(log_id_to_proto(*at)) })
        }
        Err(StreamAppendError::Conflict(at)) => Answer::Conflict(log_id_to_proto(*at)),
        Err(StreamAppendError::HigherVote(vote)) => Answer::HigherVote(vote_to_proto(vote)),
    };
    wire::AppendAnswer { result: Some(result) }
}

pub(crate) fn append_answer_from_proto(answer: &wire::AppendAnswer) -> Result<StreamAppendResult<TypeConfig>, ConvertError> {
    use wire::append_answer::Result as Answer;
    Ok(match answer.result.as_ref().ok_or(ConvertError::Missing("result"))? {
        Answer::Matching(matching) => Ok(matching.log_id.as_ref().map(log_id_from_proto)),
        Answer::Conflict(at) => Err(StreamAppendError::Conflict(log_id_from_proto(at))),
        Answer::HigherVote(vote) => Err(StreamAppendError::HigherVote(vote_from_proto(Some(vote))?)),
    })
}

pub(crate) fn vote_request_to_proto(request: &VoteRequest<TypeConfig>, pre_vote: bool) -> wire::VoteRequest {
    wire::VoteRequest {
        vote: Some(vote_to_proto(&request.vote)),
        last: request.last_log_id.map(|id| log_id_to_proto(newest_if_planted(id, request.vote.leader_id.term))),
        leadership_transfer: request.leadership_transfer,
        pre_vote,
    }
}

fn newest_if_planted(id: LogId, term: u64) -> LogId {
    let newest = LogId::new(CommittedLeader { term, node: id.leader_id.node }, u64::from(u32::MAX));
    if planted::is(Bug::LogNotCompared) { newest } else { id }
}

pub(crate) fn vote_request_from_proto(request: &wire::VoteRequest) -> Result<VoteRequest<TypeConfig>, ConvertError> {
    let mut ours = VoteRequest::new(vote_from_proto(request.vote.as_ref())?, request.last.as_ref().map(log_id_from_proto));
    ours.leadership_transfer = request.leadership_transfer;
    Ok(ours)
}

pub(crate) fn vote_answer_to_proto(answer: &VoteResponse<TypeConfig>) -> wire::VoteAnswer {
    wire::VoteAnswer {
        vote: Some(vote_to_proto(&answer.vote)),
        granted: answer.vote_granted,
        last: answer.last_log_id.map(log_id_to_proto),
    }
}

pub(crate) fn vote_answer_from_proto(answer: &wire::VoteAnswer) -> Result<VoteResponse<TypeConfig>, ConvertError> {
    let vote = vote_from_proto(answer.vote.as_ref())?;
    Ok(VoteResponse::new(vote, answer.last.as_ref().map(log_id_from_proto), answer.granted))
}

pub(crate) fn transfer_to_proto(request: &TransferLeaderRequest<TypeConfig>) -> wire::Transfer {
    wire::Transfer {
        from_leader: Some(vote_to_proto(request.from_leader())),
        to_replica: *request.to_node_id(),
        last: request.last_log_id().copied().map(log_id_to_proto),
    }
}

pub(crate) fn transfer_from_proto(request: &wire::Transfer) -> Result<TransferLeaderRequest<TypeConfig>, ConvertError> {
    let from = vote_from_proto(request.from_leader.as_ref())?;
    Ok(TransferLeaderRequest::new(from, request.to_replica, request.last.as_ref().map(log_id_from_proto)))
}

pub(crate) fn transfer_answer_to_proto(answer: &TransferLeaderResponse<TypeConfig>) -> wire::TransferAnswer {
    use wire::transfer_answer::Result as Answer;
    let result = match answer {
        Ok(()) => Answer::Accepted(true),
        Err(TransferLeaderError::VoteChanged { expected, actual }) => {
            Answer::VoteChanged(wire::VoteChanged { expected: Some(vote_to_proto(expected)), actual: Some(vote_to_proto(actual)) })
        }
        Err(TransferLeaderError::LogNotFlushed { expected, actual }) => {
            Answer::LogNotFlushed(wire::LogNotFlushed { expected: expected.map(log_id_to_proto), actual: actual.map(log_id_to_proto) })
        }
    };
    wire::TransferAnswer { result: Some(result) }
}

pub(crate) fn transfer_answer_from_proto(answer: &wire::TransferAnswer) -> Result<TransferLeaderResponse<TypeConfig>, ConvertError> {
    use wire::transfer_answer::Result as Answer;
    Ok(match answer.result.as_ref().ok_or(ConvertError::Missing("result"))? {
        Answer::Accepted(_) => Ok(()),
        Answer::VoteChanged(changed) => Err(TransferLeaderError::VoteChanged {
            expected: vote_from_proto(changed.expected.as_ref())?,
            actual: vote_from_proto(changed.actual.as_ref())?,
        }),
        Answer::LogNotFlushed(not) => Err(TransferLeaderError::LogNotFlushed {
            expected: not.expected.as_ref().map(log_id_from_proto),
            actual: not.actual.as_ref().map(log_id_from_proto),
        }),
    })
}
