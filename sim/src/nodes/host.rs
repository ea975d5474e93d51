//! The machine that a simulated node runs on.

use crate::clock::SimClock;
use crate::disk::LogDisk;
use crate::network::{self, Accepted};
use model::Clock;
use node::config::Address;
use node::host::{Host, Listen};
use parking_lot::Mutex;
use raft::transport::Dialer;
use raft::{FatalHandler, LogEngine, OpenError, RocksOptions};
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use turmoil::net::TcpListener;

/// A socket of the simulated network.
pub(super) struct SimListener(TcpListener);

impl Listen for SimListener {
    type Stream = Accepted;

    async fn accept(&self) -> io::Result<(Accepted, SocketAddr)> {
        let (stream, peer) = self.0.accept().await?;
        Ok((Accepted(stream), peer))
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct SimHost {
    pub(super) clock: SimClock,
    pub(super) log: Arc<LogDisk>,
    pub(super) fatal: Arc<Mutex<Option<String>>>,
}

impl Host for SimHost {
    type Listener = SimListener;

    async fn bind(&self, address: &Address) -> io::Result<SimListener> {
        network::listen(address.port()).await.map(SimListener)
    }

    fn dialer(&self) -> Dialer {
        network::dialer()
    }

    fn clock(&self) -> Arc<dyn Clock> {
        Arc::new(self.clock.clone())
    }

    fn open_log(&self, _path: &Path, _options: RocksOptions) -> Result<Arc<dyn LogEngine>, OpenError> {
        Ok(Arc::<LogDisk>::clone(&self.log))
    }

    fn fatal(&self) -> FatalHandler {
        let fatal = Arc::clone(&self.fatal);
        FatalHandler::new(move |error| {
            fatal.lock().get_or_insert_with(|| error.to_string());
        })
    }
}
