//! The tonic service: greets, then hands everything to the inbox.

use super::gather::{batches, frames};
use super::{Connection, FRAMES_WAITING_MAX, Inbox};
use futures::StreamExt;
use futures::stream::BoxStream;
use model::limits;
use proto::raft::frame::Body;
use proto::raft::raft_transport_server::{RaftTransport, RaftTransportServer};
use proto::raft::{Block, Frame, Frames, Hello, HibernateAnswer, HibernateRequest, ReadBarrierAnswer, ReadBarrierRequest, SnapshotAck};
use tokio::sync::mpsc;
use tonic::{Request, Response, Status, Streaming};

/// Serves the transport of one process.
#[derive(Clone, Debug)]
pub struct RaftService {
    inbox: Inbox,
}

/// The service to mount on a tonic server. Give that server `initial_stream_window_size(4 MiB)`,
/// `initial_connection_window_size(16 MiB)` and `tcp_nodelay(true)`.
#[must_use]
pub fn server(inbox: Inbox) -> RaftTransportServer<RaftService> {
    RaftTransportServer::new(RaftService { inbox })
        .max_decoding_message_size(limits::RPC_MESSAGE_BYTES_MAX)
        .max_encoding_message_size(limits::RPC_MESSAGE_BYTES_MAX)
}

impl RaftService {
    fn check(&self, hello: Option<&Hello>) -> Result<(), Status> {
        let hello = hello.ok_or_else(|| Status::failed_precondition(crate::HelloError::Missing.to_string()))?;
        let checked = self.inbox.identity().check(hello, None);
        checked.map(|_| ()).map_err(|error| Status::failed_precondition(error.to_string()))
    }
}

#[tonic::async_trait]
impl RaftTransport for RaftService {
    type PipeStream = BoxStream<'static, Result<Frames, Status>>;

    async fn pipe(&self, request: Request<Streaming<Frames>>) -> Result<Response<Self::PipeStream>, Status> {
        let mut messages = request.into_inner();
        let mut first = messages.message().await?.unwrap_or_default().frames.into_iter();
        let hello = match first.next().and_then(|frame| frame.body) {
            Some(Body::Hello(hello)) => Some(hello),
            _ => None,
        };
        self.check(hello.as_ref())?;
        let (outgoing, answers) = mpsc::channel(FRAMES_WAITING_MAX);
        let ours = Frame { body: Some(Body::Hello(self.inbox.identity().hello())), ..Frame::default() };
        outgoing.send(ours).await.map_err(|_| Status::internal("connection queue closed"))?;
        let connection = Connection { outgoing, incoming: frames(first.collect(), messages) };
        let inbox = self.inbox.clone();
        tokio::spawn(async move { inbox.serve(connection).await });
        Ok(Response::new(batches(answers).map(Ok).boxed()))
    }

    async fn snapshot(&self, request: Request<Streaming<Block>>) -> Result<Response<SnapshotAck>, Status> {
        let blocks = request.into_inner().map(|block| block.map_err(|status| status.to_string()));
        Ok(Response::new(self.inbox.receive_snapshot(blocks.boxed()).await))
    }

    async fn read_barrier(&self, request: Request<ReadBarrierRequest>) -> Result<Response<ReadBarrierAnswer>, Status> {
        let request = request.into_inner();
        self.check(request.hello.as_ref())?;
        Ok(Response::new(self.inbox.read_barrier(&request).await))
    }

    async fn hibernate(&self, request: Request<HibernateRequest>) -> Result<Response<HibernateAnswer>, Status> {
        let request = request.into_inner();
        self.check(request.hello.as_ref())?;
        Ok(Response::new(self.inbox.hibernate(&request)))
    }
}
