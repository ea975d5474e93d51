//! Background work: every task has a name, is counted, and ends when the node drains.

use std::future::Future;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Runs one piece of work that waits for a disk, off the reactor's threads.
///
/// Nothing bounds how many run at once: only for callers that wait for one before they begin the next, or have their own bound. In a
/// simulation it runs where it is asked for.
///
/// # Errors
/// The work panicked, or the runtime is closing.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, tokio::task::JoinError> {
    if model::threads::are_inline() {
        return Ok(work());
    }
    #[allow(clippy::disallowed_methods, reason = "the one place of this crate")]
    let done = tokio::task::spawn_blocking(work);
    done.await
}

/// The tasks of one node; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Tasks {
    tracker: TaskTracker,
    stop: CancellationToken,
}

impl Tasks {
    /// Runs `work` until it ends or the node drains; dropping it at an await must be safe.
    pub fn spawn(&self, name: &'static str, work: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        let guarded = self.tracker.spawn(async move {
            tokio::select! {
                () = work => {}
                () = stop.cancelled() => {}
            }
        });
        self.tracker.spawn(async move {
            if let Err(e) = guarded.await
                && e.is_panic()
            {
                tracing::error!(task = name, "task panicked: a bug");
            }
        });
    }

    /// Resolves when draining begins.
    pub async fn stopped(&self) {
        self.stop.cancelled().await;
    }

    /// Whether draining has begun.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.stop.is_cancelled()
    }

    /// Ends all tasks and waits for them, at most `deadline`.
    pub async fn drain(&self, deadline: Duration) {
        self.stop.cancel();
        self.tracker.close();
        if tokio::time::timeout(deadline, self.tracker.wait()).await.is_err() {
            tracing::warn!(left = self.tracker.len(), "tasks did not end in time");
        }
    }
}
