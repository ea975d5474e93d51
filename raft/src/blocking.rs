//! Work that waits for a disk: on a thread that may block or, in a simulation, where it is asked for.

use std::io;

/// Runs `work` off the reactor's threads.
///
/// # Errors
/// The work panicked, or the runtime is closing.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    if model::threads::are_inline() {
        return Ok(work());
    }
    #[allow(clippy::disallowed_methods, reason = "the one place of this crate")]
    let done = tokio::task::spawn_blocking(work);
    done.await.map_err(io::Error::other)
}
