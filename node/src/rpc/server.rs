//! Answers requests of other nodes.

use crate::cluster::{admin, loads};
use crate::ingest::route::{reply_of, write_local};
use crate::meta::MetaCommand;
use crate::meta::command::{decode, encode};
use crate::node::Node;
use crate::query::CancelOnDrop;
use crate::query::ask::{spec_of, to_wire};
use crate::query::execute::execute_local;
use crate::query::fragment_service::{read_local, to_frames};
use crate::query::scatter::{from_wire, status_of};
use crate::shard::LocalShard;
use crate::shard::runner::{Outcome, Part};
use bytes::Bytes;
use futures::StreamExt;
use futures::future::join_all;
use futures::stream::BoxStream;
use model::{ShardId, StoreId};
use proto::node::node_rpc_server::NodeRpc;
use proto::node::{
    AdminReply, AdminRequest, ExecuteFrame, ExecuteRequest, FetchMetaReply, FetchMetaRequest, Header, LoadsReply, LoadsRequest, PingReply,
    PingRequest, ProbeReply, ProbeRequest, ProposeMetaReply, ProposeMetaRequest, ReadFrame, ReadRequest, WriteReply, WriteRequest,
};
use raft::ProposeError;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tonic::{Request, Response, Status};

/// The service of a node that is part of a cluster.
#[derive(Clone, Debug)]
pub struct NodeService {
    node: Arc<Node>,
}

impl NodeService {
    /// Serves for `node`.
    #[must_use]
    pub fn new(node: Arc<Node>) -> Self {
        Self { node }
    }

    /// Checks that the caller is of this cluster; answers what is left of its deadline.
    #[allow(clippy::result_large_err)]
    fn admit(&self, header: Option<&Header>) -> Result<Duration, Status> {
        let header = header.ok_or_else(|| Status::invalid_argument("request without header"))?;
        let (ours, theirs) = (self.node.cluster_id(), &header.cluster_id);
        if !ours.is_empty() && !theirs.is_empty() && ours != *theirs {
            return Err(Status::permission_denied(format!("cluster id differs: ours is {ours}, theirs is {theirs}")));
        }
        Ok(Duration::from_millis(u64::from(header.timeout_ms)))
    }

    /// This node's replica of a shard of `workspace`.
    #[allow(clippy::result_large_err)]
    fn replica(&self, shard: u64, workspace: &str) -> Result<Arc<LocalShard>, Status> {
        let shard = ShardId(shard);
        let local = self.node.shards.get(shard).ok_or_else(|| Status::unavailable(format!("shard {shard} is not here")))?;
        if local.workspace.as_str() != workspace {
            return Err(Status::permission_denied(format!("shard {shard} is not of workspace {workspace}")));
        }
        Ok(local)
    }
}

#[tonic::async_trait]
impl NodeRpc for NodeService {
    type ReadStream = BoxStream<'static, Result<ReadFrame, Status>>;
    type ExecuteStream = BoxStream<'static, Result<ExecuteFrame, Status>>;

    async fn probe(&self, _: Request<ProbeRequest>) -> Result<Response<ProbeReply>, Status> {
        Ok(Response::new(probe_reply(&self.node.config, &self.node.identity.read())))
    }

    async fn ping(&self, request: Request<PingRequest>) -> Result<Response<PingReply>, Status> {
        let header = request.into_inner().header;
        self.admit(header.as_ref())?;
        let caller = StoreId(header.map_or(0, |header| header.from_store));
        Ok(Response::new(PingReply {
            now_ms: self.node.clock.now_ms(),
            store_id: self.node.store_id().0,
            unfit: !self.node.is_fit(),
            synced: self.node.groups.log_synced(),
            heard_synced: self.node.remembered_synced(caller),
            started: self.node.started,
        }))
    }

    async fn propose_meta(&self, request: Request<ProposeMetaRequest>) -> Result<Response<ProposeMetaReply>, Status> {
        let request = request.into_inner();
        let left = self.admit(request.header.as_ref())?;
        let group = self.node.groups.group(ShardId::META).ok_or_else(|| Status::failed_precondition("not a member of the meta group"))?;
        // What cannot be read must not get into the log: every replica would stop at it.
        decode::<MetaCommand>(&request.command).map_err(|e| Status::invalid_argument(e.to_string()))?;
        let answer = tokio::time::timeout(left, group.propose(request.command, None)).await;
        match answer {
            Ok(Ok(response)) => Ok(Response::new(ProposeMetaReply { response })),
            Ok(Err(e @ ProposeError::Unknown)) => Err(Status::unknown(e.to_string())),
            Ok(Err(e)) => Err(Status::failed_precondition(e.to_string())),
            Err(_) => Err(Status::deadline_exceeded("not committed in time")),
        }
    }

    async fn fetch_meta(&self, request: Request<FetchMetaRequest>) -> Result<Response<FetchMetaReply>, Status> {
        let request = request.into_inner();
        self.admit(request.header.as_ref())?;
        let meta = self.node.meta.get();
        let state = if meta.revision > request.revision { encode(meta.as_ref()) } else { Bytes::new() };
        Ok(Response::new(FetchMetaReply { revision: meta.revision, state }))
    }

