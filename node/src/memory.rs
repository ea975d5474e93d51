//! What the process keeps of memory that was freed.

use std::time::Duration;
use tikv_jemalloc_ctl::{Access, AsName};

/// How long the allocator keeps memory that was freed before it gives it back.
const DECAY: Duration = Duration::from_secs(1);

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
    if let Err(error) = "arena.0.dirty_decay_ms\0".name().write(decay_ms) {
        tracing::debug!(%error, "the first arena keeps freed memory longer");
    }
}
