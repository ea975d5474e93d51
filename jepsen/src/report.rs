//! The verdict of a run in words.

use crate::availability::Availability;
use crate::check::Breach;
use crate::erase::EraseFigures;
use crate::html::Promise;
use crate::load::Shared;
use crate::meta::MetaFigures;
use crate::nemesis::{Class, Fault, FaultLog};
use crate::tally::{Tally, spread};
use std::fmt::Write;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

const EVIDENCE_SHOWN: usize = 5;
const NO_QUOTAS: &str = "accepted rate within its quota: the nodes have no quotas of rates yet";

/// What a finished run found.
#[derive(Debug)]
pub struct Report {
    text: String,
    passed: bool,
    tally: Tally,
    promises: Vec<Promise>,
}

/// Figures that the run itself measured.
#[derive(Debug, Default)]
pub struct Figures {
    /// Faults and recoveries.
    pub faults: FaultLog,
    /// From the last heal until every node was ready.
    pub final_recovery: Duration,
    /// From the start of all nodes after a kill of all until every node was ready.
    pub restart_killed: Duration,
    /// The same after a graceful stop of all.
    pub restart_stopped: Duration,
    /// From the last heal until every group had all of its replicas.
    pub final_whole: Option<Duration>,
    /// Power losses of all nodes after the faults, 1 where they have disks.
    pub final_power_losses: u64,
    /// What became of the workload of workspaces.
    pub meta: MetaFigures,
    /// What became of the workload of deletes.
    pub erased: EraseFigures,
    /// What a minority's faults left of the service.
    pub availability: Availability,
    /// Samples by which the nodes' own counters were checked.
    pub metered: u64,
    /// How often a node was started with another binary than before.
    pub version_changes: u64,
    /// Nodes that ended over what was done to their disk or files.
    pub excused_ends: u64,
    /// The command that repeats the run.
    pub repeat: String,
    /// Points compared at the end.
    pub points_audited: u64,
    /// NaNs and stale markers probed by writes.
    pub probed: u64,
    /// Nodes that had to be killed because SIGTERM did not end them within 30 s.
    pub slow_stops: usize,
}

impl Report {
    /// Writes down what `shared` and `figures` say.
    #[must_use]
    pub fn new(shared: &Shared, figures: &Figures) -> Self {
        let passed = shared.findings.is_clean();
        let mut text = summary(shared, figures);
        for line in shared.findings.evidence() {
            let _infallible = writeln!(text, "{line}");
        }
        let count = |breach| shared.findings.count(breach);
        let _infallible = write!(
            text,
            "{} seed={} acked={} missing={} wrong={} phantom={} faults={}",
            if passed { "OK" } else { "FAILED" },
            shared.workload.seed,
            shared.acked(),
            count(Breach::Missing),
            count(Breach::Wrong),
            count(Breach::Phantom),
            figures.faults.total(),
        );
        if !passed {
            let others = [
                ("refused", Breach::Refused),
                ("crashed", Breach::Crash),
                ("not_recovered", Breach::NotRecovered),
                ("metadata", Breach::Metadata),
                ("raft", Breach::Raft),
                ("reappeared", Breach::Reappeared),
                ("unavailable", Breach::Unavailable),
                ("metering", Breach::Metering),
                ("disk", Breach::Disk),
            ];
            for (name, breach) in others {
                let _infallible = write!(text, " {name}={}", count(breach));
            }
        }
        text.push('\n');
        Self { text, passed, tally: Tally::of(shared, figures), promises: promises(shared, figures) }
    }

    /// The whole report; its last line is the verdict.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The promises and what became of each.
    #[must_use]
    pub fn promises(&self) -> &[Promise] {
        &self.promises
    }

    /// The figures.
    #[must_use]
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Whether every promise was kept.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.passed
    }
}

/// Each promise with the breaches that would break it.
fn promises(shared: &Shared, figures: &Figures) -> Vec<Promise> {
    let compared = figures.points_audited + shared.stats.points_read.load(Relaxed);
    let (files, disk) = (figures.faults.of_class(Class::Files), figures.faults.of_class(Class::Disk) + figures.final_power_losses);
    let recoveries = figures.faults.recoveries_ms.len() as u64 + 1;
    let data = [Breach::Missing, Breach::Wrong, Breach::Phantom];
    let clocks = figures.faults.of_class(Class::Clock);
    let effects = [Fault::DiskFull, Fault::DiskFullAll, Fault::DiskNoSpace, Fault::DiskReadOnly, Fault::DiskError];
    let effects = effects.iter().filter_map(|fault| figures.faults.completed.get(fault)).sum();
    let rows: [(&'static str, &'static str, u64, &[Breach]); 16] = [
        ("I1, I6, I7, I8", "what is acknowledged or was seen is in every later complete answer", compared, &[Breach::Missing]),
        ("I2, I3, I5, I10", "every sample is there once, bit for bit, however often it is sent", compared, &[Breach::Wrong]),
        ("I4", "nothing is there that nobody wrote", compared, &[Breach::Phantom]),
        ("I9", "the answers about a workspace are linearizable", figures.meta.known, &[Breach::Metadata]),
        (
            "I11",
            "what was deleted does not come back, and a delete takes no more than it names",
            figures.erased.deleted,
            &[Breach::Reappeared],
        ),
        ("I11", "clocks of a minority that jump by up to a year let nothing expire", clocks, &[Breach::Missing]),
        ("I13", "a group has one leader in a term", shared.watch.terms(), &[Breach::Raft]),
        ("I14", "leaders, writes and replicas come back after a heal", recoveries, &[Breach::NotRecovered]),
        (
            "I15",
            "beside a minority's fault 99 % of what the others are asked succeeds, writes not ten times slower",
            figures.availability.judged,
            { &[Breach::Unavailable] },
        ),
        ("I19", NO_QUOTAS, 0, &[]),
        (
            "I20",
            "the nodes count exactly the samples that they acknowledged (no metering across failover and no audit log to check yet)",
            { figures.metered },
            &[Breach::Metering],
        ),
        ("I21", "damaged files of one node give no wrong answer", files, &data),
        ("I22", "broken disks and lost power lose nothing", disk, &data),
        (
            "I22",
            "a node without room gives leadership away, refuses with 503 and reads on; one whose disk fails ends",
            effects,
            &[Breach::Disk],
        ),
        ("I23", "nodes of two versions side by side lose nothing", figures.version_changes, &data),
        (
            "I12, I24",
            "no node ends by itself, panics or counts a broken rule; no valid write is refused",
            compared,
            &[Breach::Crash, Breach::Refused],
        ),
    ];
    let promise = |(ids, what, checks, breaches): (&'static str, &'static str, u64, &[Breach])| Promise {
        ids,
        what,
        checks,
        broken: if checks == 0 { 0 } else { breaches.iter().map(|b| shared.findings.count(*b)).sum() },
        evidence: breaches.iter().flat_map(|b| shared.findings.evidence_of(*b)).take(EVIDENCE_SHOWN).collect(),
    };
    rows.into_iter().map(promise).collect()
}

