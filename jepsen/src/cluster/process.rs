//! The nodes' processes: start, kill, pause, stop, and what they leave behind.

use super::{Cluster, ClusterError, NodeSpec, Wires};
use crate::check::{Breach, Findings};
use crate::clock;
use rustix::process::{Pid, Signal, kill_process};
use std::process::Stdio;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::process::{Child, Command};
use tokio::time::Instant;

const STOP_GRACE: Duration = Duration::from_secs(30);
const LOG_TAIL_BYTES: usize = 2000;
/// What the log of a node says that refuses damaged files.
const REFUSAL: &str = "corrupt";

#[derive(Debug, Default)]
pub(super) struct Process {
    child: Option<Child>,
    paused: bool,
    /// Set when the harness has sent SIGKILL and not yet waited: the end that follows is not the node's own.
    doomed: bool,
}

/// How a node ended that was asked to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// Its exit status; none if a signal ended it.
    pub code: Option<i32>,
    /// From SIGTERM to its end.
    pub took: Duration,
}

impl Cluster {
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
            .map_err(|source| ClusterError::Spawn { binary: self.binary(node).to_path_buf(), source })?;
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
                command.args(["--", "setpriv", "--pdeathsig", "KILL", "--"]).arg(self.binary(node));
                command
            }
            Wires::Proxies { .. } => Command::new(self.binary(node)),
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
                self.excused_ends[node].fetch_add(1, Ordering::SeqCst);
                continue;
            }
            let tail = self.log_tail(node);
            if self.damaged[node].load(Ordering::SeqCst) && tail.to_lowercase().contains(REFUSAL) {
                self.excused_ends[node].fetch_add(1, Ordering::SeqCst);
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

    /// Stops one node: SIGTERM, after a grace SIGKILL; none if it was down or had to be killed.
    pub async fn stop(&self, node: usize) -> Option<Ended> {
        let mut process = self.processes[node].lock().await;
        let began = Instant::now();
        send(&process, Signal::CONT);
        send(&process, Signal::TERM);
        let mut child = process.child.take()?;
        let waited = tokio::time::timeout(STOP_GRACE, child.wait()).await;
        let ended = match waited {
            Ok(status) => Some(Ended { code: status.ok().and_then(|status| status.code()), took: began.elapsed() }),
            Err(_) => {
                let _ended = child.kill().await;
                None
            }
        };
        self.pids.set(node, None);
        *process = Process::default();
        ended
    }

    /// The process id of a node that runs.
    pub async fn pid(&self, node: usize) -> Option<u32> {
        self.processes[node].lock().await.child.as_ref().and_then(Child::id)
    }

    /// Stops all nodes: SIGTERM, after a grace SIGKILL. Returns the nodes that had to be killed.
    pub async fn stop_all(&self) -> Vec<usize> {
        for node in 0..self.specs.len() {
            self.signal(node, Signal::CONT).await;
            self.signal(node, Signal::TERM).await;
        }
        let mut slow = Vec::new();
        let deadline = Instant::now() + STOP_GRACE;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::Setup;

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
