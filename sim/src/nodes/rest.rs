//! After the storm: every write and delete is acknowledged in the end, every store answers for everything, and all replicas hold the same.

use super::control::Control;
use crate::faults::Cluster;
use crate::stage::Scenario;
use std::collections::BTreeMap;
use std::time::Duration;

/// How long coming to rest may take.
const REST_MAX: Duration = Duration::from_secs(90);
/// Time between two attempts.
const ROUND: Duration = Duration::from_millis(500);

/// Waits until all is acknowledged, among it a new write through each store, each store has answered a query for all samples, and the
/// replicas agree.
pub(super) fn converge(control: &mut Control) {
    let until = control.stage.elapsed() + REST_MAX;
    for store in control.stores() {
        control.requests.write(store, control.stage.elapsed());
    }
    let mut answered_before = None;
    let mut waits_for = Some(String::new());
    while control.stage.elapsed() < until && !control.stage.has_failed() && waits_for.is_some() {
        waits_for = round(control, &mut answered_before);
    }
    if let Some(waits_for) = waits_for.filter(|_| !control.stage.has_failed()) {
        control.stage.watch.fail(format!("liveness: {} s after the last fault still waiting for {waits_for}", REST_MAX.as_secs()));
    }
}

/// One attempt; tells what is still waited for.
fn round(control: &mut Control, answered_before: &mut Option<BTreeMap<model::StoreId, u64>>) -> Option<String> {
    let round_ends = control.stage.elapsed() + ROUND;
    let mut disagreement = Some("replicas to agree".to_owned());
    while control.stage.elapsed() < round_ends && !control.stage.has_failed() {
        control.step();
        let now = control.stage.elapsed();
        control.requests.resend(now);
        // Replicas that tick now and then hold the same only between two ticks.
        let may_agree = answered_before.is_some() && control.stage.is_time_to_look();
        if may_agree && disagreement.is_some() {
            disagreement = control.disagreement();
        }
    }
    if !control.requests.is_all_done() {
        return Some("writes and deletes to be acknowledged".to_owned());
    }
    let before = answered_before.get_or_insert_with(|| control.requests.answered.clone()).clone();
    let stores = control.stores();
    let open: Vec<_> = stores.into_iter().filter(|store| control.requests.answered.get(store) <= before.get(store)).collect();
    if open.is_empty() {
        return disagreement;
    }
    for store in open {
        control.requests.query_points(store);
    }
    Some("a store to answer a query".to_owned())
}
