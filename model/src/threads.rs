//! Whether work that blocks gets threads of its own.
//!
//! A process runs it on threads. A simulation runs everything on one thread, so that one seed always gives the same run: it says so once,
//! before it starts its first node.

use std::sync::atomic::{AtomicBool, Ordering};

static INLINE: AtomicBool = AtomicBool::new(false);

/// From now on work that blocks runs where it is asked for, in this whole process. Only for simulations, before anything was started.
pub fn run_inline() {
    INLINE.store(true, Ordering::SeqCst);
}

/// Whether work that blocks runs where it is asked for.
#[must_use]
pub fn are_inline() -> bool {
    INLINE.load(Ordering::Relaxed)
}
