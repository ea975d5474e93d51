//! The nodes as processes: ports, command lines, start, kill, pause.

use crate::check::{Breach, Findings};
use crate::proxy::owner::Pids;
use crate::proxy::{IdentifyCaller, Links, Proxy};
use rustix::process::{Pid, Signal, kill_process};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::sync::Mutex;

const STOP_GRACE: Duration = Duration::from_secs(30);
const LOG_TAIL_BYTES: usize = 2000;

/// What can go wrong while the cluster is set up.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// A file or directory.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The node's binary does not start.
    #[error("cannot start {binary}: {source}")]
    Spawn {
        /// Which.
        binary: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// No port to listen on.
    #[error("no free port on 127.0.0.1: {0}")]
    Port(std::io::Error),
}

/// The addresses and files of one node.
#[derive(Debug, Clone)]
pub struct NodeSpec {
    /// `node-1`, `node-2`, ...
    pub name: String,
    /// HTTP address.
    pub http: SocketAddr,
    /// Where the node listens for RPC.
    pub rpc: SocketAddr,
    /// The proxy in front of `rpc`: what other nodes are told.
    pub advertised: SocketAddr,
    /// Data directory.
    pub data: PathBuf,
    /// What the node prints.
    pub log: PathBuf,
}

#[derive(Debug, Default)]
struct Process {
    child: Option<Child>,
    paused: bool,
    /// Set when the harness has sent SIGKILL and not yet waited: the end that follows is not the node's own.
    doomed: bool,
}

/// All nodes of a run. Dropping it kills them.
#[derive(Debug)]
pub struct Cluster {
    binary: PathBuf,
    specs: Vec<NodeSpec>,
    processes: Vec<Mutex<Process>>,
    pids: Arc<Pids>,
    /// The network between the nodes.
    pub links: Arc<Links>,
    _proxies: Vec<Proxy>,
}

impl Cluster {
    /// Chooses ports and starts the proxies of `nodes` nodes with everything below `out`; no node runs yet.
    ///
    /// # Errors
    /// If a directory cannot be made or no port is free.
    pub async fn prepare(nodes: usize, binary: PathBuf, out: &Path) -> Result<Self, ClusterError> {
        let (links, pids) = (Arc::new(Links::default()), Arc::new(Pids::new(nodes)));
        let (mut specs, mut proxies, mut ports) = (Vec::new(), Vec::new(), Ports::new());
        let mut reserved = Vec::new();
        for i in 0..nodes {
            let data = out.join(format!("node-{}", i + 1));
            std::fs::create_dir_all(&data).map_err(|source| ClusterError::File { path: data.clone(), source })?;
            let (http, rpc, proxy) = (ports.listen().await?, ports.listen().await?, ports.listen().await?);
            let address = |l: &TcpListener| l.local_addr().map_err(ClusterError::Port);
            let spec = NodeSpec {
                name: format!("node-{}", i + 1),
                http: address(&http)?,
                rpc: address(&rpc)?,
                advertised: address(&proxy)?,
                log: out.join(format!("node-{}.log", i + 1)),
                data,
            };
            reserved.extend([http, rpc]);
            let known = Arc::clone(&pids);
            let identify: IdentifyCaller = Arc::new(move |caller, listener| known.caller(caller, listener));
            proxies.push(Proxy::start(proxy, i, spec.rpc, Arc::clone(&links), identify));
            specs.push(spec);
        }
        drop(reserved);
        let processes = specs.iter().map(|_| Mutex::new(Process::default())).collect();
        Ok(Self { binary, specs, processes, pids, links, _proxies: proxies })
    }

    /// The nodes' addresses and files.
    #[must_use]
    pub fn specs(&self) -> &[NodeSpec] {
        &self.specs
    }

    /// Starts a node that is down; a running one is left alone.
    ///
    /// # Errors
    /// If its log cannot be opened or the process not be started.
    pub async fn start(&self, node: usize) -> Result<(), ClusterError> {
        let mut process = self.processes[node].lock().await;
        if process.child.is_some() {
            return Ok(());
        }
        let spec = &self.specs[node];
        let file = |source| ClusterError::File { path: spec.log.clone(), source };
        let log = std::fs::OpenOptions::new().create(true).append(true).open(&spec.log).map_err(file)?;
        let peers: Vec<String> = self.specs.iter().map(|s| s.advertised.to_string()).collect();
        let child = Command::new(&self.binary)
            .arg("serve")
            .arg("--data")
            .arg(&spec.data)
            .args(["--web.listen-address", &spec.http.to_string()])
            .args(["--rpc.listen-address", &spec.rpc.to_string()])
            .args(["--rpc.advertise-address", &spec.advertised.to_string()])
            .args(["--node-name", &spec.name])
            .args(["--initial-nodes", &peers.join(",")])
            .stdin(Stdio::null())
            .stdout(log.try_clone().map_err(file)?)
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .map_err(|source| ClusterError::Spawn { binary: self.binary.clone(), source })?;
        self.pids.set(node, child.id());
        *process = Process { child: Some(child), ..Process::default() };
        Ok(())
    }

