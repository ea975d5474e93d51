//! Reads that wait for a quorum: while there are any, the group's heartbeats wait for nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Counts the read barriers of one group that are running.
#[derive(Debug, Default)]
pub(crate) struct Probes {
    running: AtomicUsize,
}

/// One running read barrier.
#[derive(Debug)]
pub(crate) struct Probe(Arc<Probes>);

impl Probes {
    /// Counts one more until the answer is dropped.
    pub(crate) fn begin(self: &Arc<Self>) -> Probe {
        self.running.fetch_add(1, Ordering::Relaxed);
        Probe(Arc::clone(self))
    }

    /// Whether a read waits for the next heartbeat.
    pub(crate) fn are_running(&self) -> bool {
        self.running.load(Ordering::Relaxed) > 0
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::Relaxed);
    }
}
