//! The RPC listener: first only probes are answered on it, then, on the same socket, everything.

use crate::rpc::client::message_bytes_max;
use crate::rpc::server::{ProbeOnly, Service};
use proto::node::node_rpc_server::{NodeRpc, NodeRpcServer};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_stream::Stream;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;

/// Raft's service as tonic takes it.
pub(super) type RaftServer = proto::raft::raft_transport_server::RaftTransportServer<raft::transport::RaftService>;

const STOP_PATIENCE: Duration = Duration::from_secs(2);

/// A bound RPC socket.
#[derive(Debug)]
pub(super) struct RpcServer {
    listener: Arc<TcpListener>,
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

impl RpcServer {
    pub(super) fn new(listener: TcpListener) -> Self {
        Self { listener: Arc::new(listener), running: Mutex::new(None) }
    }

    /// Answers probes until stopped.
    pub(super) fn serve_probes(&self, service: ProbeOnly) -> Running {
        self.run(builder().add_service(node_rpc(service)))
    }

    /// Serves everything until [`RpcServer::stop`].
    pub(super) fn serve(&self, service: Service, raft: RaftServer) {
        let running = self.run(builder().add_service(node_rpc(service)).add_service(raft));
        *self.running.lock().unwrap_or_else(PoisonError::into_inner) = Some(running);
    }

    pub(super) async fn stop(self) {
        let running = self.running.into_inner().unwrap_or_else(PoisonError::into_inner);
        if let Some(running) = running {
            running.stop().await;
        }
    }

    fn run(&self, router: tonic::transport::server::Router) -> Running {
        let stop = CancellationToken::new();
        let incoming = Incoming(Arc::clone(&self.listener));
        let stopped = stop.clone().cancelled_owned();
        let task = tokio::spawn(async move {
            if let Err(e) = router.serve_with_incoming_shutdown(incoming, stopped).await {
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

/// Connections of a listener that outlives the server.
struct Incoming(Arc<TcpListener>);

impl Stream for Incoming {
    type Item = std::io::Result<TcpStream>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_accept(cx).map(|accepted| {
            Some(accepted.map(|(stream, _)| {
                // Requests are small and waited for.
                let _ = stream.set_nodelay(true);
                stream
            }))
        })
    }
}
