//! After the storm: every write is acknowledged in the end, and every store answers for everything.

use super::control::Control;
use crate::faults::Cluster;
use std::time::Duration;

/// How long coming to rest may take.
const REST_MAX: Duration = Duration::from_secs(90);
/// Time between two attempts.
const ROUND: Duration = Duration::from_millis(500);

/// Waits until all writes are acknowledged, among them a new one through each store, and each store has answered a query for all samples.
pub(super) fn converge(control: &mut Control) {
    let until = control.sim.elapsed() + REST_MAX;
    for store in control.stores() {
        control.write(store);
    }
    let mut before = None;
    while control.sim.elapsed() < until && !control.has_failed() {
        let round_ends = control.sim.elapsed() + ROUND;
        while control.sim.elapsed() < round_ends {
            control.step();
            control.resend();
        }
        if !control.is_all_written() {
            continue;
        }
        let before = before.get_or_insert_with(|| control.answered.clone());
        let stores = control.stores();
        let open: Vec<_> = stores.into_iter().filter(|store| control.answered.get(store) <= before.get(store)).collect();
        if open.is_empty() {
            return;
        }
        for store in open {
            control.query_points(store);
        }
    }
    if !control.has_failed() {
        let waits = if control.is_all_written() { "a store to answer a query" } else { "writes to be acknowledged" };
        control.watch.fail(format!("liveness: {} s after the last fault still waiting for {waits}", REST_MAX.as_secs()));
    }
}
