//! TCP proxies between the nodes, one per target node, and the cuts that they apply to directed pairs of nodes.
//!
//! A proxy learns which node opened a connection from the kernel's socket tables ([`owner`]), so cuts need no root.

pub mod owner;

use parking_lot::Mutex;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;

const CONNECTIONS_MAX: usize = 1024;
const CALLER_RETRIES: u32 = 20;
const CALLER_RETRY_DELAY: Duration = Duration::from_millis(5);

/// What happens to connections from one node to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    /// Bytes flow.
    Open,
    /// Connections are closed, new ones at once.
    Refused,
    /// Connections are closed; new ones are accepted and nothing is ever forwarded on them.
    BlackHole,
    /// Connections stay, and what is on its way arrives after the heal.
    Stalled,
}

/// Names one cut, to heal it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CutId(u64);

#[derive(Debug)]
struct Cut {
    id: CutId,
    pairs: Vec<(usize, usize)>,
    mode: Link,
}

/// The state of all directed links. Cuts may overlap; the newest that names a pair rules it.
#[derive(Debug)]
pub struct Links {
    cuts: Mutex<Vec<Cut>>,
    changes: watch::Sender<u64>,
    next: AtomicU64,
}

impl Default for Links {
    fn default() -> Self {
        Self { cuts: Mutex::default(), changes: watch::Sender::new(0), next: AtomicU64::new(0) }
    }
}

impl Links {
    /// Cuts every `(from, to)` of `pairs`.
    pub fn cut(&self, pairs: Vec<(usize, usize)>, mode: Link) -> CutId {
        let id = CutId(self.next.fetch_add(1, Ordering::Relaxed));
        self.cuts.lock().push(Cut { id, pairs, mode });
        self.changes.send_modify(|version| *version += 1);
        id
    }

    /// Ends one cut.
    pub fn heal(&self, id: CutId) {
        self.cuts.lock().retain(|cut| cut.id != id);
        self.changes.send_modify(|version| *version += 1);
    }

    /// Ends all cuts.
    pub fn heal_all(&self) {
        self.cuts.lock().clear();
        self.changes.send_modify(|version| *version += 1);
    }

    /// The state of connections that `from` opens to `to`.
    #[must_use]
    pub fn state(&self, from: usize, to: usize) -> Link {
        self.cuts.lock().iter().rev().find(|cut| cut.pairs.contains(&(from, to))).map_or(Link::Open, |cut| cut.mode)
    }

    /// Waits until the state of a link satisfies `wanted`.
    async fn until(&self, from: usize, to: usize, wanted: impl Fn(Link) -> bool) {
        let mut changes = self.changes.subscribe();
        while !wanted(self.state(from, to)) {
            if changes.changed().await.is_err() {
                return;
            }
        }
    }
}

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
        Link::Refused => return,
        Link::BlackHole => return links.until(from, to, |l| l != Link::BlackHole).await,
        Link::Stalled => links.until(from, to, |l| l != Link::Stalled).await,
        Link::Open => {}
    }
    let Ok(target) = TcpStream::connect(route.target).await else { return };
    let _slower = (caller.set_nodelay(true), target.set_nodelay(true));
    let ((caller_in, caller_out), (target_in, target_out)) = (caller.into_split(), target.into_split());
    let both = async { tokio::join!(pump(caller_in, target_out, from, route), pump(target_in, caller_out, from, route)) };
    tokio::select! {
        _ = both => {}
        () = links.until(from, to, |l| matches!(l, Link::Refused | Link::BlackHole)) => {}
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
        route.links.until(caller, route.to, |l| l != Link::Stalled).await;
        if to.write_all(&buffer[..n]).await.is_err() {
            break;
        }
    }
    let _gone = to.shutdown().await;
}

#[cfg(test)]
mod tests;
