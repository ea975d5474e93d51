//! One budget, `storage.memory`, and the shares of everything that stores (`core.md` C16).
//!
//! Memory is taken as load needs it; a share is a ceiling. Where a share is full, something gives way before the next one is touched:
//! heads by an early checkpoint and, if that frees nothing, by refusing new series; caches by forgetting; buffers by refusing requests.

use crate::metrics;
use std::num::NonZero;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;
use tikv_jemalloc_ctl::{Access, AsName};

/// Memtables of the log: more of them buys nothing once a batch of it is written.
const LOG_MEMTABLES_MAX: u64 = 8 << 20;
/// Recent entries kept for followers and apply; who lags further reads them from disk.
const LOG_TAIL_MAX: u64 = 4 << 20;
/// Room for write requests at least: the largest request fits, whatever the budget.
pub const WRITE_ROOM_MIN: u64 = 256 << 20;
/// Largest block that a thread keeps for itself when it is freed.
const THREAD_CACHED_BYTES_MAX: usize = 4096;
/// How long the allocator keeps memory that was freed before it gives it back.
const DECAY: Duration = Duration::from_secs(1);

/// Bytes that each user of memory may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shares {
    /// Heads of all shards, with their indexes.
    pub heads: u64,
    /// Block cache and memtables of the chunk database.
    pub chunk_db: u64,
    /// Memtables of the log.
    pub log_memtables: u64,
    /// Entries of the log in memory.
    pub log_tail: u64,
    /// Series that write requests are recognised by.
    pub known_series: u64,
    /// Write requests being read, split and routed; never below [`WRITE_ROOM_MIN`].
    pub write_room: u64,
}

impl Shares {
    /// Divides a budget.
    #[must_use]
    pub fn of(budget: u64) -> Self {
        let sixteenth = budget / 16;
        Self {
            heads: 8 * sixteenth,
            chunk_db: 3 * sixteenth,
            log_memtables: sixteenth.min(LOG_MEMTABLES_MAX),
            log_tail: sixteenth.min(LOG_TAIL_MAX),
            known_series: sixteenth,
            write_room: 2 * sixteenth,
        }
    }

    /// Shows the shares as metrics.
    pub fn publish(&self) {
        let Self { heads, chunk_db, log_memtables, log_tail, known_series, write_room } = *self;
        for (share, bytes) in [
            ("heads", heads),
            ("chunk_db", chunk_db),
            ("log_memtables", log_memtables),
            ("log_tail", log_tail),
            ("known_series", known_series),
            ("write_room", write_room.max(WRITE_ROOM_MIN)),
        ] {
            metrics::set_memory_share(share, bytes);
        }
    }
}

/// Options that the allocator takes only as it starts. One arena for each processor instead of four: what lies free in one arena
/// serves no other. Threads keep only small blocks to themselves, and a large block gets no page of slack for the sake of caches.
fn allocator_options(processors: usize) -> String {
    let arenas = processors.max(2);
    format!("narenas:{arenas},tcache_max:{THREAD_CACHED_BYTES_MAX},cache_oblivious:false")
}

/// Begins this program anew, in this process, with the allocator's options in its environment. Gives the error if that cannot be;
/// the program then goes on with the allocator's own options.
///
/// To be called first, while there is one thread and nothing is open; not where [`crate::config::is_allocator_told`].
#[must_use]
pub fn restart_with_allocator_options() -> std::io::Error {
    let processors = std::thread::available_parallelism().map_or(1, NonZero::get);
    let mut arguments = std::env::args_os();
    let name = arguments.next();
    match std::env::current_exe() {
        Ok(program) => {
            let mut command = Command::new(&program);
            command.arg0(name.unwrap_or(program.into_os_string())).args(arguments);
            command.env(crate::config::ALLOCATOR_VARIABLE, allocator_options(processors)).exec()
        }
        Err(error) => error,
    }
}

/// Lets the allocator give freed memory back soon, on a thread of its own: what one burst took must not stay with the process. A
/// process that runs on another allocator goes on as it is.
pub fn return_freed_memory() {
    let decay_ms = isize::try_from(DECAY.as_millis()).unwrap_or(isize::MAX);
    let background = "background_thread\0".name().write(true);
    let of_new_arenas = "arenas.dirty_decay_ms\0".name().write(decay_ms);
    if let Err(error) = background.and(of_new_arenas) {
        tracing::warn!(%error, "the allocator keeps freed memory as long as it likes");
    }
    // The arena of the main thread exists already.
    let _ = "arena.0.dirty_decay_ms\0".name().write(decay_ms);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c16_shares_stay_within_the_budget_and_the_log_starts_small() {
        for budget in [64 << 20, 1 << 30, 4 << 30, 1 << 40] {
            let Shares { heads, chunk_db, log_memtables, log_tail, known_series, write_room } = Shares::of(budget);
            let all = [heads, chunk_db, log_memtables, log_tail, known_series, write_room];
            assert!(all.iter().sum::<u64>() <= budget && all.iter().all(|share| *share > 0), "{budget}: {all:?}");
            assert!(log_memtables <= 8 << 20, "two memtables of 4 MiB");
        }
    }
}
