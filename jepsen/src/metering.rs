//! Do the nodes count exactly the samples that they acknowledged (I20)?
//!
//! A node's counter begins anew with its process and does not count what it learned of only by a later repetition, so this is judged at the end of a run,
//! on nodes that all run: each takes a few requests, each of them twice, and the counters of all together must grow by the samples of the
//! first ones. Nothing else writes to the workspace then.

use crate::check::Breach;
use crate::client::labelled_metric;
use crate::history::Outcome;
use crate::load::{Shared, canary_step};

const COUNTER: &str = "flotilla_ingest_samples_total";
const WORKSPACE: &str = "workspace=\"default\"";
const REQUESTS_PER_NODE: usize = 2;

/// Writes and compares; how many samples were metered, 0 if the nodes do not count or did not take a request at once.
pub async fn check(shared: &Shared) -> u64 {
    let Some(before) = counted(shared).await else { return 0 };
    let (mut metered, mut is_certain) = (0, true);
    for node in (0..shared.client.nodes()).cycle().take(shared.client.nodes() * REQUESTS_PER_NODE) {
        let lane = shared.workload.canary();
        let step = canary_step(shared);
        let body = shared.workload.request(lane, step..step + 1);
        shared.ledger.issue(lane, step..step + 1);
        for _twice in 0..2 {
            let answer = shared.client.write(node, &body).await;
            is_certain &= answer.outcome == Outcome::Ok;
            if answer.outcome == Outcome::Ok {
                shared.ledger.ack(lane, step..step + 1);
            }
        }
        metered += u64::from(shared.workload.lanes[lane as usize]);
    }
    let after = counted(shared).await.filter(|_| is_certain);
    let Some(after) = after else { return 0 };
    if let Some(text) = differs(&before, &after, metered) {
        shared.findings.note(Breach::Metering, 0, 0, || text);
    }
    metered
}

/// What each node has counted; none if one does not answer, or none of them counts.
async fn counted(shared: &Shared) -> Option<Vec<f64>> {
    let (mut all, mut counts) = (Vec::new(), false);
    for node in 0..shared.client.nodes() {
        let text = shared.client.metrics(node).await.ok()?;
        let own = labelled_metric(&text, COUNTER, WORKSPACE);
        counts |= own.is_some();
        all.push(own.unwrap_or(0.0));
    }
    counts.then_some(all)
}

/// In words, if the counters did not grow by `metered` in all, or one went back.
fn differs(before: &[f64], after: &[f64], metered: u64) -> Option<String> {
    let grew: Vec<f64> = before.iter().zip(after).map(|(before, after)| after - before).collect();
    let total: f64 = grew.iter().sum();
    let is_exact = (total - metered as f64).abs() < 0.5 && grew.iter().all(|n| *n >= 0.0);
    (!is_exact).then(|| format!("{metered} samples were acknowledged and counted as {total}: {grew:?} by node"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn i20_a_sample_counted_twice_or_not_at_all_and_a_counter_that_went_back_are_found() {
        assert_eq!(differs(&[10.0, 0.0, 5.0], &[60.0, 50.0, 5.0], 100), None);
        assert!(differs(&[10.0, 0.0], &[60.0, 51.0], 100).unwrap().starts_with("100 samples were acknowledged and counted as 101: "));
        assert!(differs(&[10.0, 0.0], &[60.0, 49.0], 100).is_some());
        assert!(differs(&[50.0, 0.0], &[0.0, 150.0], 100).unwrap().contains("[-50.0, 150.0]"));
    }
}
