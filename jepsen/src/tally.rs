//! The figures of one run as a file, and of many runs together.

use crate::check::Breach;
use crate::load::Shared;
use crate::nemesis::{Fault, Recovery};
use crate::report::Figures;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::Ordering::Relaxed;

/// The figures of one run, or the sums of many.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Runs with a verdict.
    pub runs: u64,
    /// Runs in which every promise was kept.
    pub passed: u64,
    /// Runs that the harness could not finish.
    pub without_verdict: u64,
    /// Samples acknowledged.
    pub acked: u64,
    /// Points compared in answers, during faults and at the end.
    pub compared: u64,
    /// Installed faults by kind.
    pub faults: BTreeMap<String, u64>,
    /// Faults with an end of their own that reached it.
    pub completed: BTreeMap<String, u64>,
    /// Kinds that could not happen, with the reason.
    pub skipped: BTreeMap<String, String>,
    /// Faults that hit the leader of most groups.
    pub leader_hits: u64,
    /// Power losses of all nodes at once.
    pub power_losses: u64,
    /// Broken promises by kind.
    pub breaches: BTreeMap<String, u64>,
    /// Milliseconds from a heal until all groups had leaders.
    pub leader_ms: Vec<u64>,
    /// Until the first write was acknowledged.
    pub write_ms: Vec<u64>,
    /// Until replicas were equal.
    pub equal_ms: Vec<u64>,
    /// How long replicas were watched that were not yet equal when the next fault came.
    pub unequal_ms: Vec<u64>,
    /// Heals that took longer to show than they may, in words.
    pub slow: Vec<String>,
    /// From the last heal until every group had all of its replicas.
    pub whole_ms: Vec<u64>,
    /// Deletes that were acknowledged.
    pub deletes: u64,
    /// Operations beside a minority's fault.
    pub judged: u64,
    /// Those of them that succeeded.
    pub succeeded: u64,
    /// Starts of a node with another binary than before.
    pub version_changes: u64,
}

impl Tally {
    /// The figures of one run.
    #[must_use]
    pub fn of(shared: &Shared, figures: &Figures) -> Self {
        let faults = &figures.faults;
        let by_name = |counts: &BTreeMap<Fault, u64>| counts.iter().map(|(fault, n)| (format!("{fault:?}"), *n)).collect();
        let breaches = Breach::ALL.into_iter().map(|b| (format!("{b:?}").to_lowercase(), shared.findings.count(b)));
        let recoveries = &faults.recoveries_ms;
        Self {
            runs: 1,
            passed: u64::from(shared.findings.is_clean()),
            without_verdict: 0,
            acked: shared.acked(),
            compared: figures.points_audited + shared.stats.points_read.load(Relaxed),
            faults: by_name(&faults.installed),
            completed: by_name(&faults.completed),
            skipped: faults.skipped.iter().map(|(fault, why)| (format!("{fault:?}"), why.clone())).collect(),
            leader_hits: faults.leader_hits,
            power_losses: faults.installed.get(&Fault::PowerAll).copied().unwrap_or(0) + figures.final_power_losses,
            breaches: breaches.filter(|(_, n)| *n > 0).collect(),
            leader_ms: recoveries.iter().map(|r| r.leader_ms).collect(),
            write_ms: recoveries.iter().map(|r| r.write_ms).collect(),
            equal_ms: recoveries.iter().filter_map(|r| r.equal_ms).collect(),
            unequal_ms: recoveries.iter().filter(|r| r.equal_ms.is_none()).map(|r| r.watched_ms).collect(),
            slow: recoveries.iter().filter_map(Recovery::exceeds).collect(),
            whole_ms: figures.final_whole.iter().map(|d| d.as_millis() as u64).collect(),
            deletes: figures.erased.deleted,
            judged: figures.availability.judged,
            succeeded: figures.availability.succeeded,
            version_changes: figures.version_changes,
        }
    }

