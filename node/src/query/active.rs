//! The queries that wait or run on this node: listed for whoever wonders what it is busy with, and cancelled by their number.

use model::Timestamp;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::Notify;
use tokio::time::Instant;

/// The number of a query, unique on its node while the process lives; shown as 16 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueryId(u64);

impl QueryId {
    /// Reads what [`fmt::Display`] writes.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.is_empty() || text.len() > 16 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return None;
        }
        u64::from_str_radix(text, 16).ok().map(Self)
    }
}

impl fmt::Display for QueryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016X}", self.0)
    }
}

/// What is told of a query.
#[derive(Clone, Debug)]
pub struct QueryInfo {
    /// Whose series it reads.
    pub workspace: String,
    /// Its text.
    pub text: String,
    /// First evaluation time, in milliseconds.
    pub start_ms: Timestamp,
    /// Last evaluation time, in milliseconds.
    pub end_ms: Timestamp,
    /// Distance of evaluation times in milliseconds; 0 for an instant query.
    pub step_ms: i64,
    /// Who asked: the peer's address, or what a proxy says it is.
    pub client: String,
    /// When it arrived, by this node's clock.
    pub arrived_ms: Timestamp,
}

/// One query as it stands.
#[derive(Clone, Debug)]
pub struct ActiveQuery {
    /// Its number.
    pub id: QueryId,
    /// What it is.
    pub info: QueryInfo,
    /// Whether it has a place to run; else it waits for one.
    pub running: bool,
    /// Whether somebody has cancelled it.
    pub cancelled: bool,
    /// Seconds since it arrived.
    pub seconds: f64,
}

/// The register of a node; clones share it.
#[derive(Clone, Debug, Default)]
pub struct ActiveQueries {
    register: Arc<Mutex<Register>>,
}

#[derive(Debug, Default)]
struct Register {
    last: u64,
    queries: BTreeMap<QueryId, Entry>,
}

#[derive(Debug)]
struct Entry {
    info: QueryInfo,
    arrived: Instant,
    running: bool,
    handle: CancelHandle,
}

/// Stops a query: storage and evaluator look at the flag, waiting futures are woken.
#[derive(Clone, Debug, Default)]
pub struct CancelHandle {
    flag: Arc<AtomicBool>,
    on_demand: Arc<AtomicBool>,
    wake: Arc<Notify>,
}

impl CancelHandle {
    /// The flag that reads and evaluation look at.
    #[must_use]
    pub fn flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.flag)
    }

    /// Completes once somebody has cancelled the query.
    pub async fn cancelled(&self) {
        // `notify_one` leaves a permit behind, so a cancellation before this call is not missed; there is one waiter.
        if !self.on_demand.load(Ordering::SeqCst) {
            self.wake.notified().await;
        }
    }

    fn cancel(&self) {
        self.on_demand.store(true, Ordering::SeqCst);
        self.flag.store(true, Ordering::SeqCst);
        self.wake.notify_one();
    }
}

impl ActiveQueries {
    /// Enters a query; it is taken out, and all its work is told to stop, when the guard is dropped.
    #[must_use]
    pub fn enter(&self, info: QueryInfo) -> Active {
        let handle = CancelHandle::default();
        let mut register = self.register.lock();
        register.last += 1;
        let id = QueryId(register.last);
        register.queries.insert(id, Entry { info, arrived: Instant::now(), running: false, handle: handle.clone() });
        Active { register: Arc::clone(&self.register), id, handle }
    }

    /// All queries, or those of one workspace, oldest first.
    #[must_use]
    pub fn list(&self, workspace: Option<&str>) -> Vec<ActiveQuery> {
        let register = self.register.lock();
        let wanted = register.queries.iter().filter(|(_, entry)| workspace.is_none_or(|w| entry.info.workspace == w));
        wanted
            .map(|(id, entry)| ActiveQuery {
                id: *id,
                info: entry.info.clone(),
                running: entry.running,
                cancelled: entry.handle.on_demand.load(Ordering::SeqCst),
                seconds: entry.arrived.elapsed().as_secs_f64(),
            })
            .collect()
    }

    /// Cancels a query, of this workspace if one is named; tells whether there was one.
    #[must_use]
    pub fn cancel(&self, id: QueryId, workspace: Option<&str>) -> bool {
        let register = self.register.lock();
        let found = register.queries.get(&id).filter(|entry| workspace.is_none_or(|w| entry.info.workspace == w));
        if let Some(entry) = found {
            entry.handle.cancel();
        }
        found.is_some()
    }
}

/// A query's place in the register.
#[derive(Debug)]
pub struct Active {
    register: Arc<Mutex<Register>>,
    id: QueryId,
    handle: CancelHandle,
}

impl Active {
    /// Its number.
    #[must_use]
    pub fn id(&self) -> QueryId {
        self.id
    }

    /// What stops it.
    #[must_use]
    pub fn handle(&self) -> &CancelHandle {
        &self.handle
    }

    /// Notes that it has a place to run.
    pub fn runs(&self) {
        if let Some(entry) = self.register.lock().queries.get_mut(&self.id) {
            entry.running = true;
        }
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        self.handle.flag.store(true, Ordering::SeqCst);
        self.register.lock().queries.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(workspace: &str) -> QueryInfo {
        QueryInfo {
            workspace: workspace.to_owned(),
            text: "up".to_owned(),
            start_ms: 0,
            end_ms: 0,
            step_ms: 0,
            client: "127.0.0.1:1".to_owned(),
            arrived_ms: 0,
        }
    }

    #[tokio::test]
    async fn a_query_is_listed_until_it_ends_and_only_its_own_workspace_may_cancel_it() {
        let queries = ActiveQueries::default();
        let (first, second) = (queries.enter(info("a")), queries.enter(info("b")));
        first.runs();
        let listed = queries.list(None);
        assert_eq!(listed.iter().map(|q| (q.id, q.running)).collect::<Vec<_>>(), [(first.id(), true), (second.id(), false)]);
        assert_eq!(queries.list(Some("b")).len(), 1);
        assert!(!queries.cancel(first.id(), Some("b")));
        assert!(!first.handle().flag().load(Ordering::SeqCst));

        let waiter = first.handle().clone();
        let waiting = tokio::spawn(async move { waiter.cancelled().await });
        tokio::task::yield_now().await;
        assert!(queries.cancel(QueryId::parse(&first.id().to_string()).unwrap(), Some("a")));
        waiting.await.unwrap();
        assert!(first.handle().flag().load(Ordering::SeqCst));
        assert!(queries.list(None)[0].cancelled);
        // Whoever waits only now is not left waiting.
        first.handle().cancelled().await;

        let flag = second.handle().flag();
        drop((first, second));
        assert!(flag.load(Ordering::SeqCst), "work of a query that has gone stops");
        assert!(queries.list(None).is_empty());
    }

    #[test]
    fn ids_read_back_and_other_texts_do_not() {
        assert_eq!(QueryId::parse("00000000000000FF"), Some(QueryId(255)));
        assert_eq!(QueryId(255).to_string(), "00000000000000FF");
        assert!(["", "+1", "xyz", "00000000000000001"].into_iter().all(|text| QueryId::parse(text).is_none()));
    }
}
