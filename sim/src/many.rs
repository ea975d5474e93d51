//! Many seeds, a process each.

use model::Clock;
use model::clock::SystemClock;
use std::io::{self, Write};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Processor time that one seed may take: one that makes no progress any more is a failure, one on a busy machine is none.
pub const CPU_MAX: Duration = Duration::from_secs(120);

/// What to run.
#[derive(Clone, Debug)]
pub struct Many {
    /// This binary.
    pub program: PathBuf,
    /// The first seed.
    pub first: u64,
    /// How many.
    pub seeds: u64,
    /// Processes at a time.
    pub jobs: usize,
    /// What every process is told beside its seed.
    pub arguments: Vec<String>,
    /// A bug to plant, in a binary that has them.
    pub planted: Option<&'static str>,
    /// After a failure no further seed is begun.
    pub stop_at_first: bool,
    /// Longest time of one process by the machine's clock, beside the processor time that it allows itself.
    pub patience: Duration,
}

/// How one seed ended.
#[derive(Clone, Debug)]
pub struct Ended {
    /// The seed.
    pub seed: u64,
    /// Whether no rule was broken.
    pub is_ok: bool,
    /// The line that it printed.
    pub line: String,
    /// Its processor time.
    pub cpu: Duration,
    /// Its simulated time.
    pub simulated: Duration,
}

struct Running {
    seed: u64,
    child: Child,
    since: Duration,
}

/// The number before `unit` and behind `name` in a report's line.
fn number(line: &str, name: &str) -> f64 {
    let rest = line.rsplit_once(name).map_or("", |(_, rest)| rest);
    rest.split_whitespace().next().and_then(|text| text.parse().ok()).unwrap_or(0.0)
}

impl Many {
    fn start(&self, seed: u64, since: Duration) -> io::Result<Running> {
        let mut command = Command::new(&self.program);
        command.args(["run", "--seed", &seed.to_string()]).args(&self.arguments).stdin(Stdio::null()).stdout(Stdio::piped());
        match self.planted {
            Some(name) => command.env(model::planted::VARIABLE, name),
            None => command.env_remove(model::planted::VARIABLE),
        };
        Ok(Running { seed, child: command.stderr(Stdio::null()).spawn()?, since })
    }

    fn end(&self, mut running: Running, now: Duration) -> io::Result<Result<Ended, Running>> {
        let late = now.saturating_sub(running.since) > self.patience;
        if late {
            running.child.kill()?;
        } else if running.child.try_wait()?.is_none() {
            return Ok(Err(running));
        }
        let process = running.child.id();
        let output = running.child.wait_with_output()?;
        let signal = output.status.signal();
        if signal.is_some() {
            // What it would have removed itself.
            let _ = std::fs::remove_dir_all(crate::nodes::directory(process, running.seed));
        }
        let spent = signal == Some(libc::SIGXCPU);
        let text = String::from_utf8_lossy(&output.stdout);
        let line = text.lines().find(|line| line.starts_with("seed ")).unwrap_or_default().to_owned();
        let last = text.lines().last().unwrap_or_default();
        let line = match (late || spent, line.is_empty()) {
            (true, _) if spent => format!("seed {}: VIOLATION no end after {} s of processor time", running.seed, CPU_MAX.as_secs()),
            (true, _) => format!("seed {}: VIOLATION no end after {} s", running.seed, self.patience.as_secs()),
            (false, true) => format!("seed {}: VIOLATION the process ended without a report: {}", running.seed, output.status),
            (false, false) => line,
        };
        Ok(Ok(Ended {
            seed: running.seed,
            is_ok: output.status.success() && !late,
            cpu: if spent { CPU_MAX } else { Duration::from_secs_f64(number(last, "cpu ")) },
            simulated: Duration::from_secs_f64(number(&line, "simulated ")),
            line,
        }))
    }

    /// Runs the seeds; tells each as it ends.
    ///
    /// # Errors
    /// A process cannot be started.
    pub fn run(&self, mut told: impl FnMut(&Ended)) -> io::Result<Vec<Ended>> {
        let clock = SystemClock::default();
        let mut waiting = (self.first..self.first + self.seeds).rev().collect::<Vec<_>>();
        let mut running: Vec<Running> = Vec::new();
        let mut ended = Vec::new();
        while !(waiting.is_empty() && running.is_empty()) {
            while running.len() < self.jobs.max(1)
                && let Some(seed) = waiting.pop()
            {
                running.push(self.start(seed, clock.monotonic())?);
            }
            for process in std::mem::take(&mut running) {
                match self.end(process, clock.monotonic())? {
                    Err(still) => running.push(still),
                    Ok(one) => {
                        told(&one);
                        if self.stop_at_first && !one.is_ok {
                            waiting.clear();
                        }
                        ended.push(one);
                    }
                }
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        ended.sort_by_key(|one| one.seed);
        Ok(ended)
    }

    /// The line that runs one seed again and keeps its trace in `directory`.
    #[must_use]
    pub fn replay(&self, seed: u64, directory: &Path) -> String {
        let planted = self.planted.map(|name| format!("{}={name} ", model::planted::VARIABLE)).unwrap_or_default();
        let trace = directory.join(format!("seed-{seed}.trace"));
        format!("{planted}{} run --seed {seed} {} --trace {}", self.program.display(), self.arguments.join(" "), trace.display())
    }

    /// Runs a failed seed again and keeps its trace.
    ///
    /// # Errors
    /// The process cannot be started.
    pub fn keep_trace(&self, seed: u64, directory: &Path) -> io::Result<()> {
        let trace = directory.join(format!("seed-{seed}.trace"));
        let mut again = self.clone();
        again.arguments.extend(["--trace".to_owned(), trace.display().to_string()]);
        (again.first, again.seeds) = (seed, 1);
        again.run(|_| ()).map(drop)
    }
}

/// Runs seeds for `sim many`: prints failures with what replays them, and a summary. True when there was none.
///
/// # Errors
/// A process cannot be started, or nobody reads what is printed.
pub fn report(many: &Many, traces: &Path, out: &mut dyn Write) -> io::Result<bool> {
    let began = SystemClock::default();
    let mut failed = Vec::new();
    let ended = many.run(|one| {
        if !one.is_ok {
            failed.push(one.clone());
        }
    })?;
    for one in &failed {
        writeln!(out, "{}\n  again: {}", one.line.chars().take(2000).collect::<String>(), many.replay(one.seed, traces))?;
        many.keep_trace(one.seed, traces)?;
    }
    let sum = |of: fn(&Ended) -> Duration| ended.iter().map(of).sum::<Duration>().as_secs_f64();
    let (cpu, simulated) = (sum(|one| one.cpu), sum(|one| one.simulated));
    writeln!(
        out,
        "{} seeds from {}: {} failed; {simulated:.0} s simulated in {cpu:.1} s of processor time ({:.0} a second), {:.0} s passed",
        ended.len(),
        many.first,
        failed.len(),
        simulated / cpu.max(0.001),
        began.monotonic().as_secs_f64()
    )?;
    Ok(failed.is_empty())
}
