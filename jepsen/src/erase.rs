//! The workload of deletes (I11): samples are written, deleted in part, and of those some written anew, through all nodes.
//!
//! Each *round* has series and timestamps of its own and one client that does everything to it, one thing after another, so that what every
//! answer must hold is known. What may still arrive late ends a round's changes: a write whose first attempt got no answer is not
//! deleted, and what was deleted in more than one attempt is not written anew.

mod round;

pub use round::{Round, Stage};

use crate::audit::patient_query;
use crate::check::Breach;
use crate::client::QueryAnswer;
use crate::dice::Dice;
use crate::history::{Op, Outcome};
use crate::load::Shared;
use parking_lot::Mutex;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

const CLIENTS: u64 = 2;
/// Deletes of a run at most: a shard remembers a bounded number of them until it has rewritten what they touch.
const ROUNDS_MAX: u64 = 400;
const PAUSE_MS: (u64, u64) = (100, 600);
/// How long a delete is sent again.
const DELETE_MAX: Duration = Duration::from_secs(30);
const DELETE_DELAY: Duration = Duration::from_millis(300);
/// How old the newest sample of a round is when it is written.
const AGE_MS: i64 = 1000;
/// Rounds that one query at the end reads.
const ROUNDS_PER_READ: usize = 50;

/// All rounds of a run.
#[derive(Debug, Default)]
pub struct Erasures(Mutex<BTreeMap<u64, Round>>);

/// What became of the rounds.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct EraseFigures {
    /// Rounds whose samples were acknowledged.
    pub written: u64,
    /// Rounds whose delete was acknowledged.
    pub deleted: u64,
    /// Rounds of whose deleted samples some were written anew and acknowledged.
    pub again: u64,
}

impl Erasures {
    /// Counts rounds by how far they came.
    #[must_use]
    pub fn figures(&self) -> EraseFigures {
        let rounds = self.0.lock();
        let count = |test: &dyn Fn(&Round) -> bool| rounds.values().filter(|round| test(round)).count() as u64;
        EraseFigures {
            written: count(&|round| round.written == Stage::Done),
            deleted: count(&|round| round.deleted == Stage::Done),
            again: count(&|round| round.again == Stage::Done),
        }
    }

    fn keep(&self, round: &Round) {
        self.0.lock().insert(round.id, round.clone());
    }
}

/// Starts the clients. They begin no new round once `stop` is true.
pub fn start(tasks: &mut JoinSet<()>, shared: &Arc<Shared>, stop: &watch::Receiver<bool>) {
    for client in 0..CLIENTS {
        tasks.spawn(run(Arc::clone(shared), client, stop.clone()));
    }
}

async fn run(shared: Arc<Shared>, client: u64, mut stop: watch::Receiver<bool>) {
    let mut dice = Dice::new(shared.workload.seed, 5000 + client);
    for id in (client..ROUNDS_MAX).step_by(CLIENTS as usize) {
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(dice.between(PAUSE_MS.0, PAUSE_MS.1))) => {}
            _ = stop.changed() => {}
        }
        if *stop.borrow() {
            return;
        }
        let now_ms = shared.workload.t0_ms + (shared.history.now_us() / 1000) as i64;
        let round = Round::plan(&shared.workload, id, now_ms - AGE_MS, &mut dice);
        Client { shared: &shared, dice: &mut dice, round }.play().await;
    }
}

struct Client<'a> {
    shared: &'a Shared,
    dice: &'a mut Dice,
    round: Round,
}

