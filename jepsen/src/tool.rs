//! System programs that the harness calls (`mount`, `ip`, `mkfs.ext4`, ...), with what they print kept for errors.

use std::ffi::OsStr;
use std::process::{Command, Stdio};

const OUTPUT_MAX: usize = 400;

/// Why a program did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum ToolError {
    /// It does not start.
    #[error("{program}: {source}")]
    Spawn {
        /// Which.
        program: String,
        /// Why.
        source: std::io::Error,
    },
    /// It failed.
    #[error("{line}: {status}: {output}")]
    Failed {
        /// Program and arguments.
        line: String,
        /// Its status.
        status: std::process::ExitStatus,
        /// The beginning of what it printed.
        output: String,
    },
}

/// Runs a program to its end and returns what it printed to standard output. Blocks the thread: for programs that take milliseconds.
///
/// # Errors
/// If it does not start or does not exit with 0.
pub fn call<A: AsRef<OsStr>>(program: &str, arguments: &[A]) -> Result<String, ToolError> {
    let made = Command::new(program).args(arguments).stdin(Stdio::null()).output();
    let output = made.map_err(|source| ToolError::Spawn { program: program.to_string(), source })?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(text);
    }
    let words: Vec<_> = arguments.iter().map(|a| a.as_ref().to_string_lossy().into_owned()).collect();
    let printed = format!("{text}{}", String::from_utf8_lossy(&output.stderr));
    Err(ToolError::Failed {
        line: format!("{program} {}", words.join(" ")),
        status: output.status,
        output: printed.trim().chars().take(OUTPUT_MAX).collect(),
    })
}

/// [`call`] on the pool for blocking work.
///
/// # Errors
/// As [`call`].
pub async fn run(program: &'static str, arguments: Vec<String>) -> Result<String, ToolError> {
    match tokio::task::spawn_blocking(move || call(program, &arguments)).await {
        Ok(result) => result,
        Err(ended) => Err(ToolError::Spawn { program: program.to_string(), source: std::io::Error::other(ended) }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_is_returned_and_a_failure_names_the_line_and_what_was_printed() {
        assert_eq!(call("echo", &["a", "b"]).unwrap(), "a b\n");
        let failed = call("sh", &["-c", "echo because >&2; exit 3"]).unwrap_err().to_string();
        assert!(failed.contains("sh -c") && failed.contains("because") && failed.contains('3'), "{failed}");
        assert!(call::<&str>("/nonexistent", &[]).unwrap_err().to_string().starts_with("/nonexistent: "));
    }
}
