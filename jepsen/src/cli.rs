//! The command line, the choice of the binary, and exit codes: 0 OK, 1 FAILED, 2 could not run.

use crate::machine::Machine;
use crate::nemesis::Asked;
use crate::run::{self, Options, RunError};
use crate::sandbox;
use clap::{Args, Parser, Subcommand};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// Black-box safety test of a Flotilla cluster.
#[derive(Debug, Parser)]
#[command(version, about)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// Set by the program itself: it runs in namespaces of its own.
    #[arg(long, hide = true, global = true)]
    pub inside_sandbox: bool,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Starts a cluster, writes, queries and breaks things for a while, then checks every sample.
    Run(RunArgs),
    /// Tells what this machine can do for the harness, and what is done without what it cannot.
    Doctor,
}

/// Flags of `jepsen run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// How many nodes.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=9))]
    pub nodes: u8,
    /// How long faults and load go on, as 90s, 5m or 1h.
    #[arg(long, default_value = "60s", value_parser = parse_time)]
    pub time: Duration,
    /// Fixes data, requests and faults.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// The node's binary; built from this workspace when not given.
    #[arg(long)]
    pub binary: Option<PathBuf>,
    /// Where data, logs, the history and the report go; a temporary directory, removed after success, when not given.
    #[arg(long)]
    pub out: Option<PathBuf>,
    /// Kinds or classes of faults, comma separated: process, network, disk, clock, files, membership, power-all, ..., or all.
    #[arg(long, default_value = "process,network")]
    pub nemesis: Asked,
    /// Samples written a second.
    #[arg(long, default_value_t = 4000, value_parser = clap::value_parser!(u64).range(50..=1_000_000))]
    pub rate: u64,
}

/// Does what the command line asks; the last line printed is the verdict.
pub async fn main(cli: Cli) -> ExitCode {
    let done = async {
        match cli.command {
            Command::Run(args) => try_run(args, cli.inside_sandbox).await,
            Command::Doctor => doctor(cli.inside_sandbox),
        }
    };
    match done.await {
        Ok(passed) => ExitCode::from(u8::from(!passed)),
        Err(e) => {
            say(&format!("could not run: {e}"));
            ExitCode::from(2)
        }
    }
}

/// Probes the machine, from inside the sandbox where there is one; `more` is what the program inside is told beside its own arguments.
fn machine(is_inside: bool, more: &[String]) -> Result<Machine, RunError> {
    let file = |path: &str| {
        let path = PathBuf::from(path);
        move |source| RunError::File { path, source }
    };
    let mut inside = Ok(());
    if !is_inside {
        inside = sandbox::probe();
        if inside.is_ok() {
            let own = std::env::current_exe().map_err(file("/proc/self/exe"))?;
            let arguments: Vec<String> = std::env::args().skip(1).chain(more.iter().cloned()).collect();
            inside = Err(sandbox::enter(&own, &arguments).to_string());
        }
    }
    let directory = std::env::temp_dir().join(format!("jepsen-probe-{}", std::process::id()));
    std::fs::create_dir_all(&directory).map_err(file("temporary directory"))?;
    let machine = Machine::probe(inside, &directory);
    let _left = std::fs::remove_dir_all(&directory);
    Ok(machine)
}

fn doctor(is_inside: bool) -> Result<bool, RunError> {
    say(machine(is_inside, &[])?.text().trim_end());
    Ok(true)
}

