//! The command line, the choice of the binary, and exit codes: 0 OK, 1 FAILED, 2 could not run.

mod operate;

use crate::bench::{self, Load, Target};
use crate::cluster::Setup;
use crate::load::Beside;
use crate::machine::Machine;
use crate::nemesis::Asked;
use crate::run::{self, Options, RunError};
use crate::sandbox;
use crate::soak::{self, Soak};
use clap::{Args, Parser, Subcommand};
use model::clock::{Clock, SystemClock};
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
    /// Runs episodes with fresh seeds one after another and sums up their figures.
    Soak(SoakArgs),
    /// Does a run of which the directory is there once more, with its seed.
    Replay {
        /// The directory of the run.
        directory: PathBuf,
    },
    /// Writes to and queries servers one after another and prints what both took; a local cluster where no server is named.
    Bench(BenchArgs),
    /// Restarts every node in turn under load, with another version if there is one, and checks that nothing fails or is lost.
    Rolling(operate::RollingArgs),
    /// Measures capacity, offers three times that, and checks that the cluster goes on taking what it can.
    Overload(operate::OverloadArgs),
    /// Makes many workspaces, leaves them alone, and prints what that costs each node.
    Idle(operate::IdleArgs),
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
    /// Another version of it, which rolling restarts put in place of the first and back.
    #[arg(long)]
    pub new_binary: Option<PathBuf>,
    /// Where data, logs, the history and the report go; a temporary directory, removed after success, when not given.
    #[arg(long)]
    pub out: Option<PathBuf>,
    /// Kinds or classes of faults, comma separated: process, network, disk, clock, files, membership, power-all, ..., or all.
    #[arg(long, default_value = "process,network")]
    pub nemesis: Asked,
    /// Workloads, comma separated: samples (always), meta, sessions, deletes, or all.
    #[arg(long, default_value = "samples,sessions")]
    pub workload: Beside,
    /// Samples written a second.
    #[arg(long, default_value_t = 4000, value_parser = clap::value_parser!(u64).range(50..=1_000_000))]
    pub rate: u64,
}

/// Flags of `jepsen soak`.
#[derive(Debug, Args)]
pub struct SoakArgs {
    /// How long all episodes take together, as 6h.
    #[arg(long, default_value = "1h", value_parser = parse_time)]
    pub duration: Duration,
    /// How long faults and load go on in each, as 300s.
    #[arg(long, default_value = "300s", value_parser = parse_time)]
    pub episode: Duration,
    /// The first episode's seed; each has the next one.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// How many nodes.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u8).range(1..=9))]
    pub nodes: u8,
    /// Kinds or classes of faults, as for `run`.
    #[arg(long, default_value = "all")]
    pub nemesis: Asked,
    /// Workloads, as for `run`.
    #[arg(long, default_value = "all")]
    pub workload: Beside,
    /// Samples written a second.
    #[arg(long, default_value_t = 4000, value_parser = clap::value_parser!(u64).range(50..=1_000_000))]
    pub rate: u64,
    /// The node's binary; built from this workspace when not given.
    #[arg(long)]
    pub binary: Option<PathBuf>,
    /// Another version of it, as for `run`.
    #[arg(long)]
    pub new_binary: Option<PathBuf>,
    /// Where the directories of episodes go that did not pass.
    #[arg(long)]
    pub out: PathBuf,
}

