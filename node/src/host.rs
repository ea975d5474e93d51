//! What a node takes from the machine that it runs on: sockets, clocks and the disk of its log. A simulation gives it others.

use crate::config::Address;
use crate::up;
use model::Clock;
use model::clock::SystemClock;
use raft::transport::Dialer;
use raft::{FatalHandler, LogEngine, OpenError, RocksEngine, RocksOptions};
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tonic::transport::server::Connected;

/// A bound socket.
pub trait Listen: Send + Sync + 'static {
    /// A connection.
    type Stream: AsyncRead + AsyncWrite + Connected + Send + Unpin + 'static;

    /// Waits for the next connection.
    ///
    /// # Errors
    /// See `accept(2)`.
    fn accept(&self) -> impl Future<Output = io::Result<(Self::Stream, SocketAddr)>> + Send;
}

impl Listen for TcpListener {
    type Stream = TcpStream;

    async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let (stream, peer) = TcpListener::accept(self).await?;
        // Requests are small and waited for. A socket that refuses the option is closed already; serving it finds out.
        let _ = stream.set_nodelay(true);
        Ok((stream, peer))
    }
}

/// A machine.
pub trait Host: Send + Sync + 'static {
    /// What it listens with.
    type Listener: Listen;

    /// Listens on an address.
    ///
    /// # Errors
    /// The address cannot be listened on.
    fn bind(&self, address: &Address) -> impl Future<Output = io::Result<Self::Listener>> + Send;

    /// How other nodes are reached.
    fn dialer(&self) -> Dialer;

    /// Its clocks.
    fn clock(&self) -> Arc<dyn Clock>;

    /// Opens the log of all groups.
    ///
    /// # Errors
    /// See [`OpenError`].
    fn open_log(&self, path: &Path, options: RocksOptions) -> Result<Arc<dyn LogEngine>, OpenError>;

    /// What happens when it is no longer known what is durable.
    fn fatal(&self) -> FatalHandler;
}

/// The machine that this process runs on.
#[derive(Clone, Copy, Debug, Default)]
pub struct System;

impl Host for System {
    type Listener = TcpListener;

    async fn bind(&self, address: &Address) -> io::Result<TcpListener> {
        up::bind(address).await
    }

    fn dialer(&self) -> Dialer {
        Dialer::default()
    }

    fn clock(&self) -> Arc<dyn Clock> {
        Arc::new(SystemClock::default())
    }

    fn open_log(&self, path: &Path, options: RocksOptions) -> Result<Arc<dyn LogEngine>, OpenError> {
        Ok(Arc::new(RocksEngine::open(path, options)?))
    }

    fn fatal(&self) -> FatalHandler {
        FatalHandler::default()
    }
}
