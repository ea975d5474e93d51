//! `flotilla up`: a local cluster as child processes of one supervisor.
//!
//! Node i (from 1) serves HTTP at the given port + 2(i-1) and RPC one above, on 127.0.0.1, with its data in `DIR/node-i`. The
//! children stay in the supervisor's process group. They die with it, however it dies ([`die_with_supervisor`]); one that dies
//! is started again after a second. Every event is one line on standard output; the nodes' logs go to standard error.

mod child;
mod node;
mod plan;

use std::fmt;
use std::io::Write;
use std::path::PathBuf;
use std::pin::pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;

pub use child::{SuperviseError, bind, die_with_supervisor, write_pid_file};
pub use plan::PlanError;

use crate::config::UpArgs;
use crate::probe::Target;
use crate::signals::{StopOn, StopSignals};
use node::{Stopped, supervise};
use plan::{Node, plan};

/// Time between two questions whether a node is ready.
const PROBE_INTERVAL: Duration = Duration::from_millis(200);

/// Exit code after a second signal, as of a process that SIGINT ended.
const EXIT_AT_ONCE: u8 = 130;

/// Why the supervisor does not run.
#[derive(Debug, thiserror::Error)]
pub enum UpError {
    /// The cluster cannot be run as asked.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The system refuses what the supervisor needs.
    #[error("cannot supervise: {0}")]
    System(#[from] std::io::Error),
}

/// Runs a local cluster until a signal stops it. Exit code 0 says that every node stopped by itself.
///
/// Builds a runtime of its own on the calling thread, which must be the main thread: children die with the thread that started
/// them.
///
/// # Errors
/// The arguments or the configuration cannot be used, or the system refuses.
pub fn run(args: &UpArgs) -> Result<ExitCode, UpError> {
    let nodes = plan(args)?;
    if args.file.check {
        say(format_args!("configuration is valid for {} nodes", nodes.len()));
        return Ok(ExitCode::SUCCESS);
    }
    let program = std::env::current_exe()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(runtime.block_on(supervise_all(nodes, program))?)
}

async fn supervise_all(nodes: Vec<Node>, program: PathBuf) -> std::io::Result<ExitCode> {
    let mut signals = StopSignals::listen(StopOn::InterruptOrTerminate)?;
    let (stop, told) = watch::channel(false);
    let (ready_nodes, mut all_ready) = watch::channel(0);
    let program = Arc::new(program);
    let mut running = JoinSet::new();
    for node in nodes.clone() {
        let (program, told, ready_nodes) = (Arc::clone(&program), told.clone(), ready_nodes.clone());
        running.spawn(async move { supervise(node, &program, told, ready_nodes).await });
    }
    let mut ready = pin!(all_ready.wait_for(|count| *count == nodes.len()));
    let mut is_announced = false;
    let mut code = ExitCode::SUCCESS;
    loop {
        let is_stopping = *stop.borrow();
        tokio::select! {
            signal = signals.next() => {
                if is_stopping {
                    say(format_args!("{signal} again: exiting at once"));
                    return Ok(ExitCode::from(EXIT_AT_ONCE));
                }
                say(format_args!("{signal}: stopping all nodes; a second signal exits at once"));
                stop.send_replace(true);
            }
            _ = &mut ready, if !is_announced && !is_stopping => {
                is_announced = true;
                say(format_args!("cluster ready: {}", urls(&nodes)));
            }
            ended = running.join_next() => match ended {
                Some(Ok(Stopped::Gracefully)) => {}
                Some(Ok(Stopped::Badly)) => code = ExitCode::FAILURE,
                Some(Err(error)) => panic!("the task of a node must not fail: {error}"),
                None => return Ok(code),
            },
        }
    }
}

fn ready_target(node: &Node) -> Target {
    Target::new(node.http.clone(), "/-/ready")
}

fn urls(nodes: &[Node]) -> String {
    let urls: Vec<String> = nodes.iter().map(|node| format!("http://{}", node.http)).collect();
    urls.join(" ")
}

/// Writes one line to standard output. A reader that is gone does not stop the cluster.
fn say(line: fmt::Arguments<'_>) {
    let mut stdout = std::io::stdout().lock();
    let _ = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
}