impl Client<'_> {
    /// Plays a round to its end or to the first answer after which nobody knows what else will happen.
    async fn play(mut self) {
        if !self.write(false).await {
            return;
        }
        self.read().await;
        let Some(attempts) = self.delete().await else { return };
        self.read().await;
        self.read().await;
        if attempts == 1 && self.write(true).await {
            self.read().await;
        }
    }

    fn node(&mut self) -> usize {
        self.dice.index(self.shared.client.nodes())
    }

    fn record(&self, node: usize, f: &str, began: u64, outcome: Outcome, code: u16) {
        let t = [began, self.shared.history.now_us()];
        let v = json!({ "round": self.round.id });
        self.shared.history.record(&Op { t, p: 30_000 + (self.round.id % CLIENTS) as i64, n: node + 1, f, v, outcome, code });
    }

    /// Sends the samples of the round, or those anew of what was deleted, once; whether they were acknowledged.
    async fn write(&mut self, again: bool) -> bool {
        let (node, began) = (self.node(), self.shared.history.now_us());
        let mut stage = Stage::Sent;
        self.note(again, stage);
        let answer = self.shared.client.write(node, &self.round.body(&self.shared.workload, again)).await;
        if answer.outcome == Outcome::Ok {
            stage = Stage::Done;
        } else if (400..500).contains(&answer.code) && !matches!(answer.code, 408 | 429) {
            let (id, code, text) = (self.round.id, answer.code, &answer.text);
            self.shared.findings.note(Breach::Refused, 1 << 62 | id, i64::from(again), || {
                format!("node-{}: erasable round {id}, again {again}: {code} {text}", node + 1)
            });
        }
        self.note(again, stage);
        self.record(node, if again { "rewrite" } else { "erasable" }, began, answer.outcome, answer.code);
        stage == Stage::Done
    }

    fn note(&mut self, again: bool, stage: Stage) {
        *if again { &mut self.round.again } else { &mut self.round.written } = stage;
        self.shared.erasures.keep(&self.round);
    }

    /// Deletes until that is acknowledged; the number of attempts it took, none if it never was.
    async fn delete(&mut self) -> Option<u32> {
        let deadline = Instant::now() + DELETE_MAX;
        let selector = self.round.doomed_selector(&self.shared.workload);
        let (start_ms, end_ms) = self.round.doomed_interval_ms();
        self.round.deleted = Stage::Sent;
        self.shared.erasures.keep(&self.round);
        let mut attempts = 0;
        while Instant::now() < deadline {
            attempts += 1;
            let (node, began) = (self.node(), self.shared.history.now_us());
            let (code, text) = match self.shared.client.delete_series(node, &selector, start_ms, end_ms).await {
                Ok(answer) => answer,
                Err(text) => (0, text),
            };
            let outcome = if code == 204 { Outcome::Ok } else { Outcome::Info };
            self.record(node, "delete", began, outcome, code);
            if code == 204 {
                self.round.deleted = Stage::Done;
                self.shared.erasures.keep(&self.round);
                return Some(attempts);
            }
            if (400..500).contains(&code) {
                let id = self.round.id;
                self.shared
                    .findings
                    .note(Breach::Refused, 1 << 61 | id, 0, || format!("node-{}: delete of round {id}: {code} {text}", node + 1));
                return None;
            }
            tokio::time::sleep(DELETE_DELAY).await;
        }
        None
    }

    /// Reads the round through any node and checks it.
    async fn read(&mut self) {
        let (node, began) = (self.node(), self.shared.history.now_us());
        let (expr, time) = round::selector(&self.shared.workload, &[&self.round]);
        let (outcome, code) = match self.shared.client.query(node, &expr, &time).await {
            QueryAnswer::Rows { rows, flagged } => {
                let source = format!("node-{} at {}s", node + 1, began / 1_000_000);
                self.round.check(&self.shared.workload, &rows, !flagged, &source, &self.shared.findings);
                (Outcome::Ok, 200)
            }
            QueryAnswer::Error { code, .. } => (Outcome::Fail, code),
        };
        self.record(node, "query erasable", began, outcome, code);
    }
}

/// Reads every round on every node and compares; returns how many points were read.
pub async fn read_all(shared: &Shared, stage: &str) -> u64 {
    let rounds: Vec<Round> = shared.erasures.0.lock().values().cloned().collect();
    let mut points = 0;
    for node in 0..shared.client.nodes() {
        let source = format!("node-{} {stage}", node + 1);
        for some in rounds.chunks(ROUNDS_PER_READ) {
            let all: Vec<&Round> = some.iter().collect();
            let (expr, time) = round::selector(&shared.workload, &all);
            let Some(rows) = patient_query(shared, node, &expr, &time, &source).await else { continue };
            for round in some {
                let own: Vec<_> = rows.iter().filter(|row| round.owns(&row.labels)).cloned().collect();
                points += own.iter().map(|row| row.points.len() as u64).sum::<u64>();
                round.check(&shared.workload, &own, true, &source, &shared.findings);
            }
        }
    }
    points
}
