//! The command line.

use clap::{Args, Parser, Subcommand};
use rustix::process::{Resource, Rlimit, setrlimit};
use sim::many::{self, CPU_MAX, Many};
use sim::plan::Plan;
use sim::{groups, interposed, mutants, nodes, panics};
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// Longest time of one seed by the machine's clock, however busy it is.
const PATIENCE: Duration = Duration::from_secs(1800);

#[derive(Debug, Parser)]
#[command(name = "sim", about = "Runs simulated clusters from seeds.")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run one seed
    Run(Run),
    /// Run many seeds, a process each
    Many(ManySeeds),
    /// Run seeds against each planted bug, until one finds it
    Mutants(Mutants),
}

#[derive(Debug, Args)]
struct Run {
    /// The seed
    #[arg(long)]
    seed: u64,
    /// Seconds of simulated time with faults
    #[arg(long, default_value_t = 20)]
    storm: u64,
    /// Run whole nodes instead of Raft groups
    #[arg(long)]
    nodes: bool,
    /// Write the trace into this file
    #[arg(long)]
    trace: Option<PathBuf>,
    /// Show what the simulated nodes log, as RUST_LOG would say it
    #[arg(long)]
    log: Option<String>,
}

#[derive(Debug, Args)]
struct ManySeeds {
    /// How many
    #[arg(long, default_value_t = 200)]
    seeds: u64,
    /// The first
    #[arg(long, default_value_t = 1)]
    first: u64,
    /// Processes at a time
    #[arg(long)]
    jobs: Option<usize>,
    /// Seconds of simulated time with faults
    #[arg(long, default_value_t = 20)]
    storm: u64,
    /// Run whole nodes instead of Raft groups
    #[arg(long)]
    nodes: bool,
    /// Where traces of failed seeds go
    #[arg(long, default_value = ".")]
    traces: PathBuf,
}

#[derive(Debug, Args)]
struct Mutants {
    /// Seeds against each bug at most
    #[arg(long, default_value_t = 100)]
    seeds: u64,
    /// The first
    #[arg(long, default_value_t = 1)]
    first: u64,
    /// Processes at a time
    #[arg(long)]
    jobs: Option<usize>,
    /// Only these bugs
    #[arg(long)]
    only: Vec<String>,
}

pub(crate) fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Run(options) => return run(&options),
        Command::Many(options) => many_seeds(&options),
        Command::Mutants(options) => mutants(&options),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            let _ = writeln!(io::stderr(), "{error}");
            ExitCode::from(2)
        }
    }
}

/// What every process is told beside its seed.
fn arguments(storm: u64, nodes: bool) -> Vec<String> {
    let nodes = nodes.then(|| "--nodes".to_owned());
    ["--storm".to_owned(), storm.to_string()].into_iter().chain(nodes).collect()
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn many_seeds(options: &ManySeeds) -> io::Result<bool> {
    let many = Many {
        program: std::env::current_exe()?,
        first: options.first,
        seeds: options.seeds,
        jobs: options.jobs.unwrap_or_else(cores),
        arguments: arguments(options.storm, options.nodes),
        planted: None,
        stop_at_first: false,
        patience: PATIENCE,
    };
    many::report(&many, &options.traces, &mut io::stdout().lock())
}

fn mutants(options: &Mutants) -> io::Result<bool> {
    if !cfg!(feature = "planted-bugs") {
        return Err(io::Error::other("this binary has no planted bugs: build it with --features sim/planted-bugs"));
    }
    let many = Many {
        program: std::env::current_exe()?,
        first: options.first,
        seeds: options.seeds,
        jobs: options.jobs.unwrap_or_else(cores),
        arguments: Vec::new(),
        planted: None,
        stop_at_first: true,
        patience: PATIENCE,
    };
    let hunts = mutants::hunt(&many, &options.only, &mut io::stdout().lock())?;
    Ok(hunts.iter().all(|hunt| hunt.found.is_some()))
}

fn run(options: &Run) -> ExitCode {
    let mut out = io::stdout().lock();
    if let Some(filter) = &options.log {
        tracing_subscriber::fmt().with_env_filter(filter.as_str()).with_writer(io::stderr).with_ansi(false).init();
    }
    interposed::enter(options.seed);
    if !interposed::is_effective() {
        let _ = writeln!(out, "this binary lacks the overrides of libc");
        return ExitCode::from(2);
    }
    let limit = Rlimit { current: Some(CPU_MAX.as_secs()), maximum: Some(CPU_MAX.as_secs() + 1) };
    let _ = setrlimit(Resource::Cpu, limit);
    model::threads::run_inline();
    panics::watch();
    let storm = Duration::from_secs(options.storm);
    let plan = if options.nodes { Plan::of_nodes(options.seed, storm) } else { Plan::new(options.seed, storm) };
    let keep_trace = options.trace.is_some();
    let report = if options.nodes { nodes::run(plan.clone(), keep_trace) } else { groups::run(plan.clone(), keep_trace) };
    let cpu = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    let cpu = Duration::new(u64::try_from(cpu.tv_sec).unwrap_or(0), u32::try_from(cpu.tv_nsec).unwrap_or(0));
    if let Some(path) = &options.trace {
        let text = format!("{plan:?}\n{}\n", report.lines.join("\n"));
        if let Err(error) = std::fs::write(path, text) {
            let _ = writeln!(out, "{}: {error}", path.display());
        }
    }
    let _ = writeln!(out, "{} cpu {:.2} s", report.line(), cpu.as_secs_f64());
    let _ = out.flush();
    // Nothing that is left has anything to say any more.
    std::process::exit(i32::from(report.violation.is_some()))
}