async fn try_run(args: RunArgs, is_inside: bool) -> Result<bool, RunError> {
    let mut more = Vec::new();
    let binary = match args.binary {
        Some(path) => path,
        None => {
            let built = build().await?;
            more = vec!["--binary".to_string(), built.to_string_lossy().into_owned()];
            built
        }
    };
    let binary = binary.canonicalize().map_err(|source| RunError::File { path: binary, source })?;
    let machine = machine(is_inside, &more)?;
    let (out, keep) = match args.out {
        Some(out) => (out, true),
        None => (std::env::temp_dir().join(format!("jepsen-{}-{}", args.seed, std::process::id())), false),
    };
    std::fs::create_dir_all(&out).map_err(|source| RunError::File { path: out.clone(), source })?;
    let out = out.canonicalize().map_err(|source| RunError::File { path: out, source })?;
    let nodes = usize::from(args.nodes);
    let (time, seed, rate, nemesis) = (args.time, args.seed, args.rate, args.nemesis);
    let options = Options { nodes, time, seed, rate, binary, out: out.clone(), nemesis, machine };
    let run = async {
        tokio::select! {
            report = run::run(options) => report,
            signal = interrupted() => Err(signal),
        }
    };
    let report = run.await.inspect_err(|_| say(&format!("logs are in {}", out.display())))?;
    let passed = report.passed();
    let path = out.join("report.txt");
    std::fs::write(&path, report.text()).map_err(|source| RunError::File { path, source })?;
    if passed && !keep {
        let _left = std::fs::remove_dir_all(&out);
    } else {
        say(&format!("history, report, logs and data are in {}", out.display()));
    }
    say(report.text().trim_end());
    Ok(passed)
}

/// Waits for a signal to stop. The nodes end with the runtime.
async fn interrupted() -> RunError {
    let Ok(mut terminate) = signal(SignalKind::terminate()) else { return std::future::pending().await };
    tokio::select! {
        _ = terminate.recv() => RunError::Interrupted("SIGTERM"),
        _ = tokio::signal::ctrl_c() => RunError::Interrupted("SIGINT"),
    }
}

/// Builds `flotilla` with the profile that this program was built with.
async fn build() -> Result<PathBuf, RunError> {
    let own = std::env::current_exe().map_err(|source| RunError::File { path: "/proc/self/exe".into(), source })?;
    let directory = own.parent().unwrap_or(Path::new("/"));
    let profile = match directory.file_name().and_then(|n| n.to_str()) {
        Some("debug") | None => "dev",
        Some(name) => name,
    };
    let status = tokio::process::Command::new("cargo")
        .args(["build", "--bin", "flotilla", "--profile", profile, "--manifest-path"])
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml"))
        .arg("--target-dir")
        .arg(directory.parent().unwrap_or(directory))
        .status()
        .await
        .map_err(|source| RunError::File { path: "cargo".into(), source })?;
    if status.success() { Ok(directory.join("flotilla")) } else { Err(RunError::Build { status }) }
}

fn parse_time(text: &str) -> Result<Duration, String> {
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let seconds = match unit {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return Err(format!("{text:?} is not a time such as 90s, 5m or 1h")),
    };
    let number: u64 = number.parse().map_err(|e| format!("{text:?}: {e}"))?;
    match number.checked_mul(seconds) {
        Some(n @ 1..=604_800) => Ok(Duration::from_secs(n)),
        _ => Err(format!("{text:?} is not between 1s and a week")),
    }
}

fn say(line: &str) {
    let _closed = writeln!(std::io::stdout(), "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_parsed_and_nonsense_is_refused() {
        assert_eq!(parse_time("60s"), Ok(Duration::from_secs(60)));
        assert_eq!(parse_time("2m"), Ok(Duration::from_secs(120)));
        assert_eq!(parse_time("1h"), Ok(Duration::from_secs(3600)));
        assert_eq!(parse_time("7"), Ok(Duration::from_secs(7)));
        assert!(["", "s", "0s", "5d", "-1s", "99999999h", "1h30m"].iter().all(|t| parse_time(t).is_err()));
    }

    #[test]
    fn the_command_line_has_the_documented_defaults() {
        let Command::Run(args) = Cli::parse_from(["jepsen", "run"]).command else { panic!("run expected") };
        assert_eq!((args.nodes, args.time, args.seed, args.rate), (3, Duration::from_secs(60), 1, 4000));
        assert!(args.binary.is_none() && args.out.is_none());
    }
}
