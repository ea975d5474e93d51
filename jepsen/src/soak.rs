//! Runs one after another, each a process of its own with a fresh seed, and their figures together; and a run once more.

use crate::run::RunError;
use crate::tally::Tally;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::process::Command;
use tokio::time::Instant;

/// The file of a run's directory with the arguments that repeat it, one a line.
pub const ARGUMENTS: &str = "arguments.txt";
/// The file of a run's directory with its [`Tally`].
pub const TALLY: &str = "tally.json";

/// What to soak.
#[derive(Debug, Clone)]
pub struct Soak {
    /// How long all episodes take together; the last one is finished.
    pub duration: Duration,
    /// The seed of the first episode; each has the next one.
    pub seed: u64,
    /// Where the directories of episodes go that did not pass.
    pub out: PathBuf,
    /// Arguments of each run but `--seed` and `--out`.
    pub arguments: Vec<String>,
}

/// Runs episodes; `say` gets a line for each. The sum of all.
///
/// # Errors
/// If a run cannot be started or leaves no figures behind although it had a verdict.
pub async fn soak(plan: &Soak, say: impl Fn(&str)) -> Result<Tally, RunError> {
    let end = Instant::now() + plan.duration;
    let mut sum = Tally::default();
    let mut seed = plan.seed;
    while Instant::now() < end {
        let out = plan.out.join(format!("seed-{seed}"));
        let mut arguments = vec!["run".to_string()];
        arguments.extend(plan.arguments.iter().cloned());
        arguments.extend(["--seed".to_string(), seed.to_string(), "--out".to_string(), out.to_string_lossy().into_owned()]);
        let (code, text) = start(&arguments).await?;
        match code {
            Some(0 | 1) => sum.add(&tally_of(&out)?),
            _ => sum.without_verdict += 1,
        }
        say(&format!("seed {seed}: {}", text.lines().last().unwrap_or("no output")));
        if code == Some(0) {
            let _left = std::fs::remove_dir_all(&out);
        } else {
            say(&text);
        }
        seed += 1;
    }
    Ok(sum)
}

/// Runs what the directory of an earlier run says, into a new directory beside it; its exit code.
///
/// # Errors
/// If the directory is none of a run, or the run cannot be started.
pub async fn replay(directory: &Path, say: impl Fn(&str)) -> Result<u8, RunError> {
    let path = directory.join(ARGUMENTS);
    let text = std::fs::read_to_string(&path).map_err(|source| RunError::File { path, source })?;
    let mut arguments: Vec<String> = text.lines().map(str::to_string).collect();
    let name = directory.file_name().unwrap_or_default().to_string_lossy();
    let again = directory.with_file_name(format!("{name}-again"));
    arguments.extend(["--out".to_string(), again.to_string_lossy().into_owned()]);
    let (code, text) = start(&arguments).await?;
    say(text.trim_end());
    Ok(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(2))
}

/// Runs this program with other arguments.
async fn start(arguments: &[String]) -> Result<(Option<i32>, String), RunError> {
    let own = std::env::current_exe().map_err(|source| RunError::File { path: "/proc/self/exe".into(), source })?;
    let child = Command::new(&own).args(arguments).stdin(Stdio::null()).kill_on_drop(true).output();
    let output = child.await.map_err(|source| RunError::File { path: own, source })?;
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    Ok((output.status.code(), text))
}

/// The figures that a run left behind.
fn tally_of(out: &Path) -> Result<Tally, RunError> {
    let path = out.join(TALLY);
    let read = std::fs::read(&path).and_then(|bytes| serde_json::from_slice(&bytes).map_err(std::io::Error::other));
    read.map_err(|source| RunError::File { path, source })
}
