//! Writers and readers that run while the nemesis works.

use crate::check::{Answer, Breach, Findings};
use crate::client::{Client, QueryAnswer, WriteAnswer};
use crate::dice::{Dice, splitmix64};
use crate::history::{History, Op, Outcome};
use crate::ledger::Ledger;
use crate::meta::{self, MetaLog};
use crate::watch::{self, Watch};
use crate::workload::Workload;
use serde_json::json;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::sync::watch::Receiver;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// Readers that query in a loop.
pub const READERS: u64 = 3;
/// How long a request of unknown outcome is sent again.
pub const RETRY_BUDGET: Duration = Duration::from_secs(60);

const LANE_IN_FLIGHT_MAX: usize = 4;
const STEPS_PER_REQUEST_MAX: u64 = 4;
const DUPLICATE_PERCENT: u64 = 20;
const CANARY_DELAY: Duration = Duration::from_millis(50);
/// How many of a hundred acknowledged writes are read at once through another node.
const SESSION_PERCENT: u64 = 30;
/// The first reader number of sessions.
const SESSIONS: u64 = 1000;
const LAG_MAX_MS: i64 = 600_000;
const READ_STEPS_MAX: u64 = 40;

/// Counters of a run.
#[derive(Debug, Default)]
pub struct Stats {
    /// Write requests answered 2xx, duplicates included.
    pub writes_ok: AtomicU64,
    /// Attempts whose outcome nobody knows.
    pub writes_unknown: AtomicU64,
    /// Attempts that provably applied nothing.
    pub writes_failed: AtomicU64,
    /// Requests never acknowledged within their budget.
    pub writes_given_up: AtomicU64,
    /// Requests sent again, on purpose, after or beside their first attempt.
    pub duplicates: AtomicU64,
    /// Complete strong reads that were checked.
    pub reads_ok: AtomicU64,
    /// Reads that came with warnings.
    pub reads_flagged: AtomicU64,
    /// Reads answered with an error, or not.
    pub reads_failed: AtomicU64,
    /// Answers after the last recovery that were errors and had to be asked for again.
    pub asked_again: AtomicU64,
    /// Points that reads during the run returned.
    pub points_read: AtomicU64,
}

/// Workloads beside the samples, which are always written and read.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Beside {
    /// Workspaces are created, read and deleted.
    pub meta: bool,
    /// Writers read what was acknowledged at once, through another node.
    pub sessions: bool,
}

impl std::str::FromStr for Beside {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.split(',').try_fold(Self::default(), |beside, word| match word.trim() {
            "samples" => Ok(beside),
            "meta" => Ok(Self { meta: true, ..beside }),
            "sessions" => Ok(Self { sessions: true, ..beside }),
            "all" => Ok(Self { meta: true, sessions: true }),
            other => Err(format!("{other:?} is none of samples, meta, sessions, all")),
        })
    }
}

impl std::fmt::Display for Beside {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let more = [(self.meta, ",meta"), (self.sessions, ",sessions")];
        f.write_str(&more.iter().filter(|(on, _)| *on).fold("samples".to_string(), |text, (_, name)| text + name))
    }
}

/// What all tasks of a run share.
#[derive(Debug)]
pub struct Shared {
    /// What is written.
    pub workload: Workload,
    /// What was issued and acknowledged.
    pub ledger: Ledger,
    /// The way to the nodes.
    pub client: Client,
    /// Every operation.
    pub history: History,
    /// Broken promises.
    pub findings: Findings,
    /// Counters.
    pub stats: Stats,
    /// What runs beside the writers and readers.
    pub beside: Beside,
    /// Who led what.
    pub watch: Watch,
    /// What was asked of workspaces.
    pub meta: MetaLog,
    /// The canary's next step.
    canary_next: AtomicU64,
}

