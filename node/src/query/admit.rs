//! How many queries run at once on a node; the others wait, workspace by workspace in turn.
//!
//! Workspaces with waiting queries stand in a ring. A place that becomes free goes to the oldest query of the workspace whose turn
//! it is, which then goes to the end of the ring: one that sends a thousand queries does not keep another's one waiting for all of
//! them. How long a query may wait is its caller's to say; dropping the future leaves the queue.

use parking_lot::Mutex;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use tokio::sync::oneshot;

/// Queries of one workspace that may wait, per place to run.
const WAITING_PER_WORKSPACE: usize = 10;
/// Queries of all workspaces that may wait, per place to run.
const WAITING_PER_PLACE: usize = 50;

/// Why a query may not even wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TooManyQueries {
    /// Its workspace has its fill of waiting queries.
    #[error("too many outstanding requests: {waiting_max} queries of this workspace are waiting")]
    Workspace {
        /// How many may wait.
        waiting_max: usize,
    },
    /// The node has.
    #[error("too many queries are waiting on this node ({waiting_max})")]
    Node {
        /// How many may wait.
        waiting_max: usize,
    },
}

/// The places for queries of a node; clones share them.
#[derive(Clone, Debug)]
pub struct QuerySlots {
    queue: Arc<Mutex<Queue>>,
}

#[derive(Debug)]
struct Queue {
    free: usize,
    waiting: usize,
    workspace_max: usize,
    node_max: usize,
    next_ticket: u64,
    waiters: HashMap<Arc<str>, VecDeque<Waiter>>,
    /// Workspaces with waiters, each once; the first is next.
    turns: VecDeque<Arc<str>>,
}

#[derive(Debug)]
struct Waiter {
    ticket: u64,
    place: oneshot::Sender<Place>,
}

/// A place to run, given back when dropped.
#[derive(Debug)]
pub struct Place {
    slots: Option<QuerySlots>,
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(slots) = self.slots.take() {
            slots.release();
        }
    }
}

impl QuerySlots {
    /// Makes room for `concurrency` queries.
    #[must_use]
    pub fn new(concurrency: usize) -> Self {
        let concurrency = concurrency.max(1);
        let queue = Queue {
            free: concurrency,
            waiting: 0,
            workspace_max: concurrency * WAITING_PER_WORKSPACE,
            node_max: concurrency * WAITING_PER_PLACE,
            next_ticket: 0,
            waiters: HashMap::new(),
            turns: VecDeque::new(),
        };
        Self { queue: Arc::new(Mutex::new(queue)) }
    }

    /// Waits for a place for a query of `workspace`.
    ///
    /// # Errors
    /// Too many wait already.
    ///
    /// # Panics
    /// The queue has lost a waiter, which is a bug.
    pub async fn acquire(&self, workspace: &str) -> Result<Place, TooManyQueries> {
        let (waiting, place) = {
            let mut queue = self.queue.lock();
            if queue.free > 0 {
                queue.free -= 1;
                return Ok(self.place());
            }
            let (ticket, place) = queue.join(workspace)?;
            (Waiting { slots: self, workspace, ticket: Some(ticket) }, place)
        };
        let place = place.await.expect("a waiter leaves the queue with a place or by itself");
        waiting.served();
        Ok(place)
    }

    /// Queries that wait now.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.queue.lock().waiting
    }

    fn place(&self) -> Place {
        Place { slots: Some(self.clone()) }
    }

    fn release(&self) {
        let mut queue = self.queue.lock();
        loop {
            let Some(waiter) = queue.next() else {
                queue.free += 1;
                return;
            };
            match waiter.place.send(self.place()) {
                Ok(()) => return,
                // The waiter has just gone; this place is handed on here, not by its own drop, which would take the lock again.
                Err(mut unclaimed) => unclaimed.slots = None,
            }
        }
    }
}

impl Queue {
    fn join(&mut self, workspace: &str) -> Result<(u64, oneshot::Receiver<Place>), TooManyQueries> {
        if self.waiting >= self.node_max {
            return Err(TooManyQueries::Node { waiting_max: self.node_max });
        }
        if self.waiters.get(workspace).is_some_and(|w| w.len() >= self.workspace_max) {
            return Err(TooManyQueries::Workspace { waiting_max: self.workspace_max });
        }
        let (sender, receiver) = oneshot::channel();
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        if !self.waiters.contains_key(workspace) {
            let name: Arc<str> = workspace.into();
            self.turns.push_back(Arc::clone(&name));
            self.waiters.insert(name, VecDeque::new());
        }
        if let Some(waiters) = self.waiters.get_mut(workspace) {
            waiters.push_back(Waiter { ticket, place: sender });
        }
        self.waiting += 1;
        Ok((ticket, receiver))
    }

