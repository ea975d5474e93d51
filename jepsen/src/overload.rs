//! Does a cluster that is offered three times what it can take go on taking what it can?
//!
//! Capacity is what senders get through that each wait for an answer before they send more. Then requests are due at a fixed rate, whatever the answers:
//! every series group (*lane*) has one request under way at most, a refused one is offered again when the next is due, and many lanes make
//! thousands under way at once. Then the first senders once more.

use crate::check::{Answer, Breach, Findings};
use crate::client::{Client, QueryAnswer, WriteAnswer};
use crate::cluster::{Cluster, Setup};
use crate::idle::measured;
use crate::ledger::Ledger;
use crate::run::{self, RunError};
use crate::tally::spread;
use crate::workload::Workload;
use model::clock::{Clock, SystemClock};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::Instant;

const LANES: u32 = 2048;
const SERIES_PER_LANE: u32 = 50;
const STEPS_PER_REQUEST: u64 = 10;
const SAMPLES_PER_REQUEST: u64 = SERIES_PER_LANE as u64 * STEPS_PER_REQUEST;
const STEP_MS: i64 = 100;
/// The first sample is so much older than the clock: data time runs ahead of it under full load.
const HEAD_START_MS: i64 = 50 * 60_000;
/// Senders that wait for answers: enough to find the capacity, not only what a few waits allow.
const SENDERS: u32 = 256;
/// What a phase takes to become steady.
const RAMP: Duration = Duration::from_secs(5);
const PATIENCE: Duration = Duration::from_secs(30);
const PAUSE_AFTER_REFUSAL: Duration = Duration::from_millis(50);
const MEMORY_EVERY: Duration = Duration::from_millis(500);
const OFFERED: f64 = 3.0;
/// Least throughput under overload, and after it, of the capacity.
const LEAST: f64 = 0.8;
const LANES_READ: u32 = 64;

/// What to do.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Nodes, binary, where everything goes, and further flags.
    pub setup: Setup,
    /// How long capacity, overload and recovery are each measured.
    pub time: Duration,
}

/// What one phase saw.
#[derive(Debug, Default, Clone, PartialEq)]
struct Phase {
    offered: u64,
    acked: u64,
    elapsed: Duration,
    /// How many answers had this status, and whether with `Retry-After`.
    answers: BTreeMap<(u16, bool), u64>,
    /// How long acknowledged requests took, milliseconds.
    took_ms: Vec<u64>,
}

impl Phase {
    fn rate(&self) -> f64 {
        self.acked as f64 / self.elapsed.as_secs_f64().max(f64::MIN_POSITIVE)
    }

    /// Answers that are neither an acknowledgement nor a refusal that tells a sender to come back.
    fn improper(&self) -> u64 {
        let is_proper = |(code, has_retry_after): (u16, bool)| (200..300).contains(&code) || code == 429 || code == 503 && has_retry_after;
        self.answers.iter().filter(|(answer, _)| !is_proper(**answer)).map(|(_, n)| n).sum()
    }
}

struct Bench {
    client: Client,
    workload: Workload,
    ledger: Ledger,
    /// The next step of each lane.
    next: Vec<AtomicU64>,
    phase: Mutex<Phase>,
    is_over: AtomicBool,
}

/// Measures the three phases; the report, and whether throughput held.
///
/// # Errors
/// If the cluster does not come up or a node ends.
pub async fn overload(plan: &Plan) -> Result<(String, bool), RunError> {
    let cluster = run::local(plan.setup.clone()).await?;
    let addresses: Vec<String> = cluster.specs().iter().map(|s| s.http.to_string()).collect();
    let t0_ms = SystemClock::default().now_ms() - HEAD_START_MS;
    let workload = Workload { seed: plan.setup.seed, t0_ms, step_ms: STEP_MS, lanes: vec![SERIES_PER_LANE; LANES as usize] };
    let bench = Arc::new(Bench {
        client: Client::with_connections(&addresses, LANES as usize)?,
        ledger: Ledger::new(LANES as usize),
        next: (0..LANES).map(|_| AtomicU64::new(0)).collect(),
        phase: Mutex::default(),
        is_over: AtomicBool::new(false),
        workload,
    });
    bench.fill().await;
    let capacity = bench.closed(plan.time).await;
    let before = measured(&cluster).await?;
    let every = Duration::from_secs_f64(f64::from(LANES) * SAMPLES_PER_REQUEST as f64 / (capacity.rate() * OFFERED).max(1.0));
    let (overload, peaks) = tokio::join!(bench.open(plan.time, every), peaks(&cluster, RAMP + plan.time));
    let after = measured(&cluster).await?;
    let recovered = bench.closed(plan.time).await;
    let findings = Findings::default();
    bench.read_back(&findings).await;
    cluster.reap(&findings).await;
    cluster.stop_all().await;
    let mut text = String::new();
    for (node, ((before, after), peak)) in before.iter().zip(&after).zip(peaks).enumerate() {
        let mib = |bytes: u64| bytes >> 20;
        let (before, after, peak) = (mib(before.resident), mib(after.resident), mib(peak));
        let _infallible = writeln!(text, "node-{}: {before} MiB resident before, {peak} at most, {after} after the overload", node + 1);
    }
    let (figures, passed) = report(&capacity, &overload, &recovered, &findings);
    Ok((text + &figures, passed))
}

