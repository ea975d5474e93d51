//! Wall clocks that are off: a small library, preloaded into the nodes, adds what a file says to the time of day.
//!
//! libfaketime does not do for a node whose allocator asks for the time while it starts: it looks symbols up with memory of that allocator
//! and waits for itself.

use crate::tool::{ToolError, call};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

const SOURCE: &str = include_str!("clock/shift.c");

/// Compiles the library into `directory`.
///
/// # Errors
/// If there is no C compiler, or it fails.
pub fn build(directory: &Path) -> Result<PathBuf, ToolError> {
    let (source, library) = (directory.join("clock.c"), directory.join("clock.so"));
    let written = std::fs::write(&source, SOURCE);
    written.map_err(|e| ToolError::Spawn { program: source.display().to_string(), source: e })?;
    let text = |path: &Path| path.to_string_lossy().into_owned();
    call("cc", &["-O2", "-shared", "-fPIC", "-o", &text(&library), &text(&source)])?;
    Ok(library)
}

/// The variables that shift the clock of a process by what `file` says.
#[must_use]
pub fn variables(library: &Path, file: &Path) -> [(&'static str, PathBuf); 2] {
    [("LD_PRELOAD", library.to_path_buf()), ("CLOCK_SHIFT_FILE", file.to_path_buf())]
}

/// Shifts the clocks that follow `file`, at once.
///
/// # Errors
/// If the file cannot be written.
pub fn set(file: &Path, shift_ms: i64) -> io::Result<()> {
    let open = File::options().create(true).write(true).truncate(false).open(file)?;
    open.write_all_at(&shift_ms.to_ne_bytes(), 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn a_shifted_process_sees_the_shifted_time_and_monotonic_time_as_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let library = build(directory.path()).unwrap();
        let file = directory.path().join("shift");
        let seen = |shift: i64| {
            set(&file, shift).unwrap();
            let output = |shifted: bool| {
                let mut command = Command::new("date");
                command.arg("+%s%3N");
                if shifted {
                    command.envs(variables(&library, &file));
                }
                let text = String::from_utf8(command.output().unwrap().stdout).unwrap();
                text.trim().parse::<i64>().unwrap()
            };
            output(true) - output(false)
        };
        for shift in [0, 31_536_000_000, -31_536_000_000, -999, 1001, -1] {
            let off = seen(shift) - shift;
            assert!((-20_000..=0).contains(&off), "{shift}: {off}");
        }
    }
}
