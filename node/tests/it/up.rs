//! `flotilla up` as its user sees it: real processes.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use node::config::Address;
use node::probe::{Target, check};
use rustix::process::{Pid, Signal, getpgid, kill_process, test_kill_process};
use tempfile::TempDir;

/// Time in which anything that has to happen on a loaded machine happens.
const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(50);

/// A running `flotilla up`, killed at the end of the test.
struct Up {
    child: Child,
    lines: Receiver<String>,
    seen: Vec<String>,
    port: u16,
    nodes: u16,
    data: PathBuf,
}

impl Up {
    fn start(nodes: u16, dir: &TempDir) -> Self {
        let port = free_ports(2 * nodes);
        let data = dir.path().join("data");
        let mut child = Command::new(env!("CARGO_BIN_EXE_flotilla"))
            .args(["up", "--nodes", &nodes.to_string(), "--http-port", &port.to_string(), "--log.level=error", "--data"])
            .arg(&data)
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
    fn line(&mut self, prefix: &str) -> String {
        loop {
            if let Some(at) = self.seen.iter().position(|line| line.starts_with(prefix)) {
                return self.seen.remove(at);
            }
            let Ok(line) = self.lines.recv_timeout(PATIENCE) else { panic!("no line {prefix:?} after {:#?}", self.seen) };
            self.seen.push(line);
        }
    }

    fn urls(&self) -> Vec<String> {
        (0..self.nodes).map(|i| format!("http://127.0.0.1:{}", self.port + 2 * i)).collect()
    }

    fn wait_ready(&mut self) {
        let line = self.line("cluster ready");
        assert_eq!(line, format!("cluster ready: {}", self.urls().join(" ")));
    }

    fn node_pid(&self, number: u16) -> Pid {
        node_pid(&self.data, number).unwrap()
    }

    fn node_pids(&self) -> Vec<Pid> {
        (1..=self.nodes).map(|number| self.node_pid(number)).collect()
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    fn wait_exit(&mut self) -> ExitStatus {
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

fn is_alive(pid: Pid) -> bool {
    // A killed process stays as a zombie until it is waited for; where its parent is dead, by init.
    let state = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok();
    let zombie = state.is_some_and(|stat| stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('Z')));
    test_kill_process(pid).is_ok() && !zombie
}

fn eventually<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    for _ in 0..PATIENCE.as_millis() / POLL.as_millis() {
        if let Some(answer) = ask() {
            return answer;
        }
        thread::sleep(POLL);
    }
    panic!("within {PATIENCE:?}: {what}");
}

/// The first of `count` ports in a row that nothing listens on and no other test was given. Below the range from which the
/// system gives out ports, so that no connection takes one between this look and the nodes' start.
fn free_ports(count: u16) -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = 20_000 + u16::try_from(std::process::id() % 300).unwrap() * 30;
    loop {
        let first = start + NEXT.fetch_add(count, Ordering::Relaxed);
        if (first..first + count).all(|port| TcpListener::bind(("127.0.0.1", port)).is_ok()) {
            return first;
        }
    }
}

#[test]
fn local_cluster_starts_heals_and_stops() {
    let dir = tempfile::tempdir().unwrap();
    let mut up = Up::start(3, &dir);
    up.wait_ready();

    // Each node is a process of its own in up's group, and wrote its number where it is looked for.
    let group = getpgid(Some(up.pid())).unwrap();
    for pid in up.node_pids() {
        assert_eq!(getpgid(Some(pid)).unwrap(), group);
    }
    for url in up.urls() {
        check(&Target::parse(&format!("{url}/-/ready")).unwrap()).unwrap();
    }

    // A node that is killed comes back on its ports with its data.
    for line in ["node-2: started", "node-2: ready"] {
        up.line(line);
    }
    let killed = up.node_pid(2);
    kill_process(killed, Signal::KILL).unwrap();
    up.line("node-2: died, signal: 9 (SIGKILL)");
    up.line("node-2: started");
    up.line("node-2: ready");
    assert_ne!(up.node_pid(2), killed);
    assert!(!is_alive(killed));

    // SIGTERM stops all nodes by their own way.
    let pids = up.node_pids();
    kill_process(up.pid(), Signal::TERM).unwrap();
    assert_eq!(up.wait_exit().code(), Some(0));
    for number in 1..=3 {
        up.line(&format!("node-{number}: stopped"));
    }
    assert!(pids.into_iter().all(|pid| !is_alive(pid)));
}

#[test]
fn nodes_die_with_their_supervisor() {
    let dir = tempfile::tempdir().unwrap();
    let mut up = Up::start(3, &dir);
    up.wait_ready();
    let pids = up.node_pids();
    kill_process(up.pid(), Signal::KILL).unwrap();
    eventually("all nodes are gone", || pids.iter().all(|pid| !is_alive(*pid)).then_some(()));
    for number in 0..2 * up.nodes {
        let port = up.port + number;
        assert!(TcpStream::connect(("127.0.0.1", port)).is_err(), "port {port} is still served");
    }
}

#[test]
fn second_signal_exits_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut up = Up::start(1, &dir);
    up.wait_ready();
    let pid = up.node_pid(1);
    // A node that is stopped in its tracks cannot drain, so that the second signal finds up waiting for it.
    kill_process(pid, Signal::STOP).unwrap();
    kill_process(up.pid(), Signal::INT).unwrap();
    up.line("SIGINT: stopping all nodes");
    kill_process(up.pid(), Signal::INT).unwrap();
    assert_eq!(up.wait_exit().code(), Some(130));
    eventually("the node is gone", || (!is_alive(pid)).then_some(()));
}

#[test]
fn health_command_tells_whether_a_url_answers_200() {
    let closed = Target::new(Address::new("127.0.0.1", free_ports(1)), "/-/ready");
    let health = |url: &str| Command::new(env!("CARGO_BIN_EXE_flotilla")).args(["health", url]).stderr(Stdio::null()).status().unwrap();
    assert_eq!(health(&format!("http://{}{}", closed.address, closed.path)).code(), Some(1));
    assert_eq!(health("ftp://127.0.0.1").code(), Some(1));
}

#[test]
fn bad_configuration_is_told_whole_before_anything_starts() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let output = Command::new(env!("CARGO_BIN_EXE_flotilla"))
        .args(["up", "--nodes", "3", "--query.timeout=soon", "--storage.memory=1", "--data"])
        .arg(&data)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("2 problems in the configuration"), "{text}");
    assert!(text.contains("flag --query.timeout") && text.contains("flag --storage.memory"), "{text}");
    assert!(!data.exists());
}
