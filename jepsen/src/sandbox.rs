//! Namespaces of this process's own: its network, its mounts. Whatever ends it, the kernel takes them away with it.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

/// The flag that tells this program that it runs inside.
pub const INSIDE: &str = "--inside-sandbox";

/// Whether new network and mount namespaces can be made here.
///
/// # Errors
/// Why not.
pub fn probe() -> Result<(), String> {
    let made = unshare().args(["--", "ip", "link", "set", "lo", "up"]).output();
    match made {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(String::from_utf8_lossy(&output.stderr).trim().to_string()),
        Err(e) => Err(format!("unshare: {e}")),
    }
}

/// Replaces this process by the same program with the same arguments inside new namespaces; returns only on failure.
#[must_use]
pub fn enter(program: &Path, arguments: &[String]) -> std::io::Error {
    let script = "ip link set lo up && exec \"$@\"";
    unshare().args(["--", "sh", "-c", script, "sh"]).arg(program).args(arguments).arg(INSIDE).exec()
}

fn unshare() -> Command {
    let mut command = Command::new("unshare");
    command.args(["--net", "--mount", "--propagation", "private"]);
    command
}
