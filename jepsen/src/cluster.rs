//! The nodes of a run and what they stand on: network, disks, clocks; [`process`] starts and ends them.

mod place;
pub mod process;

pub use process::Ended;

use crate::clock;
use crate::disk::Disk;
use crate::net::Links;
use crate::proxy::Proxy;
use crate::proxy::owner::Pids;
use crate::switch::{Switch, SwitchError, address};
use crate::tool::ToolError;
use place::{proxied, spec};
use process::Process;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tokio::sync::Mutex;

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
    /// Another version of it, with which nodes are started once they were told to.
    pub new_binary: Option<PathBuf>,
    /// Where everything goes; exists.
    pub out: PathBuf,
    /// Seed of what the network does to single packets.
    pub seed: u64,
    /// Namespaces and a switch in place of proxies on 127.0.0.1.
    pub switched: bool,
    /// On 127.0.0.1 without proxies: nothing can be done to the network.
    pub direct: bool,
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

/// All nodes of a run. Dropping it kills them.
#[derive(Debug)]
pub struct Cluster {
    // Before the disks, which cannot be unmounted while a node runs.
    processes: Vec<Mutex<Process>>,
    setup: Setup,
    specs: Vec<NodeSpec>,
    /// Nodes whose end would be right: what they stand on is broken.
    excused: Vec<AtomicBool>,
    excused_ends: Vec<AtomicU64>,
    /// Nodes whose next start is with the other binary than the first.
    is_new: Vec<AtomicBool>,
    version_changes: AtomicU64,
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
        let (excused, damaged, is_new, refused) = (flags(), flags(), flags(), parking_lot::Mutex::default());
        let excused_ends = specs.iter().map(|_| AtomicU64::new(0)).collect();
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
            excused_ends,
            is_new,
            version_changes: AtomicU64::new(0),
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

    /// How often this node ended while it was excused.
    #[must_use]
    pub fn excused_ends(&self, node: usize) -> u64 {
        self.excused_ends[node].load(Ordering::SeqCst)
    }

    /// Lets the next starts of a node be with the other binary; false if there is only one.
    pub fn change_version(&self, node: usize) -> bool {
        let has_two = self.setup.new_binary.is_some();
        if has_two {
            self.is_new[node].fetch_xor(true, Ordering::SeqCst);
            self.version_changes.fetch_add(1, Ordering::SeqCst);
        }
        has_two
    }

    /// How often a node was given the other binary.
    #[must_use]
    pub fn version_changes(&self) -> u64 {
        self.version_changes.load(Ordering::SeqCst)
    }

    /// The binary that a node starts with.
    fn binary(&self, node: usize) -> &Path {
        let new = self.setup.new_binary.as_ref().filter(|_| self.is_new[node].load(Ordering::SeqCst));
        new.unwrap_or(&self.setup.binary)
    }

    /// The nodes' addresses and files.
    #[must_use]
    pub fn specs(&self) -> &[NodeSpec] {
        &self.specs
    }
}
