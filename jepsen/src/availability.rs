//! The availability that a fault of a minority must leave (I15), judged from a run's history.
//!
//! An operation counts if a fault goes on that hits a minority of the nodes, the node that was asked is none of them, and nothing happened to
//! the cluster for two election timeouts before it or while it went on. At least 99 of 100 such operations must succeed, and where a fault
//! only takes nodes away, which others then stand in for, the 99th percentile of writes must be at most ten times what it is without faults.

use crate::history::RECOVERED;
use serde::Deserialize;
use std::collections::{BTreeSet, VecDeque};
use std::io::BufRead;
use std::path::Path;

/// Two election timeouts, microseconds.
const SETTLE_US: u64 = 4_000_000;
/// A node that was hit counts as hit for so much longer, and after a fault of more than a minority nothing counts for so long: the time in which writes
/// must be back, and a node has started.
const BACK_US: u64 = 10_000_000;
/// Fewer operations say nothing about one in a hundred.
const OPS_MIN: u64 = 200;
/// Fewer writes have no 99th percentile.
const WRITES_MIN: usize = 100;
const OK_PERCENT: u64 = 99;
const SLOWER_MAX: u64 = 10;
/// No limit is shorter, microseconds: about what one pause of a busy machine with few cores costs.
const LIMIT_MIN_US: u64 = 500_000;
/// Faults beside which no write is timed. Slow links take no node away: nobody stands in for a leader that answers late. After a lost store replicas are
/// built anew, with processors and disks that all nodes of a run share.
const UNTIMED: [&str; 13] = [
    "Delay",
    "Loss",
    "Duplicate",
    "Reorder",
    "Corrupt",
    "Rate",
    "DiskOld",
    "DiskWiped",
    "BitFlip",
    "Truncate",
    "ChunkCopy",
    "LiveBitFlip",
    "Replace",
];
/// What is recorded and changes nothing.
const NOT_DONE: [&str; 2] = ["ScaleRefused", RECOVERED];
const EVIDENCE_MAX: usize = 5;

/// What a run's history says.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Availability {
    /// Operations that count.
    pub judged: u64,
    /// Those of them that succeeded.
    pub succeeded: u64,
    /// The 99th percentile of counted writes where nodes were taken away, microseconds; none if there were too few.
    pub write_p99_us: Option<u64>,
    /// The same of writes while no fault went on.
    pub baseline_p99_us: Option<u64>,
    /// The first counted operations that failed.
    pub failed: Vec<String>,
}

impl Availability {
    /// What breaks the promise, in words.
    #[must_use]
    pub fn breaches(&self) -> Vec<String> {
        let mut all = Vec::new();
        if self.judged >= OPS_MIN && self.succeeded * 100 < self.judged * OK_PERCENT {
            all.push(format!(
                "{} of {} operations beside a minority's fault succeeded: {}",
                self.succeeded,
                self.judged,
                self.failed.join("; ")
            ));
        }
        if let (Some(with), Some(without)) = (self.write_p99_us, self.baseline_p99_us)
            && with > (without * SLOWER_MAX).max(LIMIT_MIN_US)
        {
            all.push(format!(
                "beside a minority's fault the 99th percentile of writes is {} ms, without one {} ms",
                with / 1000,
                without / 1000
            ));
        }
        all
    }
}

#[derive(Deserialize)]
struct Line {
    t: [u64; 2],
    p: i64,
    n: usize,
    f: String,
    v: serde_json::Value,
    #[serde(rename = "type")]
    outcome: String,
    #[serde(default)]
    code: u16,
}

/// A fault from its beginning to its heal.
#[derive(Debug)]
struct Spell {
    fault: String,
    nodes: BTreeSet<usize>,
    began: u64,
    ended: u64,
}

/// All that happened to the cluster.
#[derive(Debug, Default)]
struct Troubles {
    spells: Vec<Spell>,
    /// Moments at which something changed, in order.
    changes: Vec<u64>,
    minority: usize,
}

/// What one operation says.
#[derive(Debug, PartialEq, Eq)]
enum Says {
    Nothing,
    /// How it is without faults.
    Baseline,
    /// How it is beside a fault of a minority.
    Beside {
        is_timed: bool,
    },
}

