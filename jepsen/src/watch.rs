//! Looks every second at who leads which group, for the report and for Raft's promise of one leader a term.

use crate::admin::by_group;
use crate::check::Breach;
use crate::load::Shared;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

const EVERY: Duration = Duration::from_secs(1);
const PROBE: Duration = Duration::from_millis(800);
const SAMPLES_MAX: usize = 100_000;
/// A claim counts from the second sight on: a node may change between two lines of one answer.
const SIGHTS: u64 = 2;

/// What was seen.
#[derive(Debug, Default)]
pub struct Watch {
    samples: Mutex<Vec<(f64, u64, usize)>>,
    claims: Mutex<BTreeMap<(u64, u64), BTreeMap<usize, u64>>>,
}

impl Watch {
    /// `(seconds, group, node that led it)`.
    #[must_use]
    pub fn samples(&self) -> Vec<(f64, u64, usize)> {
        self.samples.lock().clone()
    }

    /// How many pairs of a group and a term had a leader.
    #[must_use]
    pub fn terms(&self) -> u64 {
        self.claims.lock().len() as u64
    }

    /// Notes what one node said about itself; the other node that claimed the same term, if there is one.
    fn note(&self, at: f64, node: usize, text: &str) -> Vec<(u64, u64, usize)> {
        let (leads, terms) = (by_group(text, "flotilla_raft_leader"), by_group(text, "flotilla_raft_term"));
        let mut twice = Vec::new();
        for group in leads.into_iter().filter(|(_, leads)| *leads == 1).map(|(group, _)| group) {
            let mut samples = self.samples.lock();
            if samples.len() < SAMPLES_MAX {
                samples.push((at, group, node));
            }
            drop(samples);
            let Some(term) = terms.get(&group).copied() else { continue };
            let mut claims = self.claims.lock();
            let of_term = claims.entry((group, term)).or_default();
            *of_term.entry(node).or_default() += 1;
            let sure = |n: &usize| of_term.get(n).is_some_and(|sights| *sights >= SIGHTS);
            let other = of_term.keys().copied().find(|other| *other != node && sure(other) && sure(&node));
            twice.extend(other.map(|other| (group, term, other)));
        }
        twice
    }
}

/// Watches until `stop` is true.
pub fn start(tasks: &mut JoinSet<()>, shared: &Arc<Shared>, stop: &watch::Receiver<bool>) {
    for node in 0..shared.client.nodes() {
        tasks.spawn(run(Arc::clone(shared), node, stop.clone()));
    }
}

async fn run(shared: Arc<Shared>, node: usize, mut stop: watch::Receiver<bool>) {
    let mut due = Instant::now();
    while !*stop.borrow() {
        due += EVERY;
        tokio::select! {
            () = tokio::time::sleep_until(due) => {}
            _ = stop.changed() => break,
        }
        let at = shared.history.now_us() as f64 / 1e6;
        let Ok(Ok(text)) = tokio::time::timeout(PROBE, shared.client.metrics(node)).await else { continue };
        for (group, term, other) in shared.watch.note(at, node, &text) {
            shared.findings.note(Breach::Raft, group, term as i64, || {
                format!("group {group} had two leaders in term {term}: node-{} and node-{}", node + 1, other + 1)
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(leads: u64, term: u64) -> String {
        format!("flotilla_raft_leader{{group=\"3\"}} {leads}\nflotilla_raft_term{{group=\"3\"}} {term}\n")
    }

    #[test]
    fn two_leaders_of_one_term_are_found_and_of_two_terms_are_fine() {
        let watch = Watch::default();
        for at in [1.0, 2.0] {
            assert!(watch.note(at, 0, &text(1, 7)).is_empty() && watch.note(at, 1, &text(1, 8)).is_empty());
            assert!(watch.note(at, 2, &text(0, 8)).is_empty());
        }
        assert!(watch.note(3.0, 2, &text(1, 8)).is_empty(), "one sight is not enough");
        assert_eq!(watch.note(4.0, 2, &text(1, 8)), vec![(3, 8, 1)]);
        assert_eq!((watch.terms(), watch.samples().len()), (2, 6));
    }
}
