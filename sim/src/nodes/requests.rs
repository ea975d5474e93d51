//! What clients ask of whole nodes, how they go on, and what they make of the answers.

use super::client::{Answered, Ask, Clients, Job, encoded};
use super::oracle::{Least, SampleOracle};
use super::samples::{DELETED_SERIES, SERIES, SampleId};
use super::wire::{self, METRIC};
use crate::interposed::EPOCH;
use crate::plan::Plan;
use crate::random::Random;
use crate::watch::Watch;
use model::StoreId;
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// Requests that may wait for the clients' host.
const JOBS_WAITING_MAX: usize = 4096;
/// Writes and queries in flight at once.
const IN_FLIGHT_MAX: usize = 24;
/// Shards that clients ask for at most.
const SHARDS_MAX: u64 = 5;
/// Samples of one delete.
const DELETED_AT_ONCE_MAX: u64 = 60;
/// No client writes further ahead of the present: nodes take ten minutes.
const AHEAD_MAX: Duration = Duration::from_secs(300);

/// A delete: samples of one series, from a number to another.
#[derive(Clone, Copy, Debug)]
struct Delete {
    series: u64,
    first: u64,
    last: u64,
}

impl Delete {
    fn samples(self) -> impl Iterator<Item = SampleId> {
        (self.first..=self.last).map(move |number| SampleId { series: self.series, number })
    }

    fn ask(self) -> Ask {
        let at = |number| {
            let ms = SampleId { series: self.series, number }.timestamp_ms();
            format!("{}.{:03}", ms / 1000, ms % 1000)
        };
        let selector = encoded(&format!("{METRIC}{{series=\"{}\"}}", self.series));
        let form = format!("match%5B%5D={selector}&start={}&end={}", at(self.first), at(self.last));
        Ask::Operate("POST", "/api/v1/admin/tsdb/delete_series".to_owned(), form)
    }
}

/// What a client waits for.
#[derive(Clone, Debug)]
enum Waiting {
    Write { samples: Arc<[SampleId]>, attempts: u64 },
    Delete(Delete),
    Points(Least),
    Count(Least),
    Operation,
}

/// What is sent again until it is done.
#[derive(Clone, Debug)]
enum Again {
    Write { samples: Arc<[SampleId]>, attempts: u64 },
    Delete(Delete),
}

/// The clients.
#[derive(Debug)]
pub(super) struct Requests {
    pub(super) oracle: SampleOracle,
    random: Random,
    stores: u64,
    interval: Duration,
    has_deletes: bool,
    has_scaling: bool,
    clients: Arc<Clients>,
    jobs: mpsc::Sender<Job>,
    waiting: BTreeMap<u64, (StoreId, Waiting)>,
    again: Vec<(Duration, Again)>,
    next_number: u64,
    next_sample: BTreeMap<u64, u64>,
    next_deleted: BTreeMap<u64, u64>,
    next_ask_at: Duration,
    /// Queries answered, by store: for coming to rest.
    pub(super) answered: BTreeMap<StoreId, u64>,
}

impl Requests {
    pub(super) fn new(plan: &Plan) -> Self {
        let (jobs, queue) = mpsc::channel(JOBS_WAITING_MAX);
        Self {
            oracle: SampleOracle::new(plan.seed),
            random: Random::new(plan.seed, "clients"),
            stores: plan.stores,
            interval: plan.op_interval * 2,
            has_deletes: plan.has_deletes,
            has_scaling: plan.has_scaling,
            clients: Arc::new(Clients { seed: plan.seed, jobs: Mutex::new(Some(queue)), answers: Mutex::default() }),
            jobs,
            waiting: BTreeMap::new(),
            again: Vec::new(),
            next_number: 1,
            next_sample: BTreeMap::new(),
            next_deleted: BTreeMap::new(),
            next_ask_at: Duration::ZERO,
            answered: BTreeMap::new(),
        }
    }

    /// Those that send.
    pub(super) fn clients(&self) -> Arc<Clients> {
        Arc::clone(&self.clients)
    }