impl Shared {
    /// Puts the parts together.
    #[must_use]
    pub fn new(workload: Workload, client: Client, history: History) -> Self {
        let ledger = Ledger::new(workload.lanes.len());
        Self {
            workload,
            ledger,
            client,
            history,
            findings: Findings::default(),
            stats: Stats::default(),
            beside: Beside::default(),
            watch: Watch::default(),
            meta: MetaLog::default(),
            canary_next: AtomicU64::new(0),
        }
    }

    /// Samples acknowledged so far.
    #[must_use]
    pub fn acked(&self) -> u64 {
        (0..).zip(&self.workload.lanes).map(|(lane, series)| self.ledger.acked_steps(lane) * u64::from(*series)).sum()
    }
}

/// Starts all writers and readers. They begin nothing new once `stop` is true; the set ends when the last request has its outcome.
#[must_use]
pub fn start(shared: &Arc<Shared>, stop: &Receiver<bool>) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    let began = Instant::now();
    for lane in 0..shared.workload.canary() {
        tasks.spawn(Writer { shared: Arc::clone(shared), lane, began }.run(stop.clone()));
    }
    for reader in 0..READERS {
        tasks.spawn(read_loop(Arc::clone(shared), reader, stop.clone()));
    }
    watch::start(&mut tasks, shared, stop);
    if shared.beside.meta {
        meta::start(&mut tasks, shared, stop);
    }
    tasks
}

struct Writer {
    shared: Arc<Shared>,
    lane: u32,
    began: Instant,
}

impl Writer {
    async fn run(self, mut stop: Receiver<bool>) {
        let mut dice = Dice::new(self.shared.workload.seed, 1000 + u64::from(self.lane));
        let slots = Arc::new(Semaphore::new(LANE_IN_FLIGHT_MAX));
        let mut requests = JoinSet::new();
        let mut next = 0;
        while !*stop.borrow() {
            let steps = next..next + dice.between(1, STEPS_PER_REQUEST_MAX);
            tokio::select! {
                () = tokio::time::sleep_until(self.due(steps.start)) => {}
                _ = stop.changed() => break,
            }
            let slot = tokio::select! {
                slot = Arc::clone(&slots).acquire_owned() => slot,
                _ = stop.changed() => break,
            };
            next = steps.end.max(self.oldest_worth_writing());
            let (shared, lane, dice) = (Arc::clone(&self.shared), self.lane, Dice::new(dice.bits(), 0));
            requests.spawn(async move {
                send(&shared, lane, steps, dice).await;
                drop(slot);
            });
            while requests.try_join_next().is_some() {}
        }
        requests.join_all().await;
    }

    /// When the first sample of `step` is as old as the clock.
    fn due(&self, step: u64) -> Instant {
        self.began + Duration::from_millis(step * self.shared.workload.step_ms as u64)
    }

    /// A lane that fell far behind the clock skips steps instead of writing what is too old to be accepted.
    fn oldest_worth_writing(&self) -> u64 {
        let behind_ms = self.began.elapsed().as_millis() as i64 - LAG_MAX_MS;
        (behind_ms / self.shared.workload.step_ms).max(0) as u64
    }
}

