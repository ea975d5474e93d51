//! A switch in this process: every node lives in a network namespace whose only way out is a TUN device that ends here.
//!
//! It carries IPv4 packets between the nodes and the clients of this process, each directed pair by its [`Link`](crate::net::Link).

use crate::dice::Dice;
use crate::net::Links;
use crate::tool::{ToolError, call};
use parking_lot::Mutex;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tun_rs::{AsyncDevice, DeviceBuilder};

const MTU: u16 = 9000;
const PACKET_MAX: usize = 1 << 16;
/// Delayed packets that the switch holds at most; more are dropped, as by any switch.
const HELD_MAX: usize = 20_000;
/// A link with a rate holds at most what it sends in so many microseconds.
const RATE_QUEUE_US: u64 = 500_000;
const READ_ERROR_DELAY: Duration = Duration::from_millis(5);
const CLIENT_OCTET: u8 = 1;
const NODE_OCTET: u8 = 10;

/// Why there is no switched network.
#[derive(Debug, thiserror::Error)]
pub enum SwitchError {
    /// A system program failed.
    #[error(transparent)]
    Tool(#[from] ToolError),
    /// A TUN device cannot be made.
    #[error("TUN device {name}: {source}")]
    Device {
        /// Its name.
        name: String,
        /// Why.
        source: std::io::Error,
    },
}

/// The address of a node; index `nodes` and above is the clients'.
#[must_use]
pub fn address(index: usize, nodes: usize) -> Ipv4Addr {
    let octet = if index < nodes { NODE_OCTET + index as u8 } else { CLIENT_OCTET };
    Ipv4Addr::new(10, 99, 0, octet)
}

/// The index behind the destination address of an IPv4 packet.
fn destination(packet: &[u8], nodes: usize) -> Option<usize> {
    let octets: [u8; 4] = packet.get(16..20)?.try_into().ok()?;
    if packet[0] >> 4 != 4 || octets[..3] != [10, 99, 0] {
        return None;
    }
    match octets[3] {
        CLIENT_OCTET => Some(nodes),
        octet => usize::from(octet).checked_sub(usize::from(NODE_OCTET)).filter(|i| *i < nodes),
    }
}

/// The running switch. Dropping it ends the network.
#[derive(Debug)]
pub struct Switch {
    namespaces: Vec<PathBuf>,
    tasks: Vec<JoinHandle<()>>,
}

impl Drop for Switch {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Switch {
    /// Makes namespaces for `nodes` nodes with their files below `directory`, and carries packets between them by `links`.
    ///
    /// # Errors
    /// If a namespace or device cannot be made: it needs root, and a network and mount namespace of this process's own.
    pub fn start(nodes: usize, directory: &Path, links: &Arc<Links>, seed: u64) -> Result<Self, SwitchError> {
        let folder = text(directory);
        call("mkdir", &["-p", &folder])?;
        call("mount", &["-t", "tmpfs", "namespaces", &folder])?;
        let (mut namespaces, mut devices) = (Vec::new(), Vec::new());
        for index in 0..nodes {
            let namespace = directory.join(format!("node-{}", index + 1));
            devices.push(plug(index, nodes, Some(&namespace))?);
            namespaces.push(namespace);
        }
        devices.push(plug(nodes, nodes, None)?);
        let wires = Arc::new(Wires { devices, nodes, links: Arc::clone(links), held: Mutex::default(), earlier: Notify::new() });
        let mut tasks: Vec<_> = (0..=nodes).map(|from| tokio::spawn(read(Arc::clone(&wires), from, seed))).collect();
        tasks.push(tokio::spawn(deliver(wires)));
        Ok(Self { namespaces, tasks })
    }

