//! What Linux tells of a process: processor time and memory.

use std::io;
use std::path::Path;
use std::time::Duration;

/// Ticks a second of the times in `/proc`: 100 on every architecture that Linux keeps stable interfaces for.
const TICKS_PER_SECOND: u64 = 100;

/// What a process used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Processor time of all of its threads, in user and kernel mode.
    pub cpu: Duration,
    /// Resident memory, bytes.
    pub resident: u64,
}

/// What a process has used so far.
///
/// # Errors
/// If there is no such process.
pub fn usage(pid: u32) -> io::Result<Usage> {
    let directory = Path::new("/proc").join(pid.to_string());
    let stat = std::fs::read_to_string(directory.join("stat"))?;
    let status = std::fs::read_to_string(directory.join("status"))?;
    parse(&stat, &status).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, format!("{}: not as expected", directory.display())))
}

fn parse(stat: &str, status: &str) -> Option<Usage> {
    // The name in parentheses may hold anything; user and kernel time are the 14th and 15th field, the name being the 2nd.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let ticks = fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?;
    let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?.trim().strip_suffix(" kB")?.parse::<u64>().ok()?;
    Some(Usage { cpu: Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND), resident: kib * 1024 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_memory_are_read_past_any_name() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 9 0 100 1000 10 18446744073709551615";
        let used = parse(stat, "Name:\ta\nVmRSS:\t    2048 kB\n").unwrap();
        assert_eq!(used, Usage { cpu: Duration::from_secs(3), resident: 2 << 20 });
        assert_eq!(parse("7 (a) S 1", "VmRSS:\t1 kB\n"), None);
        assert!(usage(std::process::id()).unwrap().resident > 100_000);
    }
}