    async fn write(&self, request: Request<WriteRequest>) -> Result<Response<WriteReply>, Status> {
        let request = request.into_inner();
        let left = self.admit(request.header.as_ref())?;
        let parts = join_all(request.parts.into_iter().map(|part| async move {
            let outcome = match <[u8; 16]>::try_from(part.batch_id.as_ref()) {
                Ok(id) => {
                    let part_of_shard = Part { batch_id: u128::from_le_bytes(id), generation: part.generation, rows: part.rows };
                    write_local(&self.node, ShardId(part.shard), part_of_shard, left).await
                }
                Err(_) => Outcome::Unavailable("batch id is not 16 bytes".to_owned()),
            };
            reply_of(outcome)
        }))
        .await;
        Ok(Response::new(WriteReply { parts }))
    }

    async fn read(&self, request: Request<ReadRequest>) -> Result<Response<Self::ReadStream>, Status> {
        let request = request.into_inner();
        let left = self.admit(request.header.as_ref())?;
        let local = self.replica(request.shard, &request.workspace)?;
        let spec = from_wire(&request)?;
        let cancel = CancelOnDrop::default();
        let found =
            read_local(&self.node, local, spec, Instant::now() + left, Arc::clone(&cancel.cancelled)).await.map_err(|e| status_of(&e))?;
        let frames = to_frames(&found).into_iter().map(|payload| Ok(ReadFrame { payload }));
        Ok(Response::new(futures::stream::iter(frames).boxed()))
    }

    async fn execute(&self, request: Request<ExecuteRequest>) -> Result<Response<Self::ExecuteStream>, Status> {
        let request = request.into_inner();
        let left = self.admit(request.header.as_ref())?;
        let local = self.replica(request.shard, &request.workspace)?;
        let spec = spec_of(&request)?;
        let deadline = Instant::now() + left;
        let cancel = CancelOnDrop::default();
        let frames = execute_local(&self.node, local, spec, deadline, Arc::clone(&cancel.cancelled)).await.map_err(|e| status_of(&e))?;
        // The stream owns the receiver and the flag: when the caller goes away both are dropped and the work ends.
        let frames = futures::stream::unfold((frames, cancel), |(mut frames, cancel)| async move {
            let sent = frames.recv().await?;
            Some((sent.map(|sent| to_wire(&sent)).map_err(|e| status_of(&e)), (frames, cancel)))
        });
        Ok(Response::new(frames.take_until(tokio::time::sleep_until(deadline)).boxed()))
    }

    async fn admin(&self, request: Request<AdminRequest>) -> Result<Response<AdminReply>, Status> {
        let request = request.into_inner();
        let left = self.admit(request.header.as_ref())?;
        admin::serve(&self.node, &request, left).await.map(Response::new)
    }

    async fn loads(&self, request: Request<LoadsRequest>) -> Result<Response<LoadsReply>, Status> {
        self.admit(request.get_ref().header.as_ref())?;
        Ok(Response::new(loads::own(&self.node)))
    }
}

/// What this node tells one that founds or joins.
#[must_use]
pub fn probe_reply(config: &crate::config::Config, identity: &crate::cluster::identity::Identity) -> ProbeReply {
    let membership = identity.membership.as_ref();
    ProbeReply {
        initial_nodes: crate::cluster::bootstrap::initial_nodes(config),
        incarnation: identity.incarnation.clone(),
        initialised: membership.is_some(),
        cluster_id: membership.and_then(|m| m.cluster_id.clone()).unwrap_or_default(),
        founders: membership.map(|m| m.founders.clone().into_iter().collect()).unwrap_or_default(),
    }
}

/// The service of a node that has neither founded nor joined: it answers probes only.
#[derive(Clone, Debug)]
pub struct ProbeOnly {
    /// What it answers.
    pub reply: ProbeReply,
}

const NOT_JOINED: &str = "this node has not joined a cluster";

#[tonic::async_trait]
impl NodeRpc for ProbeOnly {
    type ReadStream = BoxStream<'static, Result<ReadFrame, Status>>;
    type ExecuteStream = BoxStream<'static, Result<ExecuteFrame, Status>>;

    async fn probe(&self, _: Request<ProbeRequest>) -> Result<Response<ProbeReply>, Status> {
        Ok(Response::new(self.reply.clone()))
    }

    async fn ping(&self, _: Request<PingRequest>) -> Result<Response<PingReply>, Status> {
        Err(Status::unavailable(NOT_JOINED))
    }

    async fn propose_meta(&self, _: Request<ProposeMetaRequest>) -> Result<Response<ProposeMetaReply>, Status> {
        Err(Status::unavailable(NOT_JOINED))
    }

    async fn fetch_meta(&self, _: Request<FetchMetaRequest>) -> Result<Response<FetchMetaReply>, Status> {
        Err(Status::unavailable(NOT_JOINED))
    }

    async fn write(&self, _: Request<WriteRequest>) -> Result<Response<WriteReply>, Status> {
        Err(Status::unavailable(NOT_JOINED))
    }

    async fn read(&self, _: Request<ReadRequest>) -> Result<Response<Self::ReadStream>, Status> {
        Err(Status::unavailable(NOT_JOINED))
    }

    async fn execute(&self, _: Request<ExecuteRequest>) -> Result<Response<Self::ExecuteStream>, Status> {
        Err(Status::unavailable(NOT_JOINED))
    }

    async fn admin(&self, _: Request<AdminRequest>) -> Result<Response<AdminReply>, Status> {
        Err(Status::unavailable(NOT_JOINED))
    }

    async fn loads(&self, _: Request<LoadsRequest>) -> Result<Response<LoadsReply>, Status> {
        Err(Status::unavailable(NOT_JOINED))
    }
}
