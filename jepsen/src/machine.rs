//! What this machine can do for the harness, found out by doing it.

use crate::{clock, disk, sandbox};
use std::path::Path;

/// The outcome of each probe: usable, or why not.
#[derive(Debug, Clone)]
pub struct Machine {
    /// Network and mount namespaces of one's own (needs root).
    pub namespaces: Result<(), String>,
    /// TUN devices, which carry the switched network.
    pub tun: Result<(), String>,
    /// ext4 images on loop devices with the shutdown call.
    pub disks: Result<(), String>,
    /// A C compiler for the library that shifts wall clocks.
    pub clocks: Result<(), String>,
}

impl Machine {
    /// Probes from inside the sandbox, or tells that it could not be entered; `directory` is for files of a moment.
    #[must_use]
    pub fn probe(inside: Result<(), String>, directory: &Path) -> Self {
        let need = |e: &String| format!("needs namespaces: {e}");
        let tun = inside.as_ref().map_err(need).copied().and_then(|()| crate::switch::probe());
        let disks = inside.as_ref().map_err(need).copied().and_then(|()| disk::probe(directory).map_err(|e| e.to_string()));
        let clocks = clock::build(directory).map(drop).map_err(|e| e.to_string());
        let leftovers = [directory.join("probe.img"), directory.join("probe")];
        let _gone = (std::fs::remove_file(&leftovers[0]), std::fs::remove_dir(&leftovers[1]));
        Self { namespaces: inside, tun, disks, clocks }
    }

    /// A line for each probe, and what is done without it.
    #[must_use]
    pub fn text(&self) -> String {
        let line = |name: &str, result: Result<(), &String>, without: &str| match result {
            Ok(()) => format!("{name:<12} ok\n"),
            Err(why) => format!("{name:<12} missing: {why}; {without}\n"),
        };
        [
            line("namespaces", self.namespaces.as_ref().copied(), "no switched network, no disks"),
            line("tun", self.tun.as_ref().copied(), "TCP proxies instead: cuts between nodes, but no delay, loss, rate, or cut clients"),
            line("disks", self.disks.as_ref().copied(), "no power loss, full, read-only, old or wiped disk"),
            line("clocks", self.clocks.as_ref().copied(), "no clock jumps"),
        ]
        .concat()
    }

    /// [`sandbox::probe`], for a machine that this process has not entered the sandbox of.
    ///
    /// # Errors
    /// Why namespaces cannot be made.
    pub fn can_enter() -> Result<(), String> {
        sandbox::probe()
    }
}