/// Judges the history of a cluster of `nodes` nodes.
///
/// # Errors
/// If it cannot be read.
pub fn judge(history: &Path, nodes: usize) -> std::io::Result<Availability> {
    let lines = std::io::BufReader::new(std::fs::File::open(history)?).lines();
    let (mut faults, mut operations) = (Vec::new(), Vec::new());
    for line in lines {
        let Ok(line) = serde_json::from_str::<Line>(&line?) else { continue };
        if line.p < 0 {
            faults.push(line);
        } else if line.n > 0 && (line.f == "write" || line.f == "query") {
            operations.push(line);
        }
    }
    Ok(sum_up(&Troubles::of(&faults, nodes), &operations))
}

impl Troubles {
    fn of(lines: &[Line], nodes: usize) -> Self {
        let mut troubles = Self { minority: nodes.saturating_sub(1) / 2, ..Self::default() };
        let mut open: VecDeque<Spell> = VecDeque::new();
        for line in lines {
            if !NOT_DONE.contains(&line.f.as_str()) {
                troubles.changes.extend(line.t);
            }
            let names =
                line.v["nodes"].as_array().into_iter().flatten().filter_map(|name| name.as_str()?.strip_prefix("node-")?.parse().ok());
            let nodes: BTreeSet<usize> = names.collect();
            if let Some(fault) = line.f.strip_prefix("Heal") {
                if let Some(at) = open.iter().position(|spell| spell.fault == fault && spell.nodes == nodes)
                    && let Some(spell) = open.remove(at)
                {
                    troubles.spells.push(Spell { ended: line.t[1], ..spell });
                }
            } else if !nodes.is_empty() {
                open.push_back(Spell { fault: line.f.clone(), nodes, began: line.t[0], ended: u64::MAX });
            }
        }
        troubles.spells.extend(open);
        troubles.changes.sort_unstable();
        troubles
    }

    fn says(&self, operation: &Line) -> Says {
        let [began, ended] = operation.t;
        let after = self.changes.partition_point(|at| at.saturating_add(SETTLE_US) <= began);
        if self.changes.get(after).is_some_and(|at| *at <= ended) {
            return Says::Nothing;
        }
        let near = self.spells.iter().filter(|s| s.began <= ended && s.ended.saturating_add(BACK_US) >= began);
        let (mut hit, mut goes_on, mut is_timed) = (BTreeSet::<usize>::new(), false, true);
        for spell in near {
            hit.extend(&spell.nodes);
            if spell.ended >= began {
                goes_on = true;
                is_timed &= !UNTIMED.contains(&spell.fault.as_str());
            }
        }
        match (hit.len() <= self.minority && !hit.contains(&operation.n), goes_on, hit.is_empty()) {
            (false, ..) => Says::Nothing,
            (true, true, _) => Says::Beside { is_timed },
            (true, false, true) => Says::Baseline,
            (true, false, false) => Says::Nothing,
        }
    }
}

fn sum_up(troubles: &Troubles, operations: &[Line]) -> Availability {
    let mut sum = Availability::default();
    let (mut beside, mut baseline) = (Vec::new(), Vec::new());
    for operation in operations {
        let is_ok = operation.outcome == "ok";
        let took = (operation.f == "write" && is_ok).then_some(operation.t[1] - operation.t[0]);
        match troubles.says(operation) {
            Says::Nothing => continue,
            Says::Baseline => {
                baseline.extend(took);
                continue;
            }
            Says::Beside { is_timed: false } => {}
            Says::Beside { is_timed: true } => beside.extend(took),
        }
        sum.judged += 1;
        sum.succeeded += u64::from(is_ok);
        if !is_ok && sum.failed.len() < EVIDENCE_MAX {
            let Line { t, n, f, code, .. } = operation;
            sum.failed.push(format!("{f} through node-{n} at {:.1} s: {code}", t[0] as f64 / 1e6));
        }
    }
    sum.write_p99_us = p99(beside);
    sum.baseline_p99_us = p99(baseline);
    sum
}