/// The most memory that each node held within `time`, bytes.
async fn peaks(cluster: &Cluster, time: Duration) -> Vec<u64> {
    let (deadline, mut peaks) = (Instant::now() + time, vec![0; cluster.specs().len()]);
    while Instant::now() < deadline {
        for (peak, usage) in peaks.iter_mut().zip(measured(cluster).await.unwrap_or_default()) {
            *peak = (*peak).max(usage.resident);
        }
        tokio::time::sleep(MEMORY_EVERY).await;
    }
    peaks
}

impl Bench {
    fn body(&self, lane: u32, step: u64) -> Vec<u8> {
        self.workload.request(lane, step..step + STEPS_PER_REQUEST)
    }

    /// Offers the next request of a lane once; whether it was acknowledged.
    async fn offer(&self, lane: u32, step: u64, body: Vec<u8>) -> bool {
        let steps = step..step + STEPS_PER_REQUEST;
        self.ledger.issue(lane, steps.clone());
        let (began, node) = (Instant::now(), lane as usize % self.client.nodes());
        let answer = self.client.write_within(node, body, PATIENCE).await;
        let is_acked = (200..300).contains(&answer.code);
        if is_acked {
            self.ledger.ack(lane, steps.clone());
            self.next[lane as usize].store(steps.end, Relaxed);
        }
        self.note(&answer, is_acked, began.elapsed());
        is_acked
    }

    fn note(&self, answer: &WriteAnswer, is_acked: bool, took: Duration) {
        let mut phase = self.phase.lock();
        phase.acked += if is_acked { SAMPLES_PER_REQUEST } else { 0 };
        *phase.answers.entry((answer.code, answer.retry_after.is_some())).or_default() += 1;
        if is_acked {
            phase.took_ms.push(took.as_millis() as u64);
        }
    }

    /// Makes every series known, so that no phase pays for it.
    async fn fill(self: &Arc<Self>) {
        let mut senders = JoinSet::new();
        for sender in 0..SENDERS {
            let bench = Arc::clone(self);
            senders.spawn(async move {
                for lane in (sender..LANES).step_by(SENDERS as usize) {
                    while !bench.offer(lane, 0, bench.body(lane, 0)).await {
                        tokio::time::sleep(PAUSE_AFTER_REFUSAL).await;
                    }
                }
            });
        }
        senders.join_all().await;
    }

    /// Lets `time` of a load be measured after a ramp, and ends it.
    async fn measure(self: &Arc<Self>, mut load: JoinSet<()>, time: Duration) -> Phase {
        tokio::time::sleep(RAMP).await;
        *self.phase.lock() = Phase::default();
        let began = Instant::now();
        tokio::time::sleep(time).await;
        let phase = Phase { elapsed: began.elapsed(), ..std::mem::take(&mut *self.phase.lock()) };
        self.is_over.store(true, Relaxed);
        while load.join_next().await.is_some() {}
        self.is_over.store(false, Relaxed);
        phase
    }

    /// Senders that each wait for an answer before they send more.
    async fn closed(self: &Arc<Self>, time: Duration) -> Phase {
        let mut load = JoinSet::new();
        for sender in 0..SENDERS {
            let bench = Arc::clone(self);
            load.spawn(async move {
                for lane in (sender..LANES).step_by(SENDERS as usize).cycle() {
                    if bench.is_over.load(Relaxed) {
                        return;
                    }
                    let step = bench.next[lane as usize].load(Relaxed);
                    bench.phase.lock().offered += SAMPLES_PER_REQUEST;
                    if !bench.offer(lane, step, bench.body(lane, step)).await {
                        tokio::time::sleep(PAUSE_AFTER_REFUSAL).await;
                    }
                }
            });
        }
        self.measure(load, time).await
    }

