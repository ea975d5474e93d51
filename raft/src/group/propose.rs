//! Proposals: bounded by bytes, pipelined, answered by apply.

use super::{Group, leader_of};
use crate::error::ProposeError;
use crate::metrics;
use crate::types::{Blob, CommittedLeader, TypeConfig};
use bytes::Bytes;
use model::limits;
use model::planted::{self, Bug};
use openraft::errors::ClientWriteError;
use openraft::impls::ProgressResponder;
use std::fmt;
use std::sync::Arc;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

type Answer = openraft::raft::ClientWriteResult<TypeConfig>;

/// A payload that the group has taken in, in call order, and that apply will answer.
pub struct Proposal {
    answer: openraft::alias::OneshotReceiverOf<TypeConfig, Answer>,
    began: Instant,
    _room: [OwnedSemaphorePermit; 2],
}

impl fmt::Debug for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Proposal")
    }
}

impl Proposal {
    /// What apply answered. Dropping the future withdraws nothing.
    ///
    /// # Errors
    /// Not appended ([`ProposeError::NotLeader`]), or the outcome is not known ([`ProposeError::Unknown`]).
    pub async fn outcome(self) -> Result<Bytes, ProposeError> {
        let outcome = match self.answer.await {
            Ok(Ok(response)) => Ok(response.data.0),
            Ok(Err(ClientWriteError::ForwardToLeader(forward))) => Err(ProposeError::NotLeader { leader: leader_of(&forward) }),
            // Discarded, or the group stopped between append and apply.
            Ok(Err(_)) | Err(_) => Err(ProposeError::Unknown),
        };
        if outcome.is_ok() {
            metrics::observe_propose(self.began.elapsed());
        }
        outcome
    }
}

impl Group {
    /// Proposes `payload` and waits for apply's answer. With `expected_term` it is appended only in that term, by this leader.
    ///
    /// # Errors
    /// See [`ProposeError`]: only `Unknown` may have been, or may yet be, applied.
    pub async fn propose(&self, payload: Bytes, expected_term: Option<u64>) -> Result<Bytes, ProposeError> {
        let proposal = self.submit(payload, expected_term).await?;
        if planted::is(Bug::AckAtPropose) && self.role() == super::Role::Leader {
            return Ok(Bytes::new());
        }
        proposal.outcome().await
    }

    /// Hands `payload` to the group and returns once its place in the order is taken; [`Proposal::outcome`] waits for the answer.
    /// One caller's submissions are appended in order.
    ///
    /// # Errors
    /// See [`ProposeError`]; nothing was appended.
    pub async fn submit(&self, payload: Bytes, expected_term: Option<u64>) -> Result<Proposal, ProposeError> {
        let began = Instant::now();
        if payload.len() > limits::ENTRY_BYTES_MAX {
            return Err(ProposeError::TooLarge { bytes: payload.len(), max: limits::ENTRY_BYTES_MAX });
        }
        self.rouse().await;
        let room = self.reserve(payload.len())?;
        let (responder, answer) = ProgressResponder::complete_only();
        let mut write = self.inner.raft.write(Blob(payload)).responder(responder);
        if let Some(term) = expected_term {
            write = write.with_leader(CommittedLeader { term, node: self.inner.replica.0 });
        }
        write.await.map_err(|_| ProposeError::Stopped)?;
        Ok(Proposal { answer, began, _room: room })
    }

    /// Proposes many payloads at once, in order; each has its own answer.
    ///
    /// # Errors
    /// The first refusal to take one in; those before it are in flight and answered as if alone.
    pub async fn propose_many(&self, payloads: Vec<Bytes>, expected_term: Option<u64>) -> Vec<Result<Bytes, ProposeError>> {
        let mut proposals = Vec::with_capacity(payloads.len());
        let mut refused = None;
        for payload in payloads {
            // After one refusal the rest must not overtake it.
            let proposal = match &refused {
                Some(error) => Err(ProposeError::clone(error)),
                None => self.submit(payload, expected_term).await,
            };
            refused = refused.or_else(|| proposal.as_ref().err().cloned());
            proposals.push(proposal);
        }
        let mut outcomes = Vec::with_capacity(proposals.len());
        for proposal in proposals {
            outcomes.push(match proposal {
                Ok(proposal) => proposal.outcome().await,
                Err(error) => Err(error),
            });
        }
        outcomes
    }

    fn reserve(&self, bytes: usize) -> Result<[OwnedSemaphorePermit; 2], ProposeError> {
        let permits = u32::try_from(bytes.max(1)).unwrap_or(u32::MAX);
        let take = |room: &Arc<tokio::sync::Semaphore>| {
            Arc::clone(room).try_acquire_many_owned(permits).map_err(|error| match error {
                tokio::sync::TryAcquireError::Closed => ProposeError::Stopped,
                tokio::sync::TryAcquireError::NoPermits => ProposeError::Overloaded,
            })
        };
        Ok([take(&self.inner.room)?, take(&self.inner.node_room)?])
    }
}
