//! The check of everything at the end of a run: all lanes in full, on every node.

use crate::check::{Answer, Breach, SeriesPoints, is_shown};
use crate::client::QueryAnswer;
use crate::dice::Dice;
use crate::erase;
use crate::history::Outcome;
use crate::load::Shared;
use crate::workload::{METRIC, SeriesKey, Workload};
use std::collections::HashMap;
use std::ops::Range;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tokio::time::Instant;

/// Points that one audit query may return.
const POINTS_MAX: u64 = 40_000;
const PATIENCE: Duration = Duration::from_secs(60);
const RETRY_DELAY: Duration = Duration::from_millis(300);
/// Samples older than this may be outside the window in which a node compares bits.
const PROBE_AGE_MS: i64 = 20 * 60_000;
const STALE_PROBES_MAX: usize = 40;
/// How a node names a second value at one timestamp.
const DUPLICATE: &str = "duplicate sample for timestamp";

/// Reads every step of every lane from every node and compares; returns how many points were read.
pub async fn read_all(shared: &Shared, stage: &str) -> u64 {
    let mut points = 0;
    if shared.beside.deletes {
        points += erase::read_all(shared, stage).await;
    }
    for node in 0..shared.client.nodes() {
        let source = format!("node-{} {stage}", node + 1);
        let longest = shared.workload.lanes.iter().copied().max().unwrap_or(1);
        let chunk = (POINTS_MAX / u64::from(longest)).max(1);
        let end = shared.ledger.issued_end();
        for start in (0..end).step_by(chunk as usize) {
            points += read_chunk(shared, node, start..(start + chunk).min(end), &source).await;
        }
    }
    points
}

async fn read_chunk(shared: &Shared, node: usize, steps: Range<u64>, source: &str) -> u64 {
    let workload = &shared.workload;
    let mut counts: HashMap<SeriesKey, u64> = HashMap::new();
    for lane in 0..workload.lanes.len() as u32 {
        let expr = workload.selector(Some(lane), None, &steps);
        let Some(rows) = patient_query(shared, node, &expr, &workload.query_time(&steps), source).await else { continue };
        let (owed, issued) = (shared.ledger.owed(lane, steps.clone()), shared.ledger.issued(lane, steps.clone()));
        let answer = Answer { workload, lane, series: None, steps: steps.clone(), owed, issued, complete: true, source };
        answer.check(&rows, &shared.findings);
        for row in &rows {
            if let Some(key) = workload.series_of(&row.labels) {
                *counts.entry(key).or_default() += row.points.len() as u64;
            }
        }
    }
    check_counts(shared, node, &steps, &counts, source).await;
    counts.values().sum()
}

/// `count_over_time` of all series of the run must agree with the points that were read one by one.
async fn check_counts(shared: &Shared, node: usize, steps: &Range<u64>, counts: &HashMap<SeriesKey, u64>, source: &str) {
    let expr = format!("count_over_time({})", shared.workload.selector(None, None, steps));
    let Some(rows) = patient_query(shared, node, &expr, &shared.workload.query_time(steps), source).await else { return };
    let counted = counted(&shared.workload, &rows);
    let at = shared.workload.timestamp_ms(steps.start);
    for key in counts.keys().chain(counted.keys()) {
        let (read, count) = (counts.get(key).copied().unwrap_or(0), counted.get(key).copied().unwrap_or(0));
        if read != count {
            let place = u64::from(key.lane) << 32 | u64::from(key.series);
            shared.findings.note(Breach::Wrong, place, at - 1, || {
                format!("{source}: {key:?} steps {steps:?}: count_over_time is {count}, {read} points were read")
            });
        }
    }
    if counted.len() != rows.len() {
        shared.findings.note(Breach::Phantom, 0, at - 1, || {
            format!("{source}: count_over_time gave {} series, {} of them known", rows.len(), counted.len())
        });
    }
}

fn counted(workload: &Workload, rows: &[SeriesPoints]) -> HashMap<SeriesKey, u64> {
    rows.iter()
        .filter_map(|row| {
            let mut labels = row.labels.clone();
            labels.push(("__name__".to_string(), METRIC.to_string()));
            Some((workload.series_of(&labels)?, row.points.first()?.1.parse::<f64>().ok()? as u64))
        })
        .collect()
}

/// How long to ask again: not at all once the cluster failed to recover, so that a broken one is reported soon.
fn patience(shared: &Shared) -> Duration {
    if shared.findings.count(Breach::NotRecovered) == 0 { PATIENCE } else { Duration::ZERO }
}

