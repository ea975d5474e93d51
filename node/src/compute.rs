//! Work of requests that computes or reads the database, off the reactor's threads: so many at once, so many waiting, no more.

use crate::task;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::available_parallelism;
use tokio::sync::Semaphore;
use tokio::task::JoinError;

/// Work that may wait for one place.
const WAITING_PER_PLACE: usize = 256;
/// Reads and evaluations per core: some wait for the disk, and a short one should not have to wait for a long one.
const QUERIES_PER_CORE: usize = 4;

/// Why work was not done.
#[derive(Debug, thiserror::Error)]
pub enum ComputeError {
    /// Too much waits already.
    #[error("too much work is waiting ({waiting_max})")]
    Overloaded {
        /// How much may wait.
        waiting_max: usize,
    },
    /// The work panicked, or the runtime is closing.
    #[error(transparent)]
    Aborted(#[from] JoinError),
}

/// Places for one kind of work; another kind cannot take them. Clones share them.
#[derive(Clone, Debug)]
pub struct Lane {
    places: Arc<Semaphore>,
    waiting: Arc<AtomicUsize>,
    waiting_max: usize,
}

impl Lane {
    /// For reads and evaluations of queries.
    #[must_use]
    pub fn for_queries() -> Self {
        Self::new(cores() * QUERIES_PER_CORE)
    }

    /// For bodies of write requests: they need nothing but a core.
    #[must_use]
    pub fn for_writes() -> Self {
        Self::new(cores())
    }

    fn new(places: usize) -> Self {
        Self { places: Arc::new(Semaphore::new(places)), waiting: Arc::default(), waiting_max: places * WAITING_PER_PLACE }
    }

    /// Runs `work` when it has a place, first come first served. Dropping the future gives up what waits; what runs goes on, in its place.
    ///
    /// # Errors
    /// See [`ComputeError`].
    ///
    /// # Panics
    /// Never: nobody closes the lane's places.
    pub async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, ComputeError> {
        let place = {
            let waiting = Waiting::join(&self.waiting);
            if waiting.ahead >= self.waiting_max {
                return Err(ComputeError::Overloaded { waiting_max: self.waiting_max });
            }
            Arc::clone(&self.places).acquire_owned().await.expect("nobody closes the lane")
        };
        let placed = move || {
            let _place = place;
            work()
        };
        Ok(task::blocking(placed).await?)
    }
}

fn cores() -> usize {
    available_parallelism().map_or(1, usize::from)
}

struct Waiting<'a> {
    count: &'a AtomicUsize,
    ahead: usize,
}

impl<'a> Waiting<'a> {
    fn join(count: &'a AtomicUsize) -> Self {
        Self { count, ahead: count.fetch_add(1, Ordering::Relaxed) }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.count.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "real threads")]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    #[tokio::test(flavor = "multi_thread")]
    async fn work_waits_for_a_place_and_what_waits_is_bounded() {
        let lane = Arc::new(Lane::new(1));
        let (go, gate) = channel::<()>();
        let (started, running) = channel::<()>();
        let first = tokio::spawn({
            let lane = Arc::clone(&lane);
            async move {
                let held = move || {
                    started.send(()).unwrap();
                    gate.recv().unwrap();
                };
                lane.run(held).await
            }
        });
        tokio::task::spawn_blocking(move || running.recv().unwrap()).await.unwrap();
        let second = tokio::spawn({
            let lane = Arc::clone(&lane);
            async move { lane.run(|| 2).await }
        });
        while lane.waiting.load(Ordering::Relaxed) == 0 {
            tokio::task::yield_now().await;
        }
        lane.waiting.fetch_add(lane.waiting_max, Ordering::Relaxed);
        assert!(matches!(lane.run(|| 3).await, Err(ComputeError::Overloaded { .. })));
        lane.waiting.fetch_sub(lane.waiting_max, Ordering::Relaxed);

        // Who gave up waiting is not waited for; what runs keeps its place although nobody listens any more.
        first.abort();
        assert!(!second.is_finished());
        go.send(()).unwrap();
        assert_eq!(second.await.unwrap().unwrap(), 2);
        assert_eq!(lane.waiting.load(Ordering::Relaxed), 0);
        assert!(matches!(lane.run(|| panic!("as asked")).await, Err(ComputeError::Aborted(e)) if e.is_panic()));
        assert_eq!(lane.run(|| 4).await.unwrap(), 4, "a panic gives its place back");
    }
}
