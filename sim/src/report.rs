//! What came of one run.

use crate::plan::Fault;
use std::collections::BTreeMap;
use std::time::Duration;

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// Hash over all that happened.
    pub trace: u64,
    /// Simulated time.
    pub simulated: Duration,
    /// Operations or requests acknowledged.
    pub acknowledged: u64,
    /// Those with an unknown outcome.
    pub unknown: u64,
    /// Reads or queries answered.
    pub reads: u64,
    /// Faults that took place, by class.
    pub faults: BTreeMap<Fault, u64>,
    /// The first rule that was broken.
    pub violation: Option<String>,
    /// The trace's lines, if they were kept.
    pub lines: Vec<String>,
}

impl Report {
    /// One line: for people and for the process that started this one.
    #[must_use]
    pub fn line(&self) -> String {
        let faults: u64 = self.faults.values().sum();
        let outcome = self.violation.as_ref().map_or_else(|| "ok".to_owned(), |violation| format!("VIOLATION {violation}"));
        format!(
            "seed {} trace {:016x} simulated {:.1} s, {} acknowledged, {} unknown, {} reads, {faults} faults: {outcome}",
            self.seed,
            self.trace,
            self.simulated.as_secs_f64(),
            self.acknowledged,
            self.unknown,
            self.reads
        )
    }
}