    /// The files that name the nodes' namespaces.
    #[must_use]
    pub fn namespaces(&self) -> &[PathBuf] {
        &self.namespaces
    }
}

/// Makes the device of one index, up and with its address, in a new namespace or here.
fn plug(index: usize, nodes: usize, namespace: Option<&Path>) -> Result<AsyncDevice, SwitchError> {
    let name = format!("jepsen{index}");
    let made = DeviceBuilder::new().name(&name).mtu(MTU).build_async();
    let device = made.map_err(|source| SwitchError::Device { name: name.clone(), source })?;
    let prefix: Vec<String> = match namespace {
        Some(file) => {
            call("touch", &[text(file)])?;
            let by_file = format!("--net={}", text(file));
            call("unshare", &[&by_file, "--", "ip", "link", "set", "lo", "up"])?;
            call("ip", &["link", "set", &name, "netns", &text(file)])?;
            vec!["nsenter".into(), by_file, "--".into(), "ip".into()]
        }
        None => vec!["ip".into()],
    };
    let address = format!("{}/24", address(index, nodes));
    for words in [vec!["addr", "add", &address, "dev", &name], vec!["link", "set", &name, "mtu", "9000", "up"]] {
        let rest = prefix[1..].iter().map(String::as_str).chain(words);
        call(&prefix[0], &rest.collect::<Vec<_>>())?;
    }
    Ok(device)
}

/// Whether TUN devices can be made here.
///
/// # Errors
/// Why not.
pub fn probe() -> Result<(), String> {
    DeviceBuilder::new().name("jepsenprobe").build_sync().map(drop).map_err(|e| format!("/dev/net/tun: {e}"))
}

struct Wires {
    devices: Vec<AsyncDevice>,
    nodes: usize,
    links: Arc<Links>,
    held: Mutex<BinaryHeap<Reverse<Held>>>,
    earlier: Notify,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Held {
    at: Instant,
    to: usize,
    packet: Vec<u8>,
}

/// Takes packets of one device and sends, holds or drops them.
async fn read(wires: Arc<Wires>, from: usize, seed: u64) {
    let mut dice = Dice::new(seed, 50_000 + from as u64);
    let mut free_at = vec![Instant::now(); wires.devices.len()];
    let mut buffer = vec![0u8; PACKET_MAX];
    loop {
        let Ok(bytes) = wires.devices[from].recv(&mut buffer).await else {
            tokio::time::sleep(READ_ERROR_DELAY).await;
            continue;
        };
        let packet = &mut buffer[..bytes];
        let Some(to) = destination(packet, wires.nodes).filter(|to| *to != from) else { continue };
        let link = wires.links.link(from, to);
        let Some(queued_us) = queued(link.rate_bps, bytes, &mut free_at[to], Instant::now()) else { continue };
        for arrival in link.fate(bytes, &mut dice).into_iter().flatten() {
            let mut copy = packet.to_vec();
            if let Some(bit) = arrival.flipped {
                copy[bit / 8] ^= 1 << (bit % 8);
            }
            match arrival.after_us + queued_us {
                0 => drop(wires.devices[to].send(&copy).await),
                after_us => wires.hold(Held { at: Instant::now() + Duration::from_micros(after_us), to, packet: copy }),
            }
        }
    }
}

/// How long a packet waits for a link of this rate; none if its queue is full.
fn queued(rate_bps: u64, bytes: usize, free_at: &mut Instant, now: Instant) -> Option<u64> {
    if rate_bps == 0 {
        return Some(0);
    }
    let begins = (*free_at).max(now);
    let waits_us = (begins - now).as_micros() as u64;
    if waits_us > RATE_QUEUE_US {
        return None;
    }
    let takes_us = bytes as u64 * 8 * 1_000_000 / rate_bps;
    *free_at = begins + Duration::from_micros(takes_us);
    Some(waits_us + takes_us)
}

impl Wires {
    fn hold(&self, held: Held) {
        let mut heap = self.held.lock();
        if heap.len() >= HELD_MAX {
            return;
        }
        let is_first = heap.peek().is_none_or(|first| held.at < first.0.at);
        heap.push(Reverse(held));
        if is_first {
            self.earlier.notify_one();
        }
    }

    fn due(&self) -> Result<Held, Option<Instant>> {
        let mut heap = self.held.lock();
        match heap.peek() {
            Some(first) if first.0.at <= Instant::now() => heap.pop().map(|held| held.0).ok_or(None),
            first => Err(first.map(|held| held.0.at)),
        }
    }
}

/// Sends what was held, when it is due.
async fn deliver(wires: Arc<Wires>) {
    loop {
        match wires.due() {
            Ok(held) => drop(wires.devices[held.to].send(&held.packet).await),
            Err(Some(at)) => tokio::select! {
                () = tokio::time::sleep_until(at) => {}
                () = wires.earlier.notified() => {}
            },
            Err(None) => wires.earlier.notified().await,
        }
    }
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests;