/// Flags of `jepsen bench`.
#[derive(Debug, Args)]
pub struct BenchArgs {
    /// A server, `[NAME=]http://HOST:PORT[,HOST:PORT...]`, with a remote write receiver; may be given several times.
    #[arg(long)]
    pub url: Vec<Target>,
    /// Nodes of the local cluster that is started where no server is named.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=9))]
    pub nodes: u8,
    /// The binary of the local cluster's nodes; built from this workspace when not given.
    #[arg(long)]
    pub binary: Option<PathBuf>,
    /// Series written.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub series: u32,
    /// Writers, each with one request under way.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub writers: u32,
    /// Readers, each with one query under way.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(0..=1000))]
    pub readers: u32,
    /// Samples written a second; 0 for as many as go.
    #[arg(long, default_value_t = 0)]
    pub rate: u64,
    /// How long each server is measured, as 20s.
    #[arg(long, default_value = "20s", value_parser = parse_time)]
    pub time: Duration,
    /// Fixes data and queries.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

/// Does what the command line asks; the last line printed is the verdict.
pub async fn main(cli: Cli) -> ExitCode {
    let done = async {
        match cli.command {
            Command::Run(args) => try_run(args, cli.inside_sandbox).await,
            Command::Soak(args) => soak_all(args).await,
            Command::Replay { directory } => soak::replay(&directory, say).await,
            Command::Bench(args) => bench_all(args).await,
            Command::Rolling(args) => operate::rolling(args, cli.inside_sandbox).await,
            Command::Overload(args) => operate::overloaded(args, cli.inside_sandbox).await,
            Command::Idle(args) => operate::idle(args, cli.inside_sandbox).await,
            Command::Doctor => doctor(cli.inside_sandbox),
        }
    };
    match done.await {
        Ok(code) => ExitCode::from(code),
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

/// The node's binary and what there is to break it with, from inside the sandbox where there is one.
async fn binary_inside(given: Option<PathBuf>, is_inside: bool) -> Result<(PathBuf, Machine), RunError> {
    let mut more = Vec::new();
    let binary = match given {
        Some(path) => path,
        None => {
            let built = build().await?;
            more = vec!["--binary".to_string(), built.to_string_lossy().into_owned()];
            built
        }
    };
    let binary = binary.canonicalize().map_err(|source| RunError::File { path: binary, source })?;
    Ok((binary, machine(is_inside, &more)?))
}

fn doctor(is_inside: bool) -> Result<u8, RunError> {
    say(machine(is_inside, &[])?.text().trim_end());
    Ok(0)
}

async fn bench_all(args: BenchArgs) -> Result<u8, RunError> {
    let directory = std::env::temp_dir().join(format!("jepsen-bench-{}", std::process::id()));
    let (mut targets, mut local) = (args.url, None);
    if targets.is_empty() {
        let binary = match args.binary {
            Some(binary) => binary,
            None => build().await?,
        };
        let cluster = run::local(Setup { nodes: usize::from(args.nodes), binary, out: directory.clone(), ..Setup::default() }).await?;
        let addresses = cluster.specs().iter().map(|spec| spec.http.to_string()).collect();
        targets.push(Target { name: format!("flotilla x{}", args.nodes), addresses });
        local = Some(cluster);
    }
    let mut all = Vec::new();
    for target in &targets {
        let now_ms = SystemClock::default().now_ms();
        let (series, writers, readers) = (args.series, args.writers, args.readers);
        let load = Load { series, writers, readers, rate: args.rate, time: args.time, seed: args.seed, now_ms };
        all.push(bench::measure(target, &load).await?);
    }
    if let Some(cluster) = local {
        cluster.stop_all().await;
        let _left = std::fs::remove_dir_all(&directory);
    }
    say(bench::table(&all).trim_end());
    Ok(0)
}

async fn soak_all(args: SoakArgs) -> Result<u8, RunError> {
    let binary = match args.binary {
        Some(binary) => binary,
        None => build().await?,
    };
    let words = [
        ("--nodes", args.nodes.to_string()),
        ("--time", format!("{}s", args.episode.as_secs())),
        ("--nemesis", args.nemesis.text),
        ("--workload", args.workload.to_string()),
        ("--rate", args.rate.to_string()),
        ("--binary", binary.to_string_lossy().into_owned()),
    ];
    let new_binary = args.new_binary.map(|path| ("--new-binary", path.to_string_lossy().into_owned()));
    let arguments = words.into_iter().chain(new_binary).flat_map(|(name, value)| [name.to_string(), value]).collect();
    let plan = Soak { duration: args.duration, seed: args.seed, out: args.out, arguments };
    let run = async {
        tokio::select! {
            sum = soak::soak(&plan, say) => sum,
            signal = interrupted() => Err(signal),
        }
    };
    let sum = run.await?;
    say(sum.text().trim_end());
    Ok(match (sum.passed == sum.runs, sum.without_verdict) {
        (false, _) => 1,
        (true, 0) => 0,
        (true, _) => 2,
    })
}

async fn try_run(args: RunArgs, is_inside: bool) -> Result<u8, RunError> {
    let (binary, machine) = binary_inside(args.binary, is_inside).await?;
    let new_binary = args.new_binary.map(|path| path.canonicalize().map_err(|source| RunError::File { path, source })).transpose()?;
    let (out, keep) = match args.out {
        Some(out) => (out, true),
        None => (std::env::temp_dir().join(format!("jepsen-{}-{}", args.seed, std::process::id())), false),
    };
    std::fs::create_dir_all(&out).map_err(|source| RunError::File { path: out.clone(), source })?;
    let out = out.canonicalize().map_err(|source| RunError::File { path: out, source })?;
    let nodes = usize::from(args.nodes);
    let (time, seed, rate, nemesis, beside) = (args.time, args.seed, args.rate, args.nemesis, args.workload);
    let path = out.join(soak::ARGUMENTS);
    let other = new_binary.as_ref().map(|path| format!("--new-binary\n{}\n", path.display())).unwrap_or_default();
    let again = format!(
        "run\n--nodes\n{nodes}\n--time\n{}s\n--seed\n{seed}\n--rate\n{rate}\n--workload\n{beside}\n--nemesis\n{}\n--binary\n{}\n{other}",
        time.as_secs(),
        nemesis.text,
        binary.display()
    );
    std::fs::write(&path, again).map_err(|source| RunError::File { path, source })?;
    let options = Options { nodes, time, seed, rate, binary, new_binary, out: out.clone(), beside, nemesis, machine };
    let run = async {
        tokio::select! {
            report = run::run(options) => report,
            signal = interrupted() => Err(signal),
        }
    };
    let report = run.await.inspect_err(|_| say(&format!("logs are in {}", out.display())))?;
    let passed = report.passed();
    let tally = serde_json::to_string_pretty(report.tally()).unwrap_or_default();
    for (name, text) in [("report.txt", report.text()), (soak::TALLY, &tally)] {
        let path = out.join(name);
        std::fs::write(&path, text).map_err(|source| RunError::File { path, source })?;
    }
    if passed && !keep {
        let _left = std::fs::remove_dir_all(&out);
    } else {
        say(&format!("history, report, logs and data are in {}", out.display()));
    }
    say(report.text().trim_end());
    Ok(u8::from(!passed))
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
