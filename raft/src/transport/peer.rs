//! openraft's network: one [`Peer`] a group and target replica.

use super::append::{self, AppendResult, unreachable};
use super::gather::PATIENCE_MAX;
use super::mux::Mux;
use super::{Lane, convert};
use crate::error::TransportError;
use crate::group::{Probes, Transfers};
use crate::snapshot::{self, Send as SnapshotSend, Senders};
use crate::state_machine::SnapshotData;
use crate::transport::Identity;
use crate::types::{CommittedLeader, Node, TypeConfig, Vote};
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, Stream, StreamExt};
use model::{ReplicaId, StoreId};
use openraft::errors::{RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::RPCOption;
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest, TransferLeaderResponse};
use openraft::raft::{VoteRequest, VoteResponse};
use openraft::{OptionalSend, RaftNetworkFactory, RaftNetworkV2, Snapshot};
use proto::raft::frame::Body;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// The part of its interval that a heartbeat may wait for others.
const HEARTBEAT_SHARE: u32 = 16;

/// Makes the peers of one group.
#[derive(Clone, Debug)]
pub(crate) struct PeerFactory {
    pub(crate) mux: Arc<Mux>,
    pub(crate) identity: Identity,
    pub(crate) replica: ReplicaId,
    pub(crate) transfers: Arc<Transfers>,
    pub(crate) senders: Arc<Senders>,
    pub(crate) probes: Arc<Probes>,
}

/// The way to one replica of one group.
#[derive(Debug)]
pub(crate) struct Peer {
    factory: PeerFactory,
    target: ReplicaId,
    store: StoreId,
    /// Where its appends go: heartbeats are appends without entries, on a connection of their own.
    lane: Lane,
}

impl PeerFactory {
    fn peer(&self, target: u64, node: &Node, lane: Lane) -> Peer {
        Peer { factory: self.clone(), target: ReplicaId(target), store: StoreId(node.store_id), lane }
    }
}

impl RaftNetworkFactory<TypeConfig> for PeerFactory {
    type Network = Peer;

    async fn new_client(&mut self, target: u64, node: &Node) -> Peer {
        self.peer(target, node, Lane::Log)
    }

    async fn new_heartbeat_client(&mut self, target: u64, node: &Node) -> Peer {
        self.peer(target, node, Lane::Control)
    }

    async fn new_snapshot_client(&mut self, target: u64, node: &Node) -> Peer {
        self.peer(target, node, Lane::Bulk)
    }
}

impl Peer {
    fn ids(&self) -> (ReplicaId, ReplicaId) {
        (self.factory.replica, self.target)
    }

    /// How long an append may wait for those of other groups: heartbeats may, unless a read waits for them.
    fn patience(&self, option: &RPCOption) -> Duration {
        if self.lane == Lane::Control && !self.factory.probes.are_running() {
            (option.hard_ttl() / HEARTBEAT_SHARE).min(PATIENCE_MAX)
        } else {
            Duration::ZERO
        }
    }

    async fn call(&self, body: Body, patience: Duration) -> Result<Body, TransportError> {
        let deadline = Instant::now() + patience;
        let open = self.factory.mux.open(self.store, Lane::Control, self.ids());
        let (mut requests, mut answers) =
            tokio::time::timeout_at(deadline, open).await.map_err(|_| TransportError::Timeout(self.store))??;
        requests.send(body, deadline).await?;
        answers.next(deadline).await
    }

    async fn ask_vote(
        &self,
        request: VoteRequest<TypeConfig>,
        pre_vote: bool,
        option: &RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        let body = Body::Vote(convert::vote_request_to_proto(&request, pre_vote));
        match self.call(body, option.soft_ttl()).await {
            Ok(Body::VoteAnswer(answer)) => convert::vote_answer_from_proto(&answer).map_err(malformed),
            Ok(_) => Err(malformed("answer of another kind")),
            Err(error) => Err(unreachable(&error)),
        }
    }
}

fn malformed(reason: impl ToString) -> RPCError<TypeConfig> {
    RPCError::Unreachable(Unreachable::from_string(reason))
}

impl RaftNetworkV2<TypeConfig> for Peer {
    type SnapshotData = SnapshotData;

    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<TypeConfig>, RPCError<TypeConfig>> {
        let input = futures::stream::iter([request]);
        let mut answers = self.stream_append(input, option).await?;
        answers.next().await.unwrap_or_else(|| Err(malformed("no answer"))).map(Into::into)
    }

    fn stream_append<'s, S>(
        &'s mut self,
        mut input: S,
        option: RPCOption,
    ) -> BoxFuture<'s, Result<BoxStream<'s, AppendResult>, RPCError<TypeConfig>>>
    where
        S: Stream<Item = AppendEntriesRequest<TypeConfig>> + OptionalSend + Unpin + 'static,
    {
        let opened = async move {
            // openraft waits after a failure where it hands out a request, so the first is taken before anything can fail: a peer that
            // refuses at once would otherwise be tried again at once, without end.
            let Some(first) = input.next().await else { return Ok(futures::stream::empty().boxed()) };
            let input = futures::stream::iter([first]).chain(input);
            let opened = self.factory.mux.open(self.store, self.lane, self.ids()).await;
            let (requests, answers) = opened.map_err(|error| unreachable(&error))?;
            let window = self.factory.mux.window(self.store);
            let requests = requests.with_patience(self.patience(&option));
            Ok(append::run((requests, answers), window, input) as BoxStream<'s, AppendResult>)
        };
        opened.boxed()
    }

    async fn vote(
        &mut self,
        request: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        self.ask_vote(request, false, &option).await
    }

    async fn pre_vote(
        &mut self,
        request: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        self.ask_vote(request, true, &option).await
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot<CommittedLeader, u64, Node, SnapshotData>,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        let SnapshotData::Local(source) = snapshot.snapshot else {
            return Err(StreamingError::Unreachable(Unreachable::from_string("the snapshot holds no data")));
        };
        let hold = self.factory.transfers.begin(snapshot.meta.last_log_id.map_or(0, |last| last.index));
        let request =
            SnapshotSend { hello: self.factory.identity.hello(), ids: self.ids(), store: self.store, vote, meta: snapshot.meta, source };
        let sent = snapshot::send(&self.factory.senders, self.factory.mux.transport(), request);
        let outcome = tokio::select! {
            closed = cancel => Err(StreamingError::Closed(closed)),
            sent = sent => sent.map(SnapshotResponse::new).map_err(|error| {
                tracing::warn!(replica = %self.target, store = %self.store, %error, "snapshot not taken");
                StreamingError::Unreachable(Unreachable::from_string(error))
            }),
        };
        drop(hold);
        outcome
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<TypeConfig>, RPCError<TypeConfig>> {
        match self.call(Body::Transfer(convert::transfer_to_proto(&request)), option.soft_ttl()).await {
            Ok(Body::TransferAnswer(answer)) => convert::transfer_answer_from_proto(&answer).map_err(malformed),
            Ok(_) => Err(malformed("answer of another kind")),
            Err(error) => Err(unreachable(&error)),
        }
    }
}