fn p99(mut all: Vec<u64>) -> Option<u64> {
    all.sort_unstable();
    (all.len() >= WRITES_MIN).then(|| all[(all.len() * 99).div_ceil(100) - 1])
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const SECOND: u64 = 1_000_000;

    fn line(t: [u64; 2], p: i64, n: usize, f: &str, v: serde_json::Value, ok: bool) -> Line {
        let outcome = if ok { "ok" } else { "info" }.to_string();
        Line { t, p, n, f: f.to_string(), v, outcome, code: if ok { 204 } else { 503 } }
    }

    /// Node 1 of five is cut off from 20 s to 40 s.
    fn cut_off() -> Vec<Line> {
        let v = || json!({"nodes": ["node-1"]});
        let (began, ended) = ([20 * SECOND, 20 * SECOND], [40 * SECOND, 40 * SECOND]);
        vec![line(began, -1, 0, "Isolate", v(), false), line(ended, -1, 0, "HealIsolate", v(), false)]
    }

    /// Ten writes a second through node `n` from 0 to 60 s, each of 10 ms; `fails` and `ms` say otherwise by the second.
    fn writes(n: usize, fails: impl Fn(u64) -> bool, ms: impl Fn(u64) -> u64) -> Vec<Line> {
        let write = |i: u64| {
            let (at, second) = (i * SECOND / 10, i / 10);
            line([at, at + ms(second) * 1000], 0, n, "write", json!({}), !fails(second))
        };
        (0..600).map(write).collect()
    }

    fn judged(faults: &[Line], operations: &[Line]) -> Availability {
        sum_up(&Troubles::of(faults, 5), operations)
    }

    #[test]
    fn i15_failures_in_the_shadow_of_a_fault_and_through_its_victim_do_not_count() {
        let fails_at_first = writes(2, |second| (20..24).contains(&second) || (40..44).contains(&second), |_| 10);
        let sum = judged(&cut_off(), &fails_at_first);
        assert_eq!((sum.judged, sum.succeeded), (160, 160), "from 24 to 40 s");
        assert!(judged(&cut_off(), &writes(1, |_| true, |_| 10)).judged == 0, "the victim's own clients do not count");
        assert!(sum.write_p99_us == Some(10_000) && sum.baseline_p99_us == Some(10_000));
    }

    #[test]
    fn i15_others_that_fail_beside_a_minoritys_fault_are_found() {
        let mut all = writes(2, |second| second == 30, |_| 10);
        all.extend(writes(3, |_| false, |_| 10));
        let sum = judged(&cut_off(), &all);
        assert_eq!((sum.judged, sum.succeeded), (320, 310));
        let found = sum.breaches();
        assert!(
            found.len() == 1 && found[0].starts_with("310 of 320") && found[0].contains("write through node-2 at 30.0 s: 503"),
            "{found:?}"
        );
        all.iter_mut().filter(|op| op.t[0] > 300 * SECOND / 10).for_each(|op| op.outcome = "ok".to_string());
        assert!(judged(&cut_off(), &all).breaches().is_empty(), "one in 320 may fail");
    }

    #[test]
    fn i15_writes_that_stay_slow_beside_a_minoritys_fault_are_found() {
        let slow = writes(2, |_| false, |second| if (20..40).contains(&second) { 501 } else { 10 });
        let found = judged(&cut_off(), &slow).breaches();
        assert!(found.len() == 1 && found[0].contains("is 501 ms, without one 10 ms"), "{found:?}");
        let mut delay = cut_off();
        delay[0].f = "Delay".to_string();
        delay[1].f = "HealDelay".to_string();
        assert!(judged(&delay, &slow).breaches().is_empty(), "nobody stands in for a slow link");
    }

    #[test]
    fn i15_a_majoritys_fault_leaves_nothing_to_judge_until_the_cluster_is_back() {
        let v = || json!({"nodes": ["node-1", "node-2", "node-3"]});
        let faults =
            [line([20 * SECOND; 2], -1, 0, "KillMajority", v(), false), line([22 * SECOND; 2], -1, 0, "HealKillMajority", v(), false)];
        assert_eq!(judged(&faults, &writes(5, |second| (20..32).contains(&second), |_| 10)), {
            let quiet = judged(&faults, &writes(5, |_| false, |_| 10));
            assert_eq!(quiet.judged, 0);
            quiet
        });
    }
}
