//! A local cluster of real processes, ended with the test that started it.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, test_kill_process};
use tempfile::TempDir;

/// Time in which anything that has to happen on a loaded machine happens.
const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(50);

/// A running `flotilla up`, killed at the end of the test.
pub(crate) struct Up {
    child: Child,
    lines: Receiver<String>,
    seen: Vec<String>,
    pub(crate) port: u16,
    pub(crate) nodes: u16,
    pub(crate) data: PathBuf,
}

impl Up {
    pub(crate) fn start(nodes: u16, dir: &TempDir) -> Self {
        Self::start_with(nodes, dir, &[])
    }

    /// Starts on ports of its own, also on data of a cluster that had others.
    pub(crate) fn start_with(nodes: u16, dir: &TempDir, flags: &[&str]) -> Self {
        let port = free_ports(2 * nodes);
        let data = dir.path().join("data");
        let mut child = Command::new(env!("CARGO_BIN_EXE_flotilla"))
            .args(["up", "--nodes", &nodes.to_string(), "--http-port", &port.to_string(), "--log.level=error", "--data"])
            .arg(&data)
            .args(flags)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = channel();
        thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Up { child, lines, seen: Vec::new(), port, nodes, data }
    }

    /// Waits for a line that begins with `prefix`, takes it and returns it. Lines before it stay to be taken.
    pub(crate) fn line(&mut self, prefix: &str) -> String {
        loop {
            if let Some(at) = self.seen.iter().position(|line| line.starts_with(prefix)) {
                return self.seen.remove(at);
            }
            let Ok(line) = self.lines.recv_timeout(PATIENCE) else {
                panic!("no line {prefix:?} after {:#?}, {:#?}", self.seen, self.readiness())
            };
            self.seen.push(line);
        }
    }

    /// What each node says of its readiness, for the message of a failure.
    fn readiness(&self) -> Vec<String> {
        let ask = |port: u16| -> std::io::Result<String> {
            let mut stream = TcpStream::connect(("127.0.0.1", port))?;
            stream.write_all(b"GET /-/ready HTTP/1.0\r\n\r\n")?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            Ok(answer)
        };
        (0..self.nodes).map(|i| ask(self.port + 2 * i).unwrap_or_else(|e| e.to_string())).collect()
    }

    pub(crate) fn urls(&self) -> Vec<String> {
        (0..self.nodes).map(|i| format!("http://127.0.0.1:{}", self.port + 2 * i)).collect()
    }

    pub(crate) fn wait_ready(&mut self) {
        let line = self.line("cluster ready");
        assert_eq!(line, format!("cluster ready: {}", self.urls().join(" ")));
    }

    pub(crate) fn node_pid(&self, number: u16) -> Pid {
        node_pid(&self.data, number).unwrap()
    }

    pub(crate) fn node_pids(&self) -> Vec<Pid> {
        (1..=self.nodes).map(|number| self.node_pid(number)).collect()
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    pub(crate) fn wait_exit(&mut self) -> ExitStatus {
        eventually("up exits", || self.child.try_wait().unwrap())
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn node_pid(data: &Path, number: u16) -> Option<Pid> {
    let text = fs::read_to_string(data.join(format!("node-{number}/pid"))).ok()?;
    Pid::from_raw(text.trim().parse().unwrap())
}

pub(crate) fn is_alive(pid: Pid) -> bool {
    // A killed process stays as a zombie until it is waited for; where its parent is dead, by init.
    let state = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok();
    let zombie = state.is_some_and(|stat| stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('Z')));
    test_kill_process(pid).is_ok() && !zombie
}

pub(crate) fn eventually<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    for _ in 0..PATIENCE.as_millis() / POLL.as_millis() {
        if let Some(answer) = ask() {
            return answer;
        }
        thread::sleep(POLL);
    }
    panic!("within {PATIENCE:?}: {what}");
}

/// Ports of one test process, the one that it holds its block by included.
const BLOCK: u16 = 200;
/// Blocks lie below the range from which the system gives out ports, so that no connection takes one between a look and a node's start.
const BLOCKS: std::ops::Range<u16> = 0..60;
const FIRST_BLOCK: u16 = 20_000;

/// The first of `count` ports in a row that nothing listens on and no other test is given, of this process or of another: a node that
/// is down for a moment must find its port again.
pub(crate) fn free_ports(count: u16) -> u16 {
    static HELD: OnceLock<(TcpListener, AtomicU16)> = OnceLock::new();
    let (block, next) = HELD.get_or_init(hold_block);
    let end = block.local_addr().unwrap().port() + BLOCK;
    loop {
        let first = next.fetch_add(count, Ordering::Relaxed);
        assert!(first + count <= end, "a block has ports for all tests");
        if (first..first + count).all(|port| TcpListener::bind(("127.0.0.1", port)).is_ok()) {
            return first;
        }
    }
}

/// Takes a block by listening on its first port as long as the process lives.
fn hold_block() -> (TcpListener, AtomicU16) {
    let own = u16::try_from(std::process::id() % u32::from(BLOCKS.end)).unwrap();
    let blocks = BLOCKS.map(|n| FIRST_BLOCK + (own + n) % BLOCKS.end * BLOCK);
    let held = blocks.into_iter().find_map(|start| TcpListener::bind(("127.0.0.1", start)).ok()).expect("a free block of ports");
    let next = held.local_addr().unwrap().port() + 1;
    (held, AtomicU16::new(next))
}
