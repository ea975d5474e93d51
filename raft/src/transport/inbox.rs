//! The receiving side: frames of one connection to the groups they name, answers back.

use super::append::UNACKED_MAX;
use super::{Arrived, Connection, Identity, convert};
use crate::config::RaftConfig;
use crate::error::BarrierError;
use crate::group::Group;
use crate::groups::Registry;
use crate::hibernate::GROUPS_MAX;
use crate::metrics;
use crate::snapshot::{self, Receivers};
use crate::types::TypeConfig;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt};
use model::{ReplicaId, ShardId};
use openraft::raft::AppendEntriesRequest;
use prost::Message;
use proto::raft::frame::Body;
use proto::raft::{
    Append, Block, Confirmation, Frame, HibernateAnswer, HibernateRequest, IdleGroup, NotLeader, ReadBarrierAnswer, ReadBarrierRequest,
    SnapshotAck, confirmation, snapshot_ack,
};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;

/// Groups one read barrier may name.
const BARRIER_SHARDS_MAX: usize = 4096;

/// Streams of one connection before ended ones are looked for.
const STREAMS_MAX: usize = 4096;

/// The part of a request's own waiting that its answer may wait for others: the requests came together already.
const ANSWER_SHARE: u32 = 4;
/// What is answered to a request that nobody waits for any more.
pub(super) const EXPIRED: &str = "the deadline passed before the request was served";

/// What is answered to a pre-vote that woke a replica whose leader is alive.
const ASLEEP: &str = "asleep until now, under a leader whose store is alive";

/// Delivers what arrives to this process's groups.
#[derive(Clone, Debug)]
pub struct Inbox {
    identity: Identity,
    registry: Arc<Registry>,
    receivers: Arc<Receivers>,
    disk_full: Arc<AtomicBool>,
    hibernate_after: Option<Duration>,
}

impl Inbox {
    pub(crate) fn new(identity: Identity, registry: Arc<Registry>, config: &RaftConfig) -> Self {
        let (disk_full, hibernate_after) = (Arc::clone(&config.disk_full), config.hibernate_after);
        Self { identity, registry, receivers: Arc::default(), disk_full, hibernate_after }
    }

