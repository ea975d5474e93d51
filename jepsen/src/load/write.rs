//! Writers: each lane at the pace of its data, with retries and requests sent twice.

use super::Shared;
use super::read::{self, Read};
use crate::check::Breach;
use crate::client::WriteAnswer;
use crate::dice::Dice;
use crate::history::{Op, Outcome};
use serde_json::json;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::sync::watch::Receiver;
use tokio::task::JoinSet;
use tokio::time::Instant;

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

/// The writer of one lane.
pub(super) struct Writer {
    pub(super) shared: Arc<Shared>,
    pub(super) lane: u32,
    pub(super) began: Instant,
}

impl Writer {
    pub(super) async fn run(self, mut stop: Receiver<bool>) {
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
        read::read(shared, Read { reader: SESSIONS + u64::from(lane), node: read_at, lane, series: None, steps: steps.clone() }).await;
    }
    if twice && !beside {
        tokio::time::sleep(Duration::from_millis(dice.below(2000))).await;
        shared.stats.duplicates.fetch_add(1, Relaxed);
        request.attempt((node + 1) % nodes, attempt + 1).await;
    }
}

/// The next step of the canary: it keeps up with the clock and comes only once.
#[must_use]
pub fn canary_step(shared: &Shared) -> u64 {
    let clock_step = shared.history.now_us() / 1000 / shared.workload.step_ms as u64;
    let after = |next: u64| Some(next.max(clock_step) + 1);
    shared.canary_next.fetch_update(Relaxed, Relaxed, after).map_or(clock_step, |next| next.max(clock_step))
}

/// Writes one request of the canary through one node until it is acknowledged; false if `give_up` came first.
pub async fn canary(shared: &Shared, node: usize, give_up: impl Fn() -> bool) -> bool {
    let (lane, step) = (shared.workload.canary(), canary_step(shared));
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
