//! `flotilla up` as its user sees it: real processes.

use crate::local::{Up, eventually, free_ports, is_alive};
use node::config::Address;
use node::probe::{Target, check};
use rustix::process::{Signal, getpgid, kill_process};
use std::net::TcpStream;
use std::process::{Command, Stdio};

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
    // A process is gone for its parent before the last of its threads has closed what it held.
    for port in (0..2 * up.nodes).map(|number| up.port + number) {
        eventually("the port is free", || TcpStream::connect(("127.0.0.1", port)).is_err().then_some(()));
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
