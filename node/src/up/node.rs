//! Keeps one node running until it is told to stop.

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::pin::pin;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::sync::watch;

use super::plan::Node;
use super::{PROBE_INTERVAL, ready_target, say};

/// Time between the death of a node and its next start.
const RESTART_DELAY: Duration = Duration::from_secs(1);

/// Time that a node has to stop by itself; below the 30 s within which all are to be gone.
const STOP_PATIENCE: Duration = Duration::from_secs(28);

/// How a node ended after it was told to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stopped {
    /// By itself, or it was not running.
    Gracefully,
    /// With an error, or by force.
    Badly,
}

/// Starts a node again one second after each death, until `stop` turns true; then stops it. Counts it in `ready_nodes` from when it
/// says that it is ready until it dies.
///
/// Must run on a thread that lives as long as this process: a child asks to die with the *thread* that started it.
pub(super) async fn supervise(node: Node, program: &Path, mut stop: watch::Receiver<bool>, ready_nodes: watch::Sender<usize>) -> Stopped {
    loop {
        match start(&node, program) {
            Ok(child) => {
                if let Some(stopped) = attend(&node, child, &mut stop, &ready_nodes).await {
                    return stopped;
                }
            }
            Err(error) => say(format_args!("{}: cannot be started: {error}; trying again in {RESTART_DELAY:?}", node.name)),
        }
        tokio::select! {
            () = tokio::time::sleep(RESTART_DELAY) => {}
            () = told_to_stop(&mut stop) => return Stopped::Gracefully,
        }
    }
}

fn start(node: &Node, program: &Path) -> std::io::Result<Child> {
    let mut command = Command::new(program);
    command.args(&node.arguments).arg(format!("--supervisor-pid={}", std::process::id()));
    let child = command.stdin(Stdio::null()).kill_on_drop(true).spawn()?;
    let pid = child.id().unwrap_or_default();
    say(format_args!("{}: started, pid {pid}, http {}, rpc {}, data {}", node.name, node.http, node.rpc, node.data.display()));
    Ok(child)
}

/// Waits for the death of a node (`None`), or stops it when told to.
async fn attend(node: &Node, mut child: Child, stop: &mut watch::Receiver<bool>, ready_nodes: &watch::Sender<usize>) -> Option<Stopped> {
    let target = ready_target(node);
    let mut ready = pin!(target.until_ok(PROBE_INTERVAL));
    let mut is_ready = false;
    loop {
        tokio::select! {
            () = told_to_stop(stop) => return Some(terminate(node, child).await),
            status = child.wait() => {
                let ended = status.map_or_else(|error| error.to_string(), |status| status.to_string());
                say(format_args!("{}: died, {ended}; starting again in {RESTART_DELAY:?}", node.name));
                ready_nodes.send_modify(|count| *count -= usize::from(is_ready));
                return None;
            }
            () = &mut ready, if !is_ready => {
                is_ready = true;
                say(format_args!("{}: ready", node.name));
                ready_nodes.send_modify(|count| *count += 1);
            }
        }
    }
}

async fn terminate(node: &Node, mut child: Child) -> Stopped {
    // `id` is None once the child was waited for, so the signal cannot hit a process that took over its number.
    let pid = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    if let Some(pid) = pid
        && let Err(error) = kill_process(pid, Signal::TERM)
    {
        say(format_args!("{}: cannot be sent SIGTERM: {error}", node.name));
    }
    match tokio::time::timeout(STOP_PATIENCE, child.wait()).await {
        Ok(Ok(status)) if is_graceful(status) => {
            say(format_args!("{}: stopped", node.name));
            return Stopped::Gracefully;
        }
        Ok(Ok(status)) => say(format_args!("{}: stopped badly, {status}", node.name)),
        Ok(Err(error)) => say(format_args!("{}: cannot be waited for: {error}", node.name)),
        Err(_) => {
            say(format_args!("{}: did not stop within {STOP_PATIENCE:?}, killing it", node.name));
            if let Err(error) = child.kill().await {
                say(format_args!("{}: cannot be killed: {error}", node.name));
            }
        }
    }
    Stopped::Badly
}

/// A node that had not yet taken over SIGTERM dies by it; it had nothing to drain.
fn is_graceful(status: ExitStatus) -> bool {
    status.success() || status.signal() == Some(Signal::TERM.as_raw())
}

async fn told_to_stop(stop: &mut watch::Receiver<bool>) {
    // The sender lives as long as the supervisor; should it be gone, stopping is right as well.
    let _ = stop.wait_for(|stop| *stop).await;
}