/// Queries at `time` (seconds) until the answer is complete; gives up with a finding.
pub(crate) async fn patient_query(shared: &Shared, node: usize, expr: &str, time: &str, source: &str) -> Option<Vec<SeriesPoints>> {
    let deadline = Instant::now() + patience(shared);
    loop {
        let last = match shared.client.query(node, expr, time).await {
            QueryAnswer::Rows { rows, flagged: false } => return Some(rows),
            QueryAnswer::Rows { .. } => "warnings".to_string(),
            QueryAnswer::Error { code, text } => format!("{code} {text}"),
        };
        if Instant::now() >= deadline {
            shared.findings.note(Breach::NotRecovered, node as u64, 0, || {
                format!("{source}: no complete answer to {expr} within {PATIENCE:?}: {last}")
            });
            return None;
        }
        shared.stats.asked_again.fetch_add(1, Relaxed);
        tokio::time::sleep(RETRY_DELAY).await;
    }
}

/// Checks through writes what JSON cannot show: the payload bits of NaNs, and stale markers.
///
/// A write of the same bits must be accepted and one of other bits be refused as a duplicate. The latter would change a
/// shard that lost the sample, so this is the last check of a run. Returns how many samples were probed.
pub async fn probe_nans(shared: &Shared) -> u64 {
    let mut dice = Dice::new(shared.workload.seed, u64::from_be_bytes(*b"probe-it"));
    let node = dice.index(shared.client.nodes());
    let (mut probed, mut stale) = (0, Vec::new());
    for lane in 0..shared.workload.lanes.len() as u32 {
        let nans = acked_nans(shared, lane);
        if nans.is_empty() {
            continue;
        }
        probed += nans.len() as u64;
        let body = encode(&shared.workload, &nans, |bits| bits);
        if let Some(text) = rejection(shared, node, &body).await {
            let (key, step) = nans[0];
            let at = shared.workload.timestamp_ms(step);
            shared.findings.note(Breach::Wrong, u64::from(key.lane), at, || {
                format!("node-{}: a NaN of lane {lane} is stored with other bits: {text}", node + 1)
            });
        }
        stale.extend(nans.into_iter().filter(|(key, k)| !is_shown(shared.workload.value_bits(*key, *k))));
    }
    dice.shuffle(&mut stale);
    for (key, step) in stale.into_iter().take(STALE_PROBES_MAX) {
        let body = encode(&shared.workload, &[(key, step)], |bits| bits ^ 0x40);
        let place = u64::from(key.lane) << 32 | u64::from(key.series);
        let refused = rejection(shared, node, &body).await;
        if !refused.as_ref().is_some_and(|text| text.contains(DUPLICATE)) {
            shared.findings.note(Breach::Missing, place, shared.workload.timestamp_ms(step), || {
                format!(
                    "node-{}: the stale marker of {key:?} at step {step} is not stored: a write of another value gave {refused:?}",
                    node + 1
                )
            });
        }
    }
    probed
}

fn acked_nans(shared: &Shared, lane: u32) -> Vec<(SeriesKey, u64)> {
    let workload = &shared.workload;
    let end = shared.ledger.acked_end(lane);
    let recent = end.saturating_sub((PROBE_AGE_MS / workload.step_ms) as u64)..end;
    let acked = shared.ledger.acked(lane, recent);
    let all = (0..workload.lanes[lane as usize]).flat_map(|series| acked.iter().map(move |k| (SeriesKey { lane, series }, k)));
    all.filter(|(key, k)| f64::from_bits(workload.value_bits(*key, *k)).is_nan()).collect()
}

fn encode(workload: &Workload, samples: &[(SeriesKey, u64)], change: impl Fn(u64) -> u64) -> Vec<u8> {
    let rows: Vec<_> = samples.iter().map(|(key, k)| (*key, *k..*k + 1)).collect();
    workload.encode(&rows, |key, k| change(workload.value_bits(key, k)))
}

/// The text of a 400; none if the write was accepted. Other answers are tried again.
async fn rejection(shared: &Shared, node: usize, body: &[u8]) -> Option<String> {
    let deadline = Instant::now() + patience(shared);
    loop {
        let answer = shared.client.write(node, body).await;
        match answer.outcome {
            Outcome::Ok => return None,
            _ if answer.code == 400 => return Some(answer.text),
            _ if Instant::now() >= deadline => {
                shared.findings.note(Breach::NotRecovered, node as u64, 1, || {
                    format!("node-{}: a write got no final answer within {PATIENCE:?}: {} {}", node + 1, answer.code, answer.text)
                });
                return Some(answer.text);
            }
            _ => {
                shared.stats.asked_again.fetch_add(1, Relaxed);
                tokio::time::sleep(RETRY_DELAY).await;
            }
        }
    }
}