fn summary(shared: &Shared, figures: &Figures) -> String {
    let (s, f) = (&shared.stats, &figures.faults);
    let n = |counter: &std::sync::atomic::AtomicU64| counter.load(Relaxed);
    let ms = |us: Option<u64>| us.map_or("unknown".to_string(), |us| (us / 1000).to_string());
    let ready: Vec<u64> = f.recoveries_ms.iter().map(|r| r.ready_ms).collect();
    format!(
        "data: {} series in {} lanes, one step every {} ms\n\
         writes: {} ok, {} unknown, {} not applied, {} given up, {} sent twice on purpose\n\
         reads during faults: {} complete, {} flagged, {} failed, {} points compared\n\
         reads at the end: {} points compared on all nodes, {} NaNs probed by writes\n\
         deletes: {} rounds written, {} deleted, {} of them written anew; {} samples metered\n\
         writes p99: {} ms beside faults of a minority, {} ms without faults\n\
         workspaces: {} objects, {} answers, {} unknown outcomes, {} objects with a stale read\n\
         {}\
         nodes ready after an undisturbed heal: {}; {} ends of nodes over broken disks or files\n\
         after the last heal all ready in {:.1} s; after a kill of all in {:.1} s, after a stop of all in {:.1} s\n\
         {} nodes did not end within 30 s of SIGTERM; {} answers after recovery had to be asked for again\n\
         repeat: {}\n",
        shared.workload.series_count(),
        shared.workload.lanes.len(),
        shared.workload.step_ms,
        n(&s.writes_ok),
        n(&s.writes_unknown),
        n(&s.writes_failed),
        n(&s.writes_given_up),
        n(&s.duplicates),
        n(&s.reads_ok),
        n(&s.reads_flagged),
        n(&s.reads_failed),
        n(&s.points_read),
        figures.points_audited,
        figures.probed,
        figures.erased.written,
        figures.erased.deleted,
        figures.erased.again,
        figures.metered,
        ms(figures.availability.write_p99_us),
        ms(figures.availability.baseline_p99_us),
        figures.meta.objects,
        figures.meta.known,
        figures.meta.unknown,
        figures.meta.stale,
        Tally::of(shared, figures).text(),
        spread(&ready),
        figures.excused_ends,
        figures.final_recovery.as_secs_f64(),
        figures.restart_killed.as_secs_f64(),
        figures.restart_stopped.as_secs_f64(),
        figures.slow_stops,
        n(&s.asked_again),
        figures.repeat,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Client;
    use crate::history::History;
    use crate::workload::Workload;

    fn shared(dir: &std::path::Path) -> Shared {
        let workload = Workload { seed: 9, t0_ms: 0, step_ms: 100, lanes: vec![50, 60] };
        Shared::new(workload, Client::new(&["127.0.0.1:1".into()]).unwrap(), History::create(&dir.join("h")).unwrap())
    }

    #[tokio::test]
    async fn the_last_line_is_the_verdict_in_the_fixed_form() {
        let dir = tempfile::tempdir().unwrap();
        let shared = shared(dir.path());
        shared.ledger.ack(0, 0..4);
        shared.ledger.ack(1, 1..2);
        let mut figures = Figures::default();
        figures.faults.installed.insert(Fault::Pause, 3);
        let report = Report::new(&shared, &figures);
        assert_eq!(report.text().lines().last(), Some("OK seed=9 acked=260 missing=0 wrong=0 phantom=0 faults=3"));
        assert!(report.passed());
        shared.findings.note(Breach::Missing, 1, 2, || "x".into());
        shared.findings.note(Breach::Crash, 1, 2, || "y".into());
        let report = Report::new(&shared, &figures);
        let last = "FAILED seed=9 acked=260 missing=1 wrong=0 phantom=0 faults=3 refused=0 crashed=1 not_recovered=0 metadata=0 raft=0 \
                    reappeared=0 unavailable=0 metering=0 disk=0";
        assert_eq!(report.text().lines().last(), Some(last));
        assert!(!report.passed());
    }
}