    /// Takes out who is next.
    fn next(&mut self) -> Option<Waiter> {
        let name = self.turns.pop_front()?;
        let waiters = self.waiters.get_mut(&name).expect("a workspace has its turn only while it has waiters");
        let waiter = waiters.pop_front().expect("a workspace has its turn only while it has waiters");
        if waiters.is_empty() {
            self.waiters.remove(&name);
        } else {
            self.turns.push_back(name);
        }
        self.waiting -= 1;
        Some(waiter)
    }

    fn leave(&mut self, workspace: &str, ticket: u64) {
        let Some(waiters) = self.waiters.get_mut(workspace) else { return };
        let before = waiters.len();
        waiters.retain(|w| w.ticket != ticket);
        self.waiting -= before - waiters.len();
        if waiters.is_empty() {
            self.waiters.remove(workspace);
            self.turns.retain(|name| **name != *workspace);
        }
    }
}

/// Leaves the queue when the caller stops waiting.
struct Waiting<'a> {
    slots: &'a QuerySlots,
    workspace: &'a str,
    ticket: Option<u64>,
}

impl Waiting<'_> {
    fn served(mut self) {
        self.ticket = None;
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            self.slots.queue.lock().leave(self.workspace, ticket);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::mpsc;

    /// Starts a query that tells its name when it has a place, and gives the place back at once.
    fn start(slots: &QuerySlots, workspace: &'static str, name: String, order: &mpsc::Sender<String>) -> tokio::task::JoinHandle<()> {
        let (slots, order) = (slots.clone(), order.clone());
        tokio::spawn(async move {
            let _place = slots.acquire(workspace).await.unwrap();
            order.send(name).await.unwrap();
        })
    }

    async fn until_waiting(slots: &QuerySlots, count: usize) {
        while slots.waiting() != count {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn workspaces_take_turns_and_each_is_served_in_order() {
        let slots = QuerySlots::new(1);
        let held = slots.acquire("a").await.unwrap();
        let (order, mut served) = mpsc::channel(16);
        for (i, workspace) in ["a", "a", "a", "b", "b", "c"].into_iter().enumerate() {
            start(&slots, workspace, format!("{workspace}{i}"), &order);
            until_waiting(&slots, i + 1).await;
        }
        drop((held, order));
        let mut names = Vec::new();
        while let Some(name) = served.recv().await {
            names.push(name);
        }
        assert_eq!(names, ["a0", "b3", "c5", "a1", "b4", "a2"]);
        assert_eq!((slots.waiting(), slots.queue.lock().free), (0, 1));
    }

    #[tokio::test]
    async fn who_gives_up_waiting_leaves_the_queue_and_no_place_is_lost() {
        let slots = QuerySlots::new(1);
        let held = slots.acquire("a").await.unwrap();
        let (order, mut served) = mpsc::channel(16);
        let gone = start(&slots, "b", "gone".to_owned(), &order);
        until_waiting(&slots, 1).await;
        start(&slots, "a", "stays".to_owned(), &order);
        until_waiting(&slots, 2).await;
        gone.abort();
        until_waiting(&slots, 1).await;
        drop((held, order));
        assert_eq!(served.recv().await.unwrap(), "stays");
        assert_eq!(served.recv().await, None);
        // Given up in the moment between the place being sent and taken: it goes on to the next.
        let held = slots.acquire("a").await.unwrap();
        let mut late = Box::pin(slots.acquire("b"));
        assert!(futures::poll!(late.as_mut()).is_pending());
        drop(held);
        drop(late);
        assert_eq!(slots.queue.lock().free, 1);
        slots.acquire("c").await.unwrap();
    }

    #[tokio::test]
    async fn the_queue_is_bounded_for_a_workspace_and_for_the_node() {
        let slots = QuerySlots::new(1);
        let _held = slots.acquire("a").await.unwrap();
        let names: Vec<String> = (0..6).map(|i| format!("w{i}")).collect();
        let mut waiting = Vec::new();
        for name in &names[..5] {
            for _ in 0..WAITING_PER_WORKSPACE {
                let mut one = Box::pin(slots.acquire(name));
                assert!(futures::poll!(one.as_mut()).is_pending());
                waiting.push(one);
            }
            let expected = if waiting.len() == WAITING_PER_PLACE {
                TooManyQueries::Node { waiting_max: WAITING_PER_PLACE }
            } else {
                TooManyQueries::Workspace { waiting_max: WAITING_PER_WORKSPACE }
            };
            assert_eq!(slots.acquire(name).await.unwrap_err(), expected);
        }
        assert_eq!(slots.acquire(&names[5]).await.unwrap_err(), TooManyQueries::Node { waiting_max: WAITING_PER_PLACE });
        waiting.clear();
        let queue = slots.queue.lock();
        assert_eq!((queue.waiting, queue.turns.len(), queue.waiters.len()), (0, 0, 0));
    }
}