    /// Whether nothing is asked and nothing is to be asked again.
    pub(super) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.again.is_empty()
    }

    /// Whether every write and every delete was acknowledged.
    pub(super) fn is_all_done(&self) -> bool {
        let is_open = |(_, waiting): &(StoreId, Waiting)| matches!(waiting, Waiting::Write { .. } | Waiting::Delete(_));
        self.again.is_empty() && !self.waiting.values().any(is_open)
    }

    fn send(&mut self, store: StoreId, ask: Ask, waiting: Waiting) {
        let number = self.next_number;
        self.next_number += 1;
        if self.jobs.try_send((number, store, ask)).is_ok() {
            self.waiting.insert(number, (store, waiting));
        }
    }

    pub(super) fn some_store(&mut self) -> StoreId {
        StoreId(self.random.within(1..=self.stores))
    }

    /// Takes the answers that have come, at `now`.
    pub(super) fn take_answers(&mut self, watch: &Watch, now: Duration) {
        let answers = std::mem::take(&mut *self.clients.answers.lock());
        for Answered { number, status, body } in answers {
            let Some((store, waiting)) = self.waiting.remove(&number) else { continue };
            watch.with(|watcher| watcher.trace.line(|| format!("store {store} answered {number} with {status}, {} bytes", body.len())));
            if let Err(violation) = self.judge((store, now), waiting, status, &body) {
                watch.fail(format!("request {number} to store {store}: {violation}"));
            }
        }
    }

    fn judge(&mut self, (store, now): (StoreId, Duration), waiting: Waiting, status: u16, body: &[u8]) -> Result<(), String> {
        let text = || String::from_utf8_lossy(&body[..body.len().min(300)]).into_owned();
        match (waiting, status) {
            (Waiting::Write { samples, .. }, 200 | 204) => {
                self.oracle.acknowledge(&samples);
                // Senders repeat what they believe lost: it must change nothing.
                if self.random.chance(15) {
                    self.write_again(samples, 1, now);
                }
            }
            // Until the cluster has made its first workspace there is none to write into.
            (Waiting::Write { samples, attempts }, 404) if self.oracle.acknowledged_count == 0 => {
                self.write_again(samples, attempts + 1, now);
            }
            // A sender drops what it is told to be wrong: nothing of ours is.
            (Waiting::Write { .. }, 400..=499) => return Err(format!("a right write is refused with {status}: {}", text())),
            (Waiting::Write { samples, attempts }, _) => {
                self.oracle.doubt(&samples);
                self.write_again(samples, attempts + 1, now);
            }
            (Waiting::Delete(delete), 204) => self.oracle.deleted(delete.samples()),
            (Waiting::Delete(_), 400..=499) => return Err(format!("a right delete is refused with {status}: {}", text())),
            (Waiting::Delete(delete), _) => {
                let pause = self.random.millis(10, 500);
                self.again.push((now + pause, Again::Delete(delete)));
            }
            (Waiting::Points(least), 200) => {
                let points = wire::matrix(body).ok_or_else(|| format!("not a matrix: {}", text()))?;
                self.oracle.check_points(&least, &points)?;
                *self.answered.entry(store).or_default() += 1;
            }
            (Waiting::Count(least), 200) => {
                let count = wire::scalar(body).ok_or_else(|| format!("not a number: {}", text()))?;
                self.oracle.check_count(&least, count)?;
            }
            (Waiting::Points(_) | Waiting::Count(_), 400..=499) => {
                return Err(format!("a right query is refused with {status}: {}", text()));
            }
            (Waiting::Points(_) | Waiting::Count(_) | Waiting::Operation, _) => {}
        }
        Ok(())
    }

    /// Sends a write again, a while later, as Prometheus does.
    fn write_again(&mut self, samples: Arc<[SampleId]>, attempts: u64, now: Duration) {
        let pause = self.random.millis(10, 100 * attempts.min(20));
        self.again.push((now + pause, Again::Write { samples, attempts }));
    }

    /// Sends what is due again.
    pub(super) fn resend(&mut self, now: Duration) {
        let (due, later) = std::mem::take(&mut self.again).into_iter().partition(|(at, _)| *at <= now);
        self.again = later;
        for (_, again) in due {
            let store = self.some_store();
            match again {
                Again::Write { samples, attempts } => {
                    self.send(store, Ask::Write(Arc::clone(&samples)), Waiting::Write { samples, attempts });
                }
                Again::Delete(delete) => self.send(store, delete.ask(), Waiting::Delete(delete)),
            }
        }
    }

    /// Clients act: mostly new writes, some queries, now and then a delete or another number of shards.
    pub(super) fn act(&mut self, now: Duration) {
        self.resend(now);
        while now >= self.next_ask_at {
            self.next_ask_at = now + self.random.around(self.interval);
            if self.waiting.len() >= IN_FLIGHT_MAX {
                continue;
            }
            let store = self.some_store();
            match self.random.within(0..=99) {
                0..=5 => self.query_points(store),
                6..=20 => {
                    let least = self.oracle.least();
                    self.send(store, Ask::Count, Waiting::Count(least));
                }
                21..=22 if self.has_deletes => self.delete(),
                23 if self.has_scaling => {
                    let shards = self.random.within(1..=SHARDS_MAX);
                    self.operate("/cluster/workspaces/default/scale".to_owned(), format!("shards={shards}"));
                }
                _ => self.write(store, now),
            }
        }
    }

    /// Writes some new samples.
    pub(super) fn write(&mut self, store: StoreId, now: Duration) {
        let newest_ms = i64::try_from((EPOCH + now + AHEAD_MAX).as_millis()).unwrap_or(i64::MAX);
        let mut samples = Vec::new();
        for _ in 0..self.random.within(1..=6) {
            let series = self.random.within(1..=SERIES);
            let next = self.next_sample.entry(series).or_default();
            for _ in 0..self.random.within(1..=3) {
                let sample = SampleId { series, number: *next };
                if sample.timestamp_ms() <= newest_ms {
                    samples.push(sample);
                    *next += 1;
                }
            }
        }
        if samples.is_empty() {
            return;
        }
        self.oracle.issue(&samples);
        let samples: Arc<[SampleId]> = samples.into();
        self.send(store, Ask::Write(Arc::clone(&samples)), Waiting::Write { samples, attempts: 1 });
    }

    /// Asks a store for everything.
    pub(super) fn query_points(&mut self, store: StoreId) {
        let least = self.oracle.least();
        self.send(store, Ask::Points, Waiting::Points(least));
    }

    /// Asks a node for a change of the cluster; whether it is done does not matter.
    pub(super) fn operate(&mut self, path: String, form: String) {
        let store = self.some_store();
        self.send(store, Ask::Operate("POST", path, form), Waiting::Operation);
    }

    /// Deletes some samples that were acknowledged the first time they were sent, so that no late copy of a write brings them back.
    fn delete(&mut self) {
        let series = self.random.within(1..=DELETED_SERIES);
        let most = self.random.within(1..=DELETED_AT_ONCE_MAX);
        let open = self.open_writes();
        let is_settled = |number: &u64| {
            let sample = SampleId { series, number: *number };
            !open.contains(&sample) && self.oracle.is_settled(sample)
        };
        let from = self.next_deleted.get(&series).copied().unwrap_or_default();
        let end = self.next_sample.get(&series).copied().unwrap_or_default();
        let Some(first) = (from..end).find(is_settled) else { return };
        let last = (first..end.min(first + most)).take_while(is_settled).last().unwrap_or(first);
        let delete = Delete { series, first, last };
        self.next_deleted.insert(series, last + 1);
        self.oracle.delete(delete.samples());
        let store = self.some_store();
        self.send(store, delete.ask(), Waiting::Delete(delete));
    }

    /// Samples of writes that are under way or will be sent again.
    fn open_writes(&self) -> BTreeSet<SampleId> {
        let waiting = self.waiting.values().filter_map(|(_, waiting)| match waiting {
            Waiting::Write { samples, .. } => Some(samples),
            _ => None,
        });
        let again = self.again.iter().filter_map(|(_, again)| match again {
            Again::Write { samples, .. } => Some(samples),
            Again::Delete(_) => None,
        });
        waiting.chain(again).flat_map(|samples| samples.iter().copied()).collect()
    }
}
