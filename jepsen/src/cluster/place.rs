//! Where nodes live: their addresses and files, and free ports on 127.0.0.1.

use super::{ClusterError, NodeSpec, Setup, Wires};
use crate::net::Links;
use crate::proxy::owner::Pids;
use crate::proxy::{IdentifyCaller, Proxy};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpListener;

/// The files of one node below `setup.out`, and the addresses it was given.
pub(super) fn spec(setup: &Setup, node: usize, [http, rpc, advertised]: [SocketAddr; 3]) -> NodeSpec {
    let name = format!("node-{}", node + 1);
    let own = setup.out.join(&name);
    NodeSpec {
        http,
        rpc,
        advertised,
        data: own.join("data"),
        log: setup.out.join(format!("{name}.log")),
        clock: setup.out.join(format!("{name}.clock")),
        name,
    }
}

/// Nodes on 127.0.0.1, each behind a proxy unless they are to reach each other without.
pub(super) async fn proxied(setup: &Setup, links: &Arc<Links>, pids: &Arc<Pids>) -> Result<(Vec<NodeSpec>, Wires), ClusterError> {
    let (mut specs, mut proxies, mut ports, mut reserved) = (Vec::new(), Vec::new(), Ports::new(), Vec::new());
    for i in 0..setup.nodes {
        let (http, rpc, proxy) = (ports.listen().await?, ports.listen().await?, ports.listen().await?);
        let address = |l: &TcpListener| l.local_addr().map_err(ClusterError::Port);
        let advertised = if setup.direct { address(&rpc)? } else { address(&proxy)? };
        let spec = spec(setup, i, [address(&http)?, address(&rpc)?, advertised]);
        reserved.extend([http, rpc]);
        if !setup.direct {
            let known = Arc::clone(pids);
            let identify: IdentifyCaller = Arc::new(move |caller, listener| known.caller(caller, listener));
            proxies.push(Proxy::start(proxy, i, spec.rpc, Arc::clone(links), identify));
        }
        specs.push(spec);
    }
    Ok((specs, Wires::Proxies { _running: proxies }))
}

/// Finds free ports below the range of outgoing connections, so that none of those takes a dead node's port, and in a block of this
/// process's own, so that no other run does.
struct Ports {
    next: u16,
    end: u16,
}

impl Ports {
    const FIRST: u16 = 10_000;
    const BLOCK: u16 = 32;
    const BLOCKS: u32 = 700;

    fn new() -> Self {
        // The remainder is below `BLOCKS`.
        let block = (std::process::id() % Self::BLOCKS) as u16;
        let next = Self::FIRST + block * Self::BLOCK;
        Self { next, end: next + Self::BLOCK }
    }

    async fn listen(&mut self) -> Result<TcpListener, ClusterError> {
        while self.next < self.end {
            let port = self.next;
            self.next += 1;
            if let Ok(listener) = TcpListener::bind(("127.0.0.1", port)).await {
                return Ok(listener);
            }
        }
        TcpListener::bind("127.0.0.1:0").await.map_err(ClusterError::Port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn ports_are_free_and_distinct() {
        let mut ports = Ports::new();
        let mut taken = Vec::new();
        for _ in 0..20 {
            taken.push(ports.listen().await.unwrap());
        }
        let mut numbers: Vec<u16> = taken.iter().map(|l| l.local_addr().unwrap().port()).collect();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), 20);
    }
}
