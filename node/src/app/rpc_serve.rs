//! The RPC listener: first only probes are answered on it, then, on the same socket, everything.

use crate::host::Listen;
use crate::rpc::client::message_bytes_max;
use crate::rpc::server::{NodeService, ProbeOnly};
use axum::http::{Request, Response};
use futures::StreamExt;
use futures::future::Either;
use futures::stream::BoxStream;
use proto::node::node_rpc_server::{NodeRpc, NodeRpcServer};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tonic::server::NamedService;
use tonic::transport::Server;
use tower::Service;

/// Raft's service as tonic takes it.
pub(super) type RaftServer = proto::raft::raft_transport_server::RaftTransportServer<raft::transport::RaftService>;

const STOP_PATIENCE: Duration = Duration::from_secs(2);

/// A bound RPC socket.
#[derive(Debug)]
pub(super) struct RpcServer<L> {
    listener: Arc<L>,
    running: Mutex<Option<Running>>,
}

/// Something that serves on the socket.
#[derive(Debug)]
pub(super) struct Running {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Running {
    /// Takes no more connections and ends those that are open.
    pub(super) async fn stop(mut self) {
        self.stop.cancel();
        if tokio::time::timeout(STOP_PATIENCE, &mut self.task).await.is_err() {
            self.task.abort();
        }
    }
}

impl<L: Listen> RpcServer<L> {
    pub(super) fn new(listener: L) -> Self {
        Self { listener: Arc::new(listener), running: Mutex::new(None) }
    }

    /// Answers probes until stopped.
    pub(super) fn serve_probes(&self, service: ProbeOnly) -> Running {
        self.run(node_rpc(service))
    }

    /// Serves everything until [`RpcServer::stop`].
    pub(super) fn serve(&self, service: NodeService, raft: RaftServer) {
        let running = self.run(ByPath { node: node_rpc(service), raft });
        *self.running.lock().unwrap_or_else(PoisonError::into_inner) = Some(running);
    }

    pub(super) async fn stop(self) {
        let running = self.running.into_inner().unwrap_or_else(PoisonError::into_inner);
        if let Some(running) = running {
            running.stop().await;
        }
    }

    fn run<S>(&self, service: S) -> Running
    where
        S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + Sync + 'static,
        S::Future: Send + 'static,
    {
        let stop = CancellationToken::new();
        let incoming = incoming(Arc::clone(&self.listener));
        let stopped = stop.clone().cancelled_owned();
        let task = tokio::spawn(async move {
            if let Err(e) = builder().serve_with_incoming_shutdown(service, incoming, stopped).await {
                tracing::error!(error = %e, "RPC server ended");
            }
        });
        Running { stop, task }
    }
}

fn node_rpc<T: NodeRpc>(service: T) -> NodeRpcServer<T> {
    NodeRpcServer::new(service).max_decoding_message_size(message_bytes_max()).max_encoding_message_size(message_bytes_max())
}

fn builder() -> Server {
    Server::builder()
        .tcp_nodelay(true)
        .http2_keepalive_interval(Some(Duration::from_secs(5)))
        .http2_keepalive_timeout(Some(Duration::from_secs(3)))
        .initial_stream_window_size(4 << 20)
        .initial_connection_window_size(16 << 20)
}

/// Both services on one socket: a gRPC path begins with the service's name.
#[derive(Clone)]
struct ByPath<N, R> {
    node: N,
    raft: R,
}

impl<N, R> Service<Request<Body>> for ByPath<N, R>
where
    N: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    R: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + NamedService,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Either<R::Future, N::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        match (self.node.poll_ready(cx), self.raft.poll_ready(cx)) {
            (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => Poll::Ready(Ok(())),
            _ => Poll::Pending,
        }
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let is_raft =
            request.uri().path().strip_prefix('/').and_then(|path| path.strip_prefix(R::NAME)).is_some_and(|rest| rest.starts_with('/'));
        if is_raft { Either::Left(self.raft.call(request)) } else { Either::Right(self.node.call(request)) }
    }
}

/// Connections of a listener that outlives the server.
fn incoming<L: Listen>(listener: Arc<L>) -> BoxStream<'static, std::io::Result<L::Stream>> {
    let accept = |listener: Arc<L>| async move {
        let accepted = listener.accept().await.map(|(stream, _)| stream);
        Some((accepted, listener))
    };
    futures::stream::unfold(listener, accept).boxed()
}
