//! The nodes as processes: ports, command lines, start, kill, pause.

use crate::check::{Breach, Findings};
use crate::clock;
use crate::disk::Disk;
use crate::net::Links;
use crate::proxy::owner::Pids;
use crate::proxy::{IdentifyCaller, Proxy};
use crate::switch::{Switch, SwitchError, address};
use crate::tool::ToolError;
use rustix::process::{Pid, Signal, kill_process};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::sync::Mutex;

const STOP_GRACE: Duration = Duration::from_secs(30);
const LOG_TAIL_BYTES: usize = 2000;
/// What the log of a node says that refuses damaged files.
const REFUSAL: &str = "corrupt";
const HTTP_PORT: u16 = 9480;
const RPC_PORT: u16 = 9481;

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
    /// A system program that a disk needs.
    #[error(transparent)]
    Tool(#[from] ToolError),
    /// The switched network.
    #[error(transparent)]
    Switch(#[from] SwitchError),
}

/// What the nodes of a run stand on.
#[derive(Debug, Clone, Default)]
pub struct Setup {
    /// How many nodes.
    pub nodes: usize,
    /// The node's binary.
    pub binary: PathBuf,
    /// Where everything goes; exists.
    pub out: PathBuf,
    /// Seed of what the network does to single packets.
    pub seed: u64,
    /// Namespaces and a switch in place of proxies on 127.0.0.1.
    pub switched: bool,
    /// A disk of its own for each node.
    pub disks: bool,
    /// Wall clocks that can be shifted.
    pub clocks: bool,
    /// More flags for every node.
    pub flags: Vec<String>,
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
    /// The file that shifts the node's clock.
    pub clock: PathBuf,
}

#[derive(Debug)]
enum Wires {
    Proxies { _running: Vec<Proxy> },
    Switch(Switch),
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
    // Before the disks, which cannot be unmounted while a node runs.
    processes: Vec<Mutex<Process>>,
    setup: Setup,
    specs: Vec<NodeSpec>,
    /// Nodes whose end would be right: what they stand on is broken.
    excused: Vec<AtomicBool>,
    excused_ends: AtomicU64,
    /// Nodes whose files were damaged: they may refuse to start at any later time, and are then given an empty disk.
    damaged: Vec<AtomicBool>,
    refused: parking_lot::Mutex<Vec<usize>>,
    pids: Arc<Pids>,
    /// The network between the nodes.
    pub links: Arc<Links>,
    wires: Wires,
    disks: Vec<Disk>,
    clock_library: Option<PathBuf>,
}

impl Cluster {
    /// Lays the network and makes the disks; no node runs yet.
    ///
    /// # Errors
    /// If a directory, disk, namespace or device cannot be made, or no port is free.
    pub async fn prepare(setup: Setup) -> Result<Self, ClusterError> {
        let (links, pids) = (Arc::new(Links::default()), Arc::new(Pids::new(setup.nodes)));
        let mut disks = Vec::new();
        for i in 0..setup.nodes {
            let mount = setup.out.join(format!("node-{}", i + 1));
            if setup.disks {
                disks.push(Disk::create(setup.out.join(format!("node-{}.img", i + 1)), mount)?);
            } else {
                std::fs::create_dir_all(&mount).map_err(|source| ClusterError::File { path: mount.clone(), source })?;
            }
        }
        let (specs, wires): (Vec<NodeSpec>, Wires) = if setup.switched {
            let switch = Switch::start(setup.nodes, &setup.out.join("namespaces"), &links, setup.seed)?;
            let at = |i: usize, port| SocketAddr::new(address(i, setup.nodes).into(), port);
            let specs = (0..setup.nodes).map(|i| spec(&setup, i, [at(i, HTTP_PORT), at(i, RPC_PORT), at(i, RPC_PORT)])).collect();
            (specs, Wires::Switch(switch))
        } else {
            proxied(&setup, &links, &pids).await?
        };
        let processes = specs.iter().map(|_| Mutex::new(Process::default())).collect();
        let flags = || specs.iter().map(|_| AtomicBool::new(false)).collect();
        let (excused, damaged, refused) = (flags(), flags(), parking_lot::Mutex::default());
        let clock_library = if setup.clocks { Some(clock::build(&setup.out)?) } else { None };
        for spec in specs.iter().filter(|_| setup.clocks) {
            clock::set(&spec.clock, 0).map_err(|source| ClusterError::File { path: spec.clock.clone(), source })?;
        }
        Ok(Self {
            processes,
            setup,
            specs,
            clock_library,
            excused,
            excused_ends: AtomicU64::new(0),
            damaged,
            refused,
            pids,
            links,
            wires,
            disks,
        })
    }

    /// Whether single packets, and links to clients, can be touched.
    #[must_use]
    pub fn is_switched(&self) -> bool {
        matches!(self.wires, Wires::Switch(_))
    }

    /// The disk of a node, if it has one of its own.
    #[must_use]
    pub fn disk(&self, node: usize) -> Option<&Disk> {
        self.disks.get(node)
    }

    /// What the nodes stand on.
    #[must_use]
    pub fn setup(&self) -> &Setup {
        &self.setup
    }

    /// From now on the end of this node is no finding (or is one again): what it stands on is broken.
    pub fn excuse(&self, node: usize, is_excused: bool) {
        self.excused[node].store(is_excused, Ordering::SeqCst);
    }

    /// From now on this node may say that its files are damaged, and end.
    pub fn note_damage(&self, node: usize) {
        self.damaged[node].store(true, Ordering::SeqCst);
    }

    /// Gives nodes that ended over damaged files an empty disk and starts them, as an operator would.
    ///
    /// # Errors
    /// If a disk cannot be emptied or a node not be started.
    pub async fn replace_refused(&self) -> Result<(), String> {
        let refused = std::mem::take(&mut *self.refused.lock());
        for node in refused {
            self.empty_data(node)?;
            self.start(node).await.map_err(|e| e.to_string())?;
        }
        Ok(())
    }

    /// Empties the data directory of a node that is down.
    ///
    /// # Errors
    /// If it is in use or cannot be removed.
    pub fn empty_data(&self, node: usize) -> Result<(), String> {
        if let Some(disk) = self.disk(node) {
            return disk.wipe().map_err(|e| e.to_string());
        }
        let data = &self.specs[node].data;
        match std::fs::remove_dir_all(data) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(format!("{}: {e}", data.display())),
            _ => Ok(()),
        }
    }

    /// How often an excused node ended.
    #[must_use]
    pub fn excused_ends(&self) -> u64 {
        self.excused_ends.load(Ordering::SeqCst)
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
        let child = self
            .command(node)
            .arg("serve")
            .arg("--data")
            .arg(&spec.data)
            .args(["--web.listen-address", &spec.http.to_string()])
            .args(["--rpc.listen-address", &spec.rpc.to_string()])
            .args(["--rpc.advertise-address", &spec.advertised.to_string()])
            .args(["--node-name", &spec.name])
            .args(["--initial-nodes", &peers.join(",")])
            .args(&self.setup.flags)
            // Says where the binary is; the node would take it for a setting of its own.
            .env_remove("FLOTILLA_BINARY")
            .stdin(Stdio::null())
            .stdout(log.try_clone().map_err(file)?)
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .map_err(|source| ClusterError::Spawn { binary: self.setup.binary.clone(), source })?;
        self.pids.set(node, child.id());
        *process = Process { child: Some(child), ..Process::default() };
        Ok(())
    }

    /// The node's binary in its namespace and under its clock. In namespaces the node dies with this process, whatever ends it.
    fn command(&self, node: usize) -> Command {
        let mut command = match &self.wires {
            Wires::Switch(switch) => {
                let mut command = Command::new("nsenter");
                command.arg(format!("--net={}", switch.namespaces()[node].display()));
                command.args(["--", "setpriv", "--pdeathsig", "KILL", "--"]).arg(&self.setup.binary);
                command
            }
            Wires::Proxies { .. } => Command::new(&self.setup.binary),
        };
        if let Some(library) = &self.clock_library {
            command.envs(clock::variables(library, &self.specs[node].clock));
        }
        command
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

    /// Notes and forgets nodes that ended without being killed by the harness; returns those that had no excuse.
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
            if self.excused[node].load(Ordering::SeqCst) {
                self.excused_ends.fetch_add(1, Ordering::SeqCst);
                continue;
            }
            let tail = self.log_tail(node);
            if self.damaged[node].load(Ordering::SeqCst) && tail.to_lowercase().contains(REFUSAL) {
                self.excused_ends.fetch_add(1, Ordering::SeqCst);
                self.refused.lock().push(node);
                continue;
            }
            findings.note(Breach::Crash, node as u64, gone.len() as i64, || {
                format!("node-{} ended by itself: {status}; its log ends: {tail}", node + 1)
            });
            gone.push(node);
        }
        gone
    }

    /// Stops one node: SIGTERM, after a grace SIGKILL; false if it was down or had to be killed.
    pub async fn stop(&self, node: usize) -> bool {
        let mut process = self.processes[node].lock().await;
        send(&process, Signal::CONT);
        send(&process, Signal::TERM);
        let Some(mut child) = process.child.take() else { return false };
        let in_time = tokio::time::timeout(STOP_GRACE, child.wait()).await.is_ok();
        if !in_time {
            let _ended = child.kill().await;
        }
        self.pids.set(node, None);
        *process = Process::default();
        in_time
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

fn spec(setup: &Setup, node: usize, [http, rpc, advertised]: [SocketAddr; 3]) -> NodeSpec {
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

/// Nodes on 127.0.0.1, each behind a proxy.
async fn proxied(setup: &Setup, links: &Arc<Links>, pids: &Arc<Pids>) -> Result<(Vec<NodeSpec>, Wires), ClusterError> {
    let (mut specs, mut proxies, mut ports, mut reserved) = (Vec::new(), Vec::new(), Ports::new(), Vec::new());
    for i in 0..setup.nodes {
        let (http, rpc, proxy) = (ports.listen().await?, ports.listen().await?, ports.listen().await?);
        let address = |l: &TcpListener| l.local_addr().map_err(ClusterError::Port);
        let spec = spec(setup, i, [address(&http)?, address(&rpc)?, address(&proxy)?]);
        reserved.extend([http, rpc]);
        let known = Arc::clone(pids);
        let identify: IdentifyCaller = Arc::new(move |caller, listener| known.caller(caller, listener));
        proxies.push(Proxy::start(proxy, i, spec.rpc, Arc::clone(links), identify));
        specs.push(spec);
    }
    Ok((specs, Wires::Proxies { _running: proxies }))
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
        std::fs::write(&script, "#!/bin/sh\necho started \"$@\"\ncase \"$3\" in *node-1/data) exit 7;; esac\nexec sleep 60\n").unwrap();
        std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let cluster = Cluster::prepare(Setup { nodes: 2, binary: script, out: dir.path().into(), ..Setup::default() }).await.unwrap();
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
