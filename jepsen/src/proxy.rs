//! TCP proxies between the nodes, one per target node, and the cuts that they apply to directed pairs of nodes.
//!
//! A proxy learns which node opened a connection from the kernel's socket tables ([`owner`]), so cuts need no root.

pub mod owner;

use crate::net::{Gate, Links};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

const CONNECTIONS_MAX: usize = 1024;
const CALLER_RETRIES: u32 = 20;
const CALLER_RETRY_DELAY: Duration = Duration::from_millis(5);

/// Tells which node opened a connection, from the caller's address and the proxy's.
pub type IdentifyCaller = Arc<dyn Fn(SocketAddr, SocketAddr) -> Option<usize> + Send + Sync>;

/// One running proxy; dropping it closes the listener and all connections.
pub struct Proxy {
    accept: JoinHandle<()>,
}

impl std::fmt::Debug for Proxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Proxy").finish_non_exhaustive()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accept.abort();
    }
}

struct Route {
    to: usize,
    target: SocketAddr,
    links: Arc<Links>,
    identify: IdentifyCaller,
}

impl Proxy {
    /// Forwards what `listener` accepts to `target`, which is node `to`.
    ///
    /// Connections whose caller cannot be told are closed.
    #[must_use]
    pub fn start(listener: TcpListener, to: usize, target: SocketAddr, links: Arc<Links>, identify: IdentifyCaller) -> Self {
        let route = Arc::new(Route { to, target, links, identify });
        Self { accept: tokio::spawn(accept(listener, route)) }
    }
}

async fn accept(listener: TcpListener, route: Arc<Route>) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = tokio::task::JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, peer)) => {
                let route = Arc::clone(&route);
                connections.spawn(async move {
                    serve(stream, peer, &route).await;
                    drop(slot);
                });
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

async fn serve(caller: TcpStream, peer: SocketAddr, route: &Route) {
    let Some(from) = identify(&caller, peer, route).await else { return };
    let (links, to) = (&route.links, route.to);
    match links.state(from, to) {
        Gate::Refused => return,
        Gate::BlackHole => return links.until(from, to, |l| l != Gate::BlackHole).await,
        Gate::Stalled => links.until(from, to, |l| l != Gate::Stalled).await,
        Gate::Open => {}
    }
    let Ok(target) = TcpStream::connect(route.target).await else { return };
    let _slower = (caller.set_nodelay(true), target.set_nodelay(true));
    let ((caller_in, caller_out), (target_in, target_out)) = (caller.into_split(), target.into_split());
    let both = async { tokio::join!(pump(caller_in, target_out, from, route), pump(target_in, caller_out, from, route)) };
    tokio::select! {
        _ = both => {}
        () = links.until(from, to, |l| matches!(l, Gate::Refused | Gate::BlackHole)) => {}
    }
}

async fn identify(caller: &TcpStream, peer: SocketAddr, route: &Route) -> Option<usize> {
    let local = caller.local_addr().ok()?;
    for _ in 0..CALLER_RETRIES {
        let identify = Arc::clone(&route.identify);
        if let Ok(Some(from)) = tokio::task::spawn_blocking(move || identify(peer, local)).await {
            return Some(from);
        }
        tokio::time::sleep(CALLER_RETRY_DELAY).await;
    }
    None
}

async fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, caller: usize, route: &Route) {
    let mut buffer = vec![0u8; 64 << 10];
    loop {
        let n = match from.read(&mut buffer).await {
            Ok(0) | Err(_) => break,
            Ok(n) => n,
        };
        route.links.until(caller, route.to, |l| l != Gate::Stalled).await;
        if to.write_all(&buffer[..n]).await.is_err() {
            break;
        }
    }
    let _gone = to.shutdown().await;
}

#[cfg(test)]
mod tests;