    /// Who we are.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Serves one greeted connection until it ends.
    pub async fn serve(&self, connection: Connection) {
        let Connection { outgoing, mut incoming } = connection;
        let mut appends: HashMap<u64, mpsc::Sender<AppendEntriesRequest<TypeConfig>>> = HashMap::new();
        while let Some(Arrived { frame, deadline }) = incoming.recv().await {
            let Some(body) = frame.body else { continue };
            let answer = Answer {
                outgoing: outgoing.clone(),
                stream: frame.stream,
                sequence: frame.sequence,
                patience_ms: frame.patience_ms / ANSWER_SHARE,
            };
            if let Body::Closed(_) = body {
                appends.remove(&frame.stream);
                continue;
            }
            if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                // Nobody waits for it. Its exchange ends: what follows in it must not be answered in its place.
                appends.remove(&frame.stream);
                metrics::count_expired();
                answer.reject(EXPIRED.to_owned()).await;
                continue;
            }
            let Some(group) = self.registry.replica(ReplicaId(frame.to_replica)) else {
                appends.remove(&frame.stream);
                answer.reject(format!("replica {} is not here", frame.to_replica)).await;
                continue;
            };
            if self.wakes_refusing(&group, &body) {
                answer.reject(ASLEEP.to_owned()).await;
                continue;
            }
            match body {
                Body::Append(append) if !self.has_room(&group, &append) => {
                    appends.remove(&frame.stream);
                    answer.reject("too little free disk space".to_owned()).await;
                }
                Body::Append(append) => {
                    if let Err(reason) = deliver_append(&mut appends, &group, append, &answer) {
                        appends.remove(&frame.stream);
                        answer.reject(reason).await;
                    }
                }
                Body::Vote(_) | Body::Transfer(_) => {
                    tokio::spawn(async move { answer.send(call(&group, body).await).await });
                }
                _ => answer.reject("not a request".to_owned()).await,
            }
            if appends.len() > STREAMS_MAX {
                appends.retain(|_, stream| !stream.is_closed());
            }
        }
    }

    /// Wakes the group; true for a pre-vote that comes to one which slept under a leader whose store is alive: that leader is to show
    /// itself first.
    fn wakes_refusing(&self, group: &Group, body: &Body) -> bool {
        let is_use = matches!(body, Body::Append(append) if !append.entries.is_empty());
        if !group.wake(is_use) || !matches!(body, Body::Vote(request) if request.pre_vote) {
            return false;
        }
        let status = group.status();
        if status.is_leader {
            let group = group.clone();
            tokio::spawn(async move { group.show().await });
        }
        let silent = self.registry.silent();
        status.leader.is_some_and(|(_, store)| !silent.contains(&store))
    }

    /// Stops the timers of idle followers.
    pub(crate) fn hibernate(&self, request: &HibernateRequest) -> HibernateAnswer {
        let silent = self.registry.silent();
        let agrees = |idle: &IdleGroup| {
            let after = self.hibernate_after?;
            Some(self.registry.replica(ReplicaId(idle.to_replica))?.agree(idle, after, &silent))
        };
        HibernateAnswer { agreed: request.groups.iter().take(GROUPS_MAX).map(|idle| agrees(idle).unwrap_or(false)).collect() }
    }

    fn has_room(&self, group: &Group, append: &Append) -> bool {
        if self.disk_full.load(Ordering::Relaxed) {
            return passes_when_full(group, append);
        }
        group.inner.inherited_bytes.store(0, Ordering::Relaxed);
        true
    }

    /// Takes in one snapshot, header first.
    pub async fn receive_snapshot(&self, blocks: BoxStream<'static, Result<Block, String>>) -> SnapshotAck {
        let outcome = snapshot::receive(&self.receivers, &self.identity, &self.registry, blocks).await;
        let result = match outcome {
            Ok(vote) => snapshot_ack::Result::Vote(convert::vote_to_proto(&vote)),
            Err(reason) => snapshot_ack::Result::Rejected(reason),
        };
        SnapshotAck { result: Some(result) }
    }

    /// Confirms the leadership of many groups, all at once.
    pub async fn read_barrier(&self, request: &ReadBarrierRequest) -> ReadBarrierAnswer {
        let patience = Duration::from_millis(request.deadline_ms.into());
        let probes = request.shards.iter().take(BARRIER_SHARDS_MAX).map(|shard| self.probe(ShardId(*shard), patience));
        ReadBarrierAnswer { confirmations: futures::future::join_all(probes).await }
    }

    async fn probe(&self, shard: ShardId, patience: Duration) -> Confirmation {
        use confirmation::Result as Outcome;
        let result = match self.registry.shard(shard) {
            None => Outcome::NotOpen(true),
            Some(group) => match tokio::time::timeout(patience, group.read_barrier()).await {
                Ok(Ok(index)) => Outcome::Index(index),
                Ok(Err(BarrierError::NotLeader { leader })) => {
                    let (replica_id, store_id) = leader.map_or((0, 0), |(replica, store)| (replica.0, store.0));
                    Outcome::NotLeader(NotLeader { replica_id, store_id })
                }
                Ok(Err(BarrierError::Stopped)) => Outcome::NotOpen(true),
                Ok(Err(_)) | Err(_) => Outcome::NoQuorum(true),
            },
        };
        Confirmation { result: Some(result) }
    }
}

/// Whether a full disk takes an append. What clients wrote in the leader's own term is refused. A new leader's empty entry passes, or nobody
/// could read, and so do the few small entries of the meta group, by which the cluster is helped, and those of earlier terms: the empty
/// entry stands behind them. Earlier leaders had no more than their bound of proposals in flight, so a follower that a quorum needs lacks no
/// more than that; one that lags further is refused the rest.
fn passes_when_full(group: &Group, append: &Append) -> bool {
    if group.shard() == ShardId::META {
        return true;
    }
    let term = append.vote.map_or(0, |vote| vote.term);
    let mut inherited = 0;
    for entry in append.entries.iter().filter(|entry| convert::carries_payload(entry)) {
        if entry.log_id.is_none_or(|id| id.term >= term) {
            return false;
        }
        inherited += entry.encoded_len();
    }
    let max = group.inner.config.group_pending_bytes;
    let more = |taken: usize| taken.checked_add(inherited).filter(|taken| *taken <= max);
    group.inner.inherited_bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
}