/// Sends one request until its outcome is known or the budget is spent; one in five is sent twice.
async fn send(shared: &Shared, lane: u32, steps: Range<u64>, mut dice: Dice) {
    let body = shared.workload.request(lane, steps.clone());
    shared.ledger.issue(lane, steps.clone());
    let request = Request { shared, lane, steps: &steps, body: &body };
    let deadline = Instant::now() + RETRY_BUDGET;
    let nodes = shared.client.nodes();
    let (mut node, mut attempt, mut maybe_applied) = (dice.index(nodes), 0, false);
    let twice = dice.percent(DUPLICATE_PERCENT);
    let beside = twice && dice.percent(50);
    if beside {
        let other = (node + 1 + dice.index(nodes.max(2) - 1)) % nodes;
        let (first, second) = tokio::join!(request.attempt(node, 0), request.attempt(other, 1));
        shared.stats.duplicates.fetch_add(1, Relaxed);
        if [first, second].iter().any(|end| matches!(end, Some(Outcome::Ok) | None)) {
            return;
        }
        maybe_applied = first == Some(Outcome::Info) || second == Some(Outcome::Info);
        attempt = 2;
    }
    loop {
        match request.attempt(node, attempt).await {
            Some(Outcome::Ok) => break,
            Some(Outcome::Info) => maybe_applied = true,
            Some(Outcome::Fail) => {}
            None => return,
        }
        if Instant::now() >= deadline {
            shared.stats.writes_given_up.fetch_add(1, Relaxed);
            if !maybe_applied {
                shared.ledger.refuse(lane, steps);
            }
            return;
        }
        tokio::time::sleep(Duration::from_millis(dice.between(100, 400))).await;
        node = dice.index(nodes);
        attempt += 1;
    }
    if shared.beside.sessions && dice.percent(SESSION_PERCENT) {
        let read_at = (node + 1 + dice.index(nodes.max(2) - 1)) % nodes;
        read(shared, Read { reader: SESSIONS + u64::from(lane), node: read_at, lane, series: None, steps: steps.clone() }).await;
    }
    if twice && !beside {
        tokio::time::sleep(Duration::from_millis(dice.below(2000))).await;
        shared.stats.duplicates.fetch_add(1, Relaxed);
        request.attempt((node + 1) % nodes, attempt + 1).await;
    }
}

/// Writes one request of the canary through one node until it is acknowledged; false if `give_up` came first.
pub async fn canary(shared: &Shared, node: usize, give_up: impl Fn() -> bool) -> bool {
    let lane = shared.workload.canary();
    let clock_step = shared.history.now_us() / 1000 / shared.workload.step_ms as u64;
    let after = |next: u64| Some(next.max(clock_step) + 1);
    let step = shared.canary_next.fetch_update(Relaxed, Relaxed, after).map_or(clock_step, |next| next.max(clock_step));
    let steps = step..step + 1;
    let body = shared.workload.request(lane, steps.clone());
    shared.ledger.issue(lane, steps.clone());
    let request = Request { shared, lane, steps: &steps, body: &body };
    let mut attempt = 0;
    while !give_up() {
        match request.attempt(node, attempt).await {
            Some(Outcome::Ok) => return true,
            Some(Outcome::Info | Outcome::Fail) => {}
            None => return false,
        }
        attempt += 1;
        tokio::time::sleep(CANARY_DELAY).await;
    }
    false
}

struct Request<'a> {
    shared: &'a Shared,
    lane: u32,
    steps: &'a Range<u64>,
    body: &'a [u8],
}

impl Request<'_> {
    /// Sends the request once; none if it was refused, which no retry can mend and is a finding.
    async fn attempt(&self, node: usize, attempt: u32) -> Option<Outcome> {
        let shared = self.shared;
        let began = shared.history.now_us();
        let answer = shared.client.write(node, self.body).await;
        let counter = match answer.outcome {
            Outcome::Ok => {
                shared.ledger.ack(self.lane, self.steps.clone());
                &shared.stats.writes_ok
            }
            Outcome::Info => &shared.stats.writes_unknown,
            Outcome::Fail => &shared.stats.writes_failed,
        };
        counter.fetch_add(1, Relaxed);
        shared.history.record(&Op {
            t: [began, shared.history.now_us()],
            p: i64::from(self.lane),
            n: node + 1,
            f: "write",
            v: json!({"lane": self.lane, "k": [self.steps.start, self.steps.end], "try": attempt, "error": error_text(&answer)}),
            outcome: answer.outcome,
            code: answer.code,
        });
        let refused = is_refusal(answer.code);
        if refused {
            self.note_refusal(node, &answer);
        }
        (!refused).then_some(answer.outcome)
    }

    fn note_refusal(&self, node: usize, answer: &WriteAnswer) {
        let first_ms = self.shared.workload.timestamp_ms(self.steps.start);
        self.shared.findings.note(Breach::Refused, u64::from(self.lane), first_ms, || {
            format!("node-{}: lane {} steps {:?}: {} {}", node + 1, self.lane, self.steps, answer.code, answer.text)
        });
    }
}

