//! Readers: windows of lanes and series through any node, compared with what is owed.

use super::Shared;
use crate::check::{Answer, Breach};
use crate::client::QueryAnswer;
use crate::dice::{Dice, splitmix64};
use crate::history::{Op, Outcome};
use serde_json::json;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tokio::sync::watch::Receiver;

const READ_STEPS_MAX: u64 = 40;

/// Reads until `stop` is true.
pub(super) async fn read_loop(shared: Arc<Shared>, reader: u64, mut stop: Receiver<bool>) {
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

/// One read.
pub(super) struct Read {
    pub(super) reader: u64,
    pub(super) node: usize,
    pub(super) lane: u32,
    pub(super) series: Option<u32>,
    pub(super) steps: Range<u64>,
}

/// Does one read, checks and records it.
pub(super) async fn read(shared: &Shared, read: Read) {
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