/// Where an answer goes.
#[derive(Clone)]
struct Answer {
    outgoing: mpsc::Sender<Frame>,
    stream: u64,
    sequence: u64,
    /// How long it may wait for those of other groups.
    patience_ms: u32,
}

impl Answer {
    async fn send(&self, body: Body) {
        let (stream, sequence, patience_ms) = (self.stream, self.sequence, self.patience_ms);
        let frame = Frame { stream, sequence, patience_ms, body: Some(body), ..Frame::default() };
        // A broken connection ends the session by itself.
        let _ = self.outgoing.send(frame).await;
    }

    async fn reject(&self, reason: String) {
        self.send(Body::Rejected(reason)).await;
    }
}

/// Hands an append to its group's pipeline; the first of a stream id starts one.
fn deliver_append(
    appends: &mut HashMap<u64, mpsc::Sender<AppendEntriesRequest<TypeConfig>>>,
    group: &Group,
    append: Append,
    answer: &Answer,
) -> Result<(), String> {
    let request = convert::append_from_proto(append).map_err(|error| error.to_string())?;
    if request.vote.committed {
        group.note_leader();
    }
    let stream = match appends.get(&answer.stream) {
        Some(stream) => stream,
        // The exchange has ended here: what follows in it must not be taken for a new one.
        None if answer.sequence > 0 => return Err("the exchange has ended".to_owned()),
        None => {
            // As much room as the sender may have in flight, so that one slow group never stops the connection.
            let (sender, requests) = mpsc::channel(UNACKED_MAX + 1);
            let results = group.inner.raft.stream_append(ReceiverStream::new(requests));
            tokio::spawn(forward(results.boxed(), answer.clone()));
            appends.entry(answer.stream).or_insert(sender)
        }
    };
    stream.try_send(request).map_err(|error| match error {
        mpsc::error::TrySendError::Full(_) => "more appends in flight than agreed".to_owned(),
        mpsc::error::TrySendError::Closed(_) => "the exchange has ended".to_owned(),
    })
}

async fn forward<S>(mut results: S, mut answer: Answer)
where
    S: Stream<Item = Result<openraft::raft::StreamAppendResult<TypeConfig>, openraft::errors::Fatal<TypeConfig>>> + Unpin,
{
    while let Some(result) = results.next().await {
        match result {
            Ok(result) => answer.send(Body::AppendAnswer(convert::append_answer_to_proto(&result))).await,
            Err(fatal) => {
                answer.reject(fatal.to_string()).await;
                return;
            }
        }
        answer.sequence += 1;
    }
}

/// Votes, pre-votes and transfers: one request, one answer.
async fn call(group: &Group, body: Body) -> Body {
    let raft = &group.inner.raft;
    let outcome: Result<Body, String> = match body {
        Body::Vote(request) => match convert::vote_request_from_proto(&request) {
            Ok(vote) => {
                let answer = if request.pre_vote { raft.pre_vote(vote).await } else { raft.vote(vote).await };
                answer.map(|answer| Body::VoteAnswer(convert::vote_answer_to_proto(&answer))).map_err(|error| error.to_string())
            }
            Err(error) => Err(error.to_string()),
        },
        Body::Transfer(request) => match convert::transfer_from_proto(&request) {
            Ok(transfer) => {
                let answer = raft.handle_transfer_leader(transfer).await;
                answer.map(|answer| Body::TransferAnswer(convert::transfer_answer_to_proto(&answer))).map_err(|error| error.to_string())
            }
            Err(error) => Err(error.to_string()),
        },
        _ => Err("not a request".to_owned()),
    };
    outcome.unwrap_or_else(Body::Rejected)
}