    /// A request of each lane is due `every` so often, whatever became of the last.
    async fn open(self: &Arc<Self>, time: Duration, every: Duration) -> Phase {
        let mut load = JoinSet::new();
        let began = Instant::now();
        for lane in 0..LANES {
            let bench = Arc::clone(self);
            load.spawn(async move {
                let mut due = began + every.mul_f64(f64::from(lane) / f64::from(LANES));
                let mut kept: Option<(u64, Vec<u8>)> = None;
                while !bench.is_over.load(Relaxed) {
                    tokio::time::sleep_until(due).await;
                    bench.phase.lock().offered += SAMPLES_PER_REQUEST;
                    let (step, body) = kept.take().unwrap_or_else(|| {
                        let step = bench.next[lane as usize].load(Relaxed);
                        (step, bench.body(lane, step))
                    });
                    if !bench.offer(lane, step, body.clone()).await {
                        kept = Some((step, body));
                    }
                    due += every;
                    // What was due while one was under way counts as offered and held back by the bound.
                    while due < Instant::now() {
                        bench.phase.lock().offered += SAMPLES_PER_REQUEST;
                        due += every;
                    }
                }
            });
        }
        self.measure(load, time).await
    }

    /// Reads some lanes in full and compares.
    async fn read_back(&self, findings: &Findings) {
        for lane in (0..LANES).step_by((LANES / LANES_READ) as usize) {
            let steps = 0..self.ledger.acked_end(lane);
            let (owed, issued) = (self.ledger.owed(lane, steps.clone()), self.ledger.issued(lane, steps.clone()));
            let expr = self.workload.selector(Some(lane), None, &steps);
            let node = lane as usize / 7 % self.client.nodes();
            match self.client.query(node, &expr, &self.workload.query_time(&steps)).await {
                QueryAnswer::Rows { rows, flagged } => {
                    let answer =
                        Answer { workload: &self.workload, lane, series: None, steps, owed, issued, complete: !flagged, source: "the end" };
                    answer.check(&rows, findings);
                }
                QueryAnswer::Error { code, text } => {
                    findings.note(Breach::NotRecovered, u64::from(lane), 0, || format!("{expr}: {code} {text}"));
                }
            }
        }
    }
}

/// The figures in words, and whether every promise was kept.
fn report(capacity: &Phase, overload: &Phase, recovered: &Phase, findings: &Findings) -> (String, bool) {
    let (held, back) = (overload.rate() / capacity.rate().max(1.0), recovered.rate() / capacity.rate().max(1.0));
    let improper = overload.improper() + recovered.improper();
    let passed = held >= LEAST && back >= LEAST && improper == 0 && findings.is_clean();
    let mut text = String::new();
    for (name, phase) in [("capacity", capacity), ("overload", overload), ("afterwards", recovered)] {
        let offered = phase.offered as f64 / phase.elapsed.as_secs_f64().max(f64::MIN_POSITIVE);
        let _infallible = writeln!(
            text,
            "{name}: {:.0} samples/s acknowledged, {offered:.0} offered; an acknowledged request took {}; answers {}",
            phase.rate(),
            spread(&phase.took_ms),
            answers(phase),
        );
    }
    for line in findings.evidence() {
        let _infallible = writeln!(text, "{line}");
    }
    let verdict = if passed { "OK" } else { "FAILED" };
    let _infallible = write!(text, "{verdict} overload={held:.3} afterwards={back:.3} improper={improper}");
    (text, passed)
}

fn answers(phase: &Phase) -> String {
    let word = |((code, has_retry_after), n): (&(u16, bool), &u64)| {
        format!("{code}{}: {n}", if *has_retry_after { " with Retry-After" } else { "" })
    };
    phase.answers.iter().map(word).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn phase(acked: u64, answers: &[((u16, bool), u64)]) -> Phase {
        Phase { offered: 300, acked, elapsed: Duration::from_secs(1), answers: answers.iter().copied().collect(), took_ms: vec![5] }
    }

    #[test]
    fn a_collapse_an_improper_refusal_and_a_load_that_stays_lost_fail() {
        let refused = [((204, false), 80), ((503, true), 100), ((429, false), 3)];
        let (full, held) = (phase(100, &[((204, false), 100)]), phase(80, &refused));
        let clean = Findings::default();
        let (text, passed) = report(&full, &held, &full, &clean);
        assert!(passed && text.ends_with("OK overload=0.800 afterwards=1.000 improper=0"), "{text}");
        assert!(!report(&full, &phase(79, &refused), &full, &clean).1 && !report(&full, &held, &phase(79, &refused), &clean).1);
        for answer in [(503, false), (0, false), (500, true), (400, false)] {
            assert!(!report(&full, &phase(90, &[(answer, 1)]), &full, &clean).1, "{answer:?}");
        }
        clean.note(Breach::Missing, 0, 0, || "x".into());
        assert!(!report(&full, &held, &full, &clean).1);
    }
}