/// A sender drops what it gets a 4xx for, so a valid write must never get one; 408 and 429 are for overload.
fn is_refusal(code: u16) -> bool {
    (400..500).contains(&code) && !matches!(code, 408 | 429)
}

fn error_text(answer: &WriteAnswer) -> Option<&str> {
    (answer.outcome != Outcome::Ok).then_some(answer.text.as_str())
}

async fn read_loop(shared: Arc<Shared>, reader: u64, mut stop: Receiver<bool>) {
    let mut dice = Dice::new(shared.workload.seed, 2000 + reader);
    while !*stop.borrow() {
        let pause = Duration::from_millis(dice.between(50, 250));
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            _ = stop.changed() => break,
        }
        let lane = dice.index(shared.workload.lanes.len()) as u32;
        let end = shared.ledger.acked_end(lane);
        if end == 0 {
            continue;
        }
        let last = if dice.percent(70) { end + dice.below(4) } else { dice.between(1, end) };
        let steps = last.saturating_sub(dice.between(1, READ_STEPS_MAX))..last;
        let series = dice.percent(30).then(|| dice.below(u64::from(shared.workload.lanes[lane as usize])) as u32);
        let node = dice.index(shared.client.nodes());
        read(&shared, Read { reader, node, lane, series, steps }).await;
    }
}

struct Read {
    reader: u64,
    node: usize,
    lane: u32,
    series: Option<u32>,
    steps: Range<u64>,
}

async fn read(shared: &Shared, read: Read) {
    let Read { reader, node, lane, series, steps } = read;
    let owed = shared.ledger.owed(lane, steps.clone());
    let expr = shared.workload.selector(Some(lane), series, &steps);
    let began = shared.history.now_us();
    let answer = shared.client.query(node, &expr, &shared.workload.query_time(&steps)).await;
    let issued = shared.ledger.issued(lane, steps.clone());
    let (outcome, code, points) = match &answer {
        QueryAnswer::Rows { rows, flagged } => {
            let source = format!("node-{} at {}s", node + 1, shared.history.now_us() / 1_000_000);
            let check = Answer {
                workload: &shared.workload,
                lane,
                series,
                steps: steps.clone(),
                owed,
                issued,
                complete: !flagged,
                source: &source,
            };
            let shown = check.check(rows, &shared.findings);
            if series.is_none() && !flagged {
                shown.iter().filter(|k| check.issued.contains(*k)).for_each(|k| shared.ledger.observe(lane, k));
            }
            let counter = if *flagged { &shared.stats.reads_flagged } else { &shared.stats.reads_ok };
            counter.fetch_add(1, Relaxed);
            let points: usize = rows.iter().map(|r| r.points.len()).sum();
            shared.stats.points_read.fetch_add(points as u64, Relaxed);
            (Outcome::Ok, 200, points)
        }
        QueryAnswer::Error { code, text } => {
            shared.stats.reads_failed.fetch_add(1, Relaxed);
            if matches!(code, 200 | 400 | 404 | 422) {
                let place = splitmix64(u64::from(*code));
                shared.findings.note(Breach::Refused, place, 0, || format!("node-{}: query {expr}: {code} {text}", node + 1));
            }
            (Outcome::Fail, *code, 0)
        }
    };
    let v = json!({"lane": lane, "series": series, "k": [steps.start, steps.end], "points": points});
    let t = [began, shared.history.now_us()];
    shared.history.record(&Op { t, p: 10_000 + reader as i64, n: node + 1, f: "query", v, outcome, code });
}
