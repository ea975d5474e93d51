//! How many queries run at once on a node; the others wait in order, at most as long as their deadline.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Waiting queries per place to run; beyond, a query is turned away at once.
const WAITING_PER_SLOT: usize = 50;

/// The places for queries.
#[derive(Clone, Debug)]
pub struct QuerySlots {
    slots: Arc<Semaphore>,
    waiting: Arc<AtomicUsize>,
    waiting_max: usize,
}

/// Too many queries wait already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many queries are waiting ({waiting_max})")]
pub struct TooManyQueries {
    waiting_max: usize,
}

impl QuerySlots {
    /// Makes room for `concurrency` queries.
    #[must_use]
    pub fn new(concurrency: usize) -> Self {
        let concurrency = concurrency.max(1);
        Self { slots: Arc::new(Semaphore::new(concurrency)), waiting: Arc::default(), waiting_max: concurrency * WAITING_PER_SLOT }
    }

    /// Waits for a place, first come first served; the place is given back when the permit is dropped.
    ///
    /// # Errors
    /// Too many wait already.
    pub async fn acquire(&self) -> Result<OwnedSemaphorePermit, TooManyQueries> {
        let _waiting = Waiting::join(&self.waiting);
        if self.waiting.load(Ordering::Relaxed) > self.waiting_max {
            return Err(TooManyQueries { waiting_max: self.waiting_max });
        }
        Arc::clone(&self.slots).acquire_owned().await.map_err(|_| TooManyQueries { waiting_max: self.waiting_max })
    }
}

struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn join(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_place_is_given_back_and_the_queue_is_bounded() {
        let slots = QuerySlots::new(1);
        let first = slots.acquire().await.unwrap();
        let second = tokio::spawn({
            let slots = slots.clone();
            async move { slots.acquire().await.is_ok() }
        });
        tokio::task::yield_now().await;
        assert!(!second.is_finished());
        drop(first);
        assert!(second.await.unwrap());
        slots.waiting.store(WAITING_PER_SLOT + 1, Ordering::Relaxed);
        assert!(slots.acquire().await.is_err());
    }
}
