//! The accept loop: HTTP/1.1 and HTTP/2 without negotiation, bounded heads, bounded connections, graceful drain.

use super::asker::PeerAddress;
use crate::host::Listen;
use axum::Router;
use axum::http::Request;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use model::limits::HTTP_HEAD_BYTES_MAX;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tower::Service;

/// Pause after an accept that failed because the process has no file descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What connections may cost.
#[derive(Clone, Copy, Debug)]
pub struct ServeLimits {
    /// Connections open at once; further ones wait in the listener's backlog.
    pub connections: usize,
    /// Bytes of a request's head; more is 431.
    pub head_bytes: usize,
    /// Time from the first byte of a head to its last, and for an idle HTTP/1 connection to send one.
    pub head_time: Duration,
    /// Streams of one HTTP/2 connection at once.
    pub streams: u32,
    /// Time that open requests get after the shutdown began.
    pub drain: Duration,
}

impl Default for ServeLimits {
    fn default() -> Self {
        Self {
            connections: 16_384,
            head_bytes: HTTP_HEAD_BYTES_MAX,
            head_time: Duration::from_secs(75),
            streams: 250,
            drain: Duration::from_secs(30),
        }
    }
}

/// How a server ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drained {
    /// Connections cut because they outlived the drain.
    pub cut: usize,
}

/// Serves `router` on `listener` until `shutdown` completes; then takes no connection, lets open requests end, and cuts what is
/// left after [`ServeLimits::drain`]. Dropping the future cuts all connections.
pub async fn serve<L: Listen>(listener: L, router: Router, limits: ServeLimits, shutdown: impl Future<Output = ()>) -> Drained {
    let slots = Arc::new(Semaphore::new(limits.connections.min(Semaphore::MAX_PERMITS)));
    let draining = CancellationToken::new();
    let builder = connection_builder(&limits);
    let mut connections = JoinSet::new();
    tokio::pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            biased;
            () = &mut shutdown => break,
            Some(_) = connections.join_next() => continue,
            accepted = accept(&listener, &slots) => accepted,
        };
        match accepted {
            Ok((stream, peer, slot)) => {
                let (builder, router, draining) = (builder.clone(), router.clone(), draining.clone());
                connections.spawn(async move {
                    serve_connection(&builder, stream, peer, router, &draining).await;
                    drop(slot);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "accept");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    draining.cancel();
    let all_done = async { while connections.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(limits.drain, all_done).await;
    let cut = connections.len();
    connections.shutdown().await;
    Drained { cut }
}

async fn accept<L: Listen>(listener: &L, slots: &Arc<Semaphore>) -> io::Result<(L::Stream, PeerAddress, OwnedSemaphorePermit)> {
    let slot = Arc::clone(slots).acquire_owned().await.map_err(io::Error::other)?;
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => return Ok((stream, PeerAddress(peer), slot)),
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => return Err(error),
        }
    }
}

fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset)
}

/// Builds what speaks HTTP on one connection within `limits`.
#[must_use]
pub fn connection_builder(limits: &ServeLimits) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).max_buf_size(limits.head_bytes).header_read_timeout(limits.head_time);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(u32::try_from(limits.head_bytes).unwrap_or(u32::MAX))
        .max_concurrent_streams(limits.streams)
        .max_pending_accept_reset_streams(20)
        .keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(Duration::from_secs(20));
    builder
}

/// Serves one connection of any kind (plain or TLS) to its end; when `draining` is cancelled it ends after its open requests.
pub async fn serve_connection<I>(
    builder: &Builder<TokioExecutor>,
    stream: I,
    peer: PeerAddress,
    router: Router,
    draining: &CancellationToken,
) where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let connection = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(WithPeer { router, peer }));
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = draining.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "connection");
    }
}

/// The router of one connection: tells every request who sent it.
#[derive(Clone)]
struct WithPeer {
    router: Router,
    peer: PeerAddress,
}

impl<B> Service<Request<B>> for WithPeer
where
    Router: Service<Request<B>>,
{
    type Response = <Router as Service<Request<B>>>::Response;
    type Error = <Router as Service<Request<B>>>::Error;
    type Future = <Router as Service<Request<B>>>::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        <Router as Service<Request<B>>>::poll_ready(&mut self.router, cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        request.extensions_mut().insert(self.peer);
        self.router.call(request)
    }
}

#[cfg(test)]
mod tests;