    /// Kills a node with SIGKILL and waits for its end; false if it was down.
    pub async fn kill(&self, node: usize) -> bool {
        let mut process = self.processes[node].lock().await;
        let Some(mut child) = process.child.take() else { return false };
        let _ended = child.kill().await;
        self.pids.set(node, None);
        *process = Process::default();
        true
    }

    /// Kills several nodes at the same moment; returns those that ran.
    pub async fn kill_together(&self, nodes: &[usize]) -> Vec<usize> {
        for node in nodes {
            let mut process = self.processes[*node].lock().await;
            process.doomed = send(&process, Signal::KILL);
        }
        let mut killed = Vec::new();
        for node in nodes {
            if self.kill(*node).await {
                killed.push(*node);
            }
        }
        killed
    }

    /// Stops a running node with SIGSTOP; false if it is down or stopped already.
    pub async fn pause(&self, node: usize) -> bool {
        let mut process = self.processes[node].lock().await;
        if process.paused || process.child.is_none() {
            return false;
        }
        process.paused = send(&process, Signal::STOP);
        process.paused
    }

    /// Lets a stopped node go on.
    pub async fn resume(&self, node: usize) {
        let mut process = self.processes[node].lock().await;
        send(&process, Signal::CONT);
        process.paused = false;
    }

    /// Whether a node runs and is not stopped.
    pub async fn is_running(&self, node: usize) -> bool {
        let process = self.processes[node].lock().await;
        process.child.is_some() && !process.paused
    }

    /// Notes and forgets nodes that ended without being killed by the harness.
    pub async fn reap(&self, findings: &Findings) -> Vec<usize> {
        let mut gone = Vec::new();
        for (node, process) in self.processes.iter().enumerate() {
            let mut process = process.lock().await;
            if process.doomed {
                continue;
            }
            let Some(status) = process.child.as_mut().and_then(|c| c.try_wait().ok().flatten()) else { continue };
            *process = Process::default();
            self.pids.set(node, None);
            let tail = self.log_tail(node);
            findings.note(Breach::Crash, node as u64, gone.len() as i64, || {
                format!("node-{} ended by itself: {status}; its log ends: {tail}", node + 1)
            });
            gone.push(node);
        }
        gone
    }

    /// Stops all nodes: SIGTERM, after a grace SIGKILL. Returns the nodes that had to be killed.
    pub async fn stop_all(&self) -> Vec<usize> {
        for node in 0..self.specs.len() {
            self.signal(node, Signal::CONT).await;
            self.signal(node, Signal::TERM).await;
        }
        let mut slow = Vec::new();
        let deadline = tokio::time::Instant::now() + STOP_GRACE;
        for (node, process) in self.processes.iter().enumerate() {
            let mut process = process.lock().await;
            let Some(mut child) = process.child.take() else { continue };
            if tokio::time::timeout_at(deadline, child.wait()).await.is_err() {
                let _ended = child.kill().await;
                slow.push(node);
            }
            self.pids.set(node, None);
        }
        slow
    }

    /// The end of a node's log.
    #[must_use]
    pub fn log_tail(&self, node: usize) -> String {
        let text = std::fs::read(&self.specs[node].log).unwrap_or_default();
        String::from_utf8_lossy(&text[text.len().saturating_sub(LOG_TAIL_BYTES)..]).trim().to_string()
    }

    /// Lines of the nodes' logs that tell of a panic, `(node, line)`.
    #[must_use]
    pub fn panics(&self) -> Vec<(usize, String)> {
        let lines = |(node, spec): (usize, &NodeSpec)| {
            let text = std::fs::read(&spec.log).unwrap_or_default();
            let text = String::from_utf8_lossy(&text).into_owned();
            text.lines().filter(|l| l.contains("panicked")).map(|l| (node, l.to_string())).collect::<Vec<_>>()
        };
        self.specs.iter().enumerate().flat_map(lines).collect()
    }

    async fn signal(&self, node: usize, signal: Signal) {
        send(&*self.processes[node].lock().await, signal);
    }
}

fn send(process: &Process, signal: Signal) -> bool {
    let pid = process.child.as_ref().and_then(Child::id).and_then(|pid| Pid::from_raw(pid as i32));
    pid.is_some_and(|pid| kill_process(pid, signal).is_ok())
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

    #[tokio::test]
    async fn a_node_that_ends_by_itself_is_a_finding_and_a_killed_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let script = dir.path().join("node");
        std::fs::write(&script, "#!/bin/sh\necho started \"$@\"\ncase \"$3\" in *node-1) exit 7;; esac\nexec sleep 60\n").unwrap();
        std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let cluster = Cluster::prepare(2, script, dir.path()).await.unwrap();
        let findings = Findings::default();
        for node in 0..2 {
            cluster.start(node).await.unwrap();
        }
        while cluster.reap(&findings).await.is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(findings.count(Breach::Crash), 1);
        assert!(findings.evidence()[0].contains("exit status: 7") && findings.evidence()[0].contains("started serve"));
        assert!(!cluster.is_running(0).await && cluster.is_running(1).await);
        assert!(cluster.pause(1).await && !cluster.pause(1).await && !cluster.is_running(1).await);
        assert_eq!(cluster.kill_together(&[0, 1]).await, vec![1]);
        assert!(cluster.reap(&findings).await.is_empty() && findings.count(Breach::Crash) == 1);
    }
}
