//! What defaults are computed from.

use std::path::Path;

/// The machine, or the container, that the process runs in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// Host name; `flotilla` where the system has none.
    pub host_name: String,
    /// Memory that the process may use, in bytes: the machine's, or less where a control group says so.
    pub memory_bytes: u64,
}

/// Assumed where the system does not tell.
const MEMORY_BYTES_UNKNOWN: u64 = 2 << 30;

impl Machine {
    /// Asks the system.
    pub fn read() -> Self {
        let host_name = read_trimmed("/proc/sys/kernel/hostname").filter(|name| super::value::name(name).is_ok());
        let limits = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];
        let limits = limits.iter().filter_map(|path| read_trimmed(path)?.parse().ok());
        Machine {
            host_name: host_name.unwrap_or_else(|| "flotilla".to_owned()),
            memory_bytes: limits.chain(memory_total()).min().unwrap_or(MEMORY_BYTES_UNKNOWN),
        }
    }
}

fn memory_total() -> Option<u64> {
    let info = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = info.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

fn read_trimmed(path: impl AsRef<Path>) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}