    /// Adds another run's figures.
    pub fn add(&mut self, other: &Self) {
        self.runs += other.runs;
        self.passed += other.passed;
        self.without_verdict += other.without_verdict;
        self.acked += other.acked;
        self.compared += other.compared;
        self.leader_hits += other.leader_hits;
        self.power_losses += other.power_losses;
        let sums = [(&mut self.faults, &other.faults), (&mut self.completed, &other.completed), (&mut self.breaches, &other.breaches)];
        for (sum, more) in sums {
            for (name, n) in more {
                *sum.entry(name.clone()).or_default() += n;
            }
        }
        self.skipped.extend(other.skipped.clone());
        self.leader_ms.extend(&other.leader_ms);
        self.write_ms.extend(&other.write_ms);
        self.equal_ms.extend(&other.equal_ms);
        self.unequal_ms.extend(&other.unequal_ms);
        self.slow.extend(other.slow.iter().cloned());
        self.whole_ms.extend(&other.whole_ms);
        self.deletes += other.deletes;
        self.judged += other.judged;
        self.succeeded += other.succeeded;
        self.version_changes += other.version_changes;
    }

    /// The figures in words.
    #[must_use]
    pub fn text(&self) -> String {
        let list = |counts: &BTreeMap<String, u64>| {
            let words: Vec<String> = counts.iter().map(|(name, n)| format!("{name} {n}")).collect();
            if words.is_empty() { "none".to_string() } else { words.join(", ") }
        };
        let mut text = format!(
            "runs: {} with a verdict, {} of them passed; {} without a verdict\n\
             samples: {} acknowledged, {} points compared; {} deletes; {} starts with another binary\n\
             beside faults of a minority: {} of {} operations succeeded\n\
             faults: {} in all ({}); {} hit the leader; {} power losses of the whole cluster\n\
             completed: {}\n\
             broken promises: {}\n\
             after undisturbed heals: leaders {}; writes {}; replicas equal {}, not yet when the next fault came {}; all replicas back after the last heal {}\n",
            self.runs,
            self.passed,
            self.without_verdict,
            self.acked,
            self.compared,
            self.deletes,
            self.version_changes,
            self.succeeded,
            self.judged,
            self.faults.values().sum::<u64>(),
            list(&self.faults),
            self.leader_hits,
            self.power_losses,
            list(&self.completed),
            list(&self.breaches),
            spread(&self.leader_ms),
            spread(&self.write_ms),
            spread(&self.equal_ms),
            spread(&self.unequal_ms),
            spread(&self.whole_ms),
        );
        for line in &self.slow {
            let _infallible = writeln!(text, "slow: {line}");
        }
        for (fault, why) in &self.skipped {
            let _infallible = writeln!(text, "skipped {fault}: {why}");
        }
        text
    }
}

/// Median, 99th percentile, maximum and count of some milliseconds.
#[must_use]
pub fn spread(ms: &[u64]) -> String {
    let mut sorted = ms.to_vec();
    sorted.sort_unstable();
    let rank = |percent: usize| sorted[(sorted.len() * percent).div_ceil(100).max(1) - 1];
    match sorted.last() {
        Some(max) => format!("p50 {} ms, p99 {} ms, max {max} ms (of {})", rank(50), rank(99), sorted.len()),
        None => "not measured".to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spread_tells_median_percentile_and_maximum() {
        assert_eq!(spread(&[30, 10, 20]), "p50 20 ms, p99 30 ms, max 30 ms (of 3)");
        let many: Vec<u64> = (1..=200).rev().collect();
        assert_eq!(spread(&many), "p50 100 ms, p99 198 ms, max 200 ms (of 200)");
        assert_eq!(spread(&[]), "not measured");
    }

    #[test]
    fn sums_of_runs_keep_every_figure() {
        let one = Tally {
            runs: 1,
            passed: 1,
            acked: 5,
            compared: 7,
            faults: BTreeMap::from([("Pause".to_string(), 2)]),
            power_losses: 1,
            leader_ms: vec![4],
            ..Tally::default()
        };
        let mut sum = one.clone();
        sum.add(&one);
        assert_eq!((sum.runs, sum.passed, sum.acked, sum.compared, sum.power_losses), (2, 2, 10, 14, 2));
        assert_eq!((sum.faults["Pause"], sum.leader_ms.len()), (4, 2));
        let again: Tally = serde_json::from_str(&serde_json::to_string(&sum).unwrap()).unwrap();
        assert_eq!(again, sum);
        assert!(sum.text().contains("faults: 4 in all (Pause 4)"));
    }
}
