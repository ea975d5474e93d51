//! Sockets of the simulated network.

use futures::FutureExt;
use futures::stream::{self, BoxStream, StreamExt};
use model::StoreId;
use raft::transport::{Dialer, Wire};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tonic::transport::server::Connected;
use turmoil::net::{TcpListener, TcpStream};

/// The port of RPC on every store.
pub const RPC_PORT: u16 = 9481;
/// The port of HTTP on every store.
pub const HTTP_PORT: u16 = 9480;

/// The name of a store on the network.
#[must_use]
pub fn host_of(store: StoreId) -> String {
    format!("store-{store}")
}

/// Connects over the simulated network.
#[must_use]
pub fn dialer() -> Dialer {
    Dialer::simulated(|host, port| {
        async move {
            let stream = TcpStream::connect((host.as_str(), port)).await?;
            Ok(Box::new(stream) as Box<dyn Wire>)
        }
        .boxed()
    })
}

/// Listens on a port of this store.
///
/// # Errors
/// The port is taken.
pub async fn listen(port: u16) -> io::Result<TcpListener> {
    TcpListener::bind((IpAddr::V4(Ipv4Addr::UNSPECIFIED), port)).await
}

/// A connection that came in.
#[derive(Debug)]
pub struct Accepted(pub TcpStream);

impl Connected for Accepted {
    type ConnectInfo = Option<SocketAddr>;

    fn connect_info(&self) -> Self::ConnectInfo {
        self.0.peer_addr().ok()
    }
}

impl AsyncRead for Accepted {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Accepted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// Connections as they come in.
#[must_use]
pub fn incoming(listener: TcpListener) -> BoxStream<'static, io::Result<Accepted>> {
    let accept = |listener: TcpListener| async move {
        let accepted = listener.accept().await.map(|(stream, _)| Accepted(stream));
        Some((accepted, listener))
    };
    stream::unfold(listener, accept).boxed()
}
