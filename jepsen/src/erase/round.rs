//! One round of deletes: what it writes, deletes and writes anew, and what an answer must then hold.

use crate::check::{Breach, Findings, SeriesPoints, text_is};
use crate::dice::{Dice, splitmix64};
use crate::workload::{Workload, write_request};
use std::collections::HashSet;
use std::ops::Range;

/// The metric's name.
const METRIC: &str = "jepsen_erasable";
const SERIES: u32 = 12;
const STEPS: u64 = 8;
const STEP_MS: i64 = 250;

/// How far one change of a round is.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Not sent.
    #[default]
    Before,
    /// Sent, not acknowledged: it may or may not have happened, or happen later.
    Sent,
    /// Acknowledged.
    Done,
}

/// One round.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Round {
    /// Its number within the run.
    pub id: u64,
    first_ms: i64,
    /// Every series whose number has this remainder by two is deleted from.
    doomed_parity: u32,
    doomed_steps: Range<u64>,
    /// How far the write of all samples is.
    pub written: Stage,
    /// How far the delete is.
    pub deleted: Stage,
    /// How far the second write is, of the first of the deleted steps.
    pub again: Stage,
}

/// What an answer must hold at one place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Owed {
    /// This value.
    Value(u64),
    /// This value or nothing.
    Perhaps(u64),
    /// Nothing: it was deleted.
    Nothing,
}

impl Round {
    /// A round whose newest sample is of `newest_ms`.
    #[must_use]
    pub fn plan(workload: &Workload, id: u64, newest_ms: i64, dice: &mut Dice) -> Self {
        let grid = newest_ms - (newest_ms - workload.t0_ms).rem_euclid(STEP_MS);
        let start = dice.below(STEPS - 2);
        Self {
            id,
            first_ms: grid - (STEPS as i64 - 1) * STEP_MS,
            doomed_parity: dice.below(2) as u32,
            doomed_steps: start..dice.between(start + 2, STEPS),
            ..Self::default()
        }
    }

    fn at_ms(&self, step: u64) -> i64 {
        self.first_ms + step as i64 * STEP_MS
    }

    fn is_doomed(&self, series: u32, step: u64) -> bool {
        series % 2 == self.doomed_parity && self.doomed_steps.contains(&step)
    }

    fn is_written_again(&self, series: u32, step: u64) -> bool {
        series % 2 == self.doomed_parity && step == self.doomed_steps.start
    }

    /// Whole numbers: all print exactly, and no two of a round are equal.
    fn bits(&self, workload: &Workload, series: u32, step: u64, again: bool) -> u64 {
        let place = self.id << 20 | u64::from(series) << 10 | step << 1 | u64::from(again);
        ((splitmix64(workload.seed ^ splitmix64(place)) >> 12) as f64).to_bits()
    }

    fn labels(&self, workload: &Workload, series: u32) -> Vec<(&'static str, String)> {
        let (round, series) = (self.id.to_string(), series.to_string());
        vec![("__name__", METRIC.to_string()), ("round", round), ("run", workload.run()), ("series", series)]
    }

    /// Whether a label set names a series of this round.
    #[must_use]
    pub fn owns(&self, labels: &[(String, String)]) -> bool {
        labels.iter().any(|(name, value)| name == "round" && *value == self.id.to_string())
    }

    fn series_of(&self, workload: &Workload, labels: &[(String, String)]) -> Option<u32> {
        let number = labels.iter().find(|(name, _)| name == "series")?.1.parse().ok()?;
        let expected = self.labels(workload, number);
        let same =
            expected.len() == labels.len() && expected.iter().all(|(n, v)| labels.iter().any(|(name, value)| name == n && value == v));
        (number < SERIES && same).then_some(number)
    }

    /// The remote write body of all samples, or of those that are written anew.
    #[must_use]
    pub fn body(&self, workload: &Workload, again: bool) -> Vec<u8> {
        let steps = |series| (0..STEPS).filter(move |step| !again || self.is_written_again(series, *step));
        let samples = |series| steps(series).map(|step| (self.at_ms(step), self.bits(workload, series, step, again))).collect();
        let rows: Vec<_> = (0..SERIES).map(|series| (self.labels(workload, series), samples(series))).collect();
        write_request(rows.into_iter().filter(|(_, samples): &(_, Vec<_>)| !samples.is_empty()))
    }

    /// What selects the series that are deleted from.
    #[must_use]
    pub fn doomed_selector(&self, workload: &Workload) -> String {
        let doomed = (0..SERIES).filter(|series| series % 2 == self.doomed_parity).map(|series| series.to_string());
        let doomed: Vec<String> = doomed.collect();
        format!("{METRIC}{{run=\"{}\",round=\"{}\",series=~\"{}\"}}", workload.run(), self.id, doomed.join("|"))
    }

    /// The first and the last timestamp that are deleted.
    #[must_use]
    pub fn doomed_interval_ms(&self) -> (i64, i64) {
        (self.at_ms(self.doomed_steps.start), self.at_ms(self.doomed_steps.end - 1))
    }

    fn owed(&self, workload: &Workload, series: u32, step: u64) -> Owed {
        let first = self.bits(workload, series, step, false);
        if self.written != Stage::Done {
            return Owed::Perhaps(first);
        }
        if !self.is_doomed(series, step) || self.deleted == Stage::Before {
            return Owed::Value(first);
        }
        if self.deleted == Stage::Sent {
            return Owed::Perhaps(first);
        }
        let again = self.bits(workload, series, step, true);
        match self.again {
            Stage::Done if self.is_written_again(series, step) => Owed::Value(again),
            Stage::Sent if self.is_written_again(series, step) => Owed::Perhaps(again),
            _ => Owed::Nothing,
        }
    }

    /// Compares an answer that holds all of this round, or says that it is not `complete`.
    pub fn check(&self, workload: &Workload, rows: &[SeriesPoints], complete: bool, source: &str, findings: &Findings) {
        let place = |series: u32| 1 << 60 | self.id << 8 | u64::from(series);
        let mut seen: HashSet<(u32, u64)> = HashSet::new();
        for row in rows {
            let Some(series) = self.series_of(workload, &row.labels) else {
                findings.note(Breach::Phantom, place(u32::from(u8::MAX)), 0, || format!("{source}: {:?} was never written", row.labels));
                continue;
            };
            for (at_ms, text) in &row.points {
                let note = |breach, what: &str| {
                    findings.note(breach, place(series), *at_ms, || {
                        format!("{source}: {self:?}: series {series} at {at_ms} is {text}: {what}")
                    });
                };
                let step = (at_ms - self.first_ms).div_euclid(STEP_MS) as u64;
                if *at_ms < self.first_ms || step >= STEPS || self.at_ms(step) != *at_ms {
                    note(Breach::Phantom, "never written");
                } else if !seen.insert((series, step)) {
                    note(Breach::Wrong, "the second point there");
                } else {
                    match self.owed(workload, series, step) {
                        Owed::Nothing => note(Breach::Reappeared, "it was deleted"),
                        Owed::Value(bits) | Owed::Perhaps(bits) if !text_is(text, bits) => {
                            // A deleted value in the place of its successor has come back as well.
                            let old = self.deleted == Stage::Done && text_is(text, self.bits(workload, series, step, false));
                            note(if old { Breach::Reappeared } else { Breach::Wrong }, "another value is owed");
                        }
                        Owed::Value(_) | Owed::Perhaps(_) => {}
                    }
                }
            }
        }
        let all = (0..SERIES).flat_map(|series| (0..STEPS).map(move |step| (series, step)));
        for (series, step) in all.filter(|at| complete && !seen.contains(at)) {
            if let Owed::Value(_) = self.owed(workload, series, step) {
                findings.note(Breach::Missing, place(series), self.at_ms(step), || {
                    format!("{source}: {self:?}: series {series} lacks step {step}, which no delete names")
                });
            }
        }
    }
}

/// A range selector over exactly these rounds, and the time at which to evaluate it. Empty for no round.
#[must_use]
pub(super) fn selector(workload: &Workload, rounds: &[&Round]) -> (String, String) {
    let ids: Vec<String> = rounds.iter().map(|round| round.id.to_string()).collect();
    let first = rounds.iter().map(|round| round.first_ms).min().unwrap_or(0);
    let last = rounds.iter().map(|round| round.at_ms(STEPS - 1)).max().unwrap_or(0);
    let expr = format!("{METRIC}{{run=\"{}\",round=~\"{}\"}}[{}ms]", workload.run(), ids.join("|"), last - first + 1);
    (expr, format!("{}.{:03}", last.div_euclid(1000), last.rem_euclid(1000)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workload() -> Workload {
        Workload { seed: 5, t0_ms: 1_000_000, step_ms: 100, lanes: vec![50, 60] }
    }

    fn round() -> Round {
        Round { id: 3, first_ms: 2_000_000, doomed_parity: 1, doomed_steps: 2..5, written: Stage::Done, ..Round::default() }
    }

    /// What an honest cluster answers.
    fn honest(round: &Round, w: &Workload) -> Vec<SeriesPoints> {
        let value = |series, step| match round.owed(w, series, step) {
            Owed::Value(bits) | Owed::Perhaps(bits) => Some((round.at_ms(step), f64::from_bits(bits).to_string())),
            Owed::Nothing => None,
        };
        let labels = |series| round.labels(w, series).into_iter().map(|(n, v)| (n.to_string(), v)).collect();
        (0..SERIES)
            .map(|series| SeriesPoints { labels: labels(series), points: (0..STEPS).filter_map(|k| value(series, k)).collect() })
            .collect()
    }

    /// `(missing, wrong, phantom, reappeared)`.
    fn counts(round: &Round, rows: &[SeriesPoints]) -> (u64, u64, u64, u64) {
        let findings = Findings::default();
        round.check(&workload(), rows, true, "test", &findings);
        let n = |breach| findings.count(breach);
        (n(Breach::Missing), n(Breach::Wrong), n(Breach::Phantom), n(Breach::Reappeared))
    }

    fn after(deleted: Stage, again: Stage) -> Round {
        Round { deleted, again, ..round() }
    }

    #[test]
    fn i11_an_honest_answer_is_clean_at_every_stage() {
        let w = workload();
        for (deleted, again) in [(Stage::Before, Stage::Before), (Stage::Sent, Stage::Before), (Stage::Done, Stage::Before)] {
            let round = after(deleted, again);
            assert_eq!(counts(&round, &honest(&round, &w)), (0, 0, 0, 0));
        }
        let round = after(Stage::Done, Stage::Done);
        assert_eq!(counts(&round, &honest(&round, &w)), (0, 0, 0, 0));
        assert_eq!(honest(&round, &w)[1].points.len(), 6, "one of three deleted steps is written anew");
    }

    #[test]
    fn i11_a_deleted_point_that_comes_back_is_found() {
        let (w, before, gone) = (workload(), after(Stage::Before, Stage::Before), after(Stage::Done, Stage::Before));
        assert_eq!(counts(&gone, &honest(&before, &w)), (0, 0, 0, 18), "three steps of six series");
        let again = after(Stage::Done, Stage::Done);
        assert_eq!(counts(&again, &honest(&before, &w)), (0, 0, 0, 18), "the old value in the place of the new one counts as well");
        assert_eq!(counts(&after(Stage::Sent, Stage::Before), &honest(&before, &w)), (0, 0, 0, 0), "nobody knows whether it happened");
    }

    #[test]
    fn i11_a_delete_that_takes_more_than_it_names_is_found() {
        let (w, round) = (workload(), after(Stage::Done, Stage::Before));
        let mut rows = honest(&round, &w);
        rows[0].points.remove(3);
        rows.remove(7);
        assert_eq!(counts(&round, &rows), (1 + 5, 0, 0, 0));
        let mut rows = honest(&round, &w);
        rows[2].points[0].1 = "1".to_string();
        rows[4].points.push((round.at_ms(STEPS), "1".to_string()));
        assert_eq!(counts(&round, &rows), (0, 1, 1, 0));
        let again = after(Stage::Done, Stage::Done);
        assert_eq!(counts(&again, &honest(&round, &w)), (6, 0, 0, 0), "what was written after the delete stays");
    }

    #[test]
    fn a_round_lies_on_its_grid_and_deletes_some_of_its_steps() {
        let w = workload();
        let mut dice = Dice::new(1, 1);
        for id in 0..200 {
            let round = Round::plan(&w, id, 1_500_123, &mut dice);
            assert!(round.at_ms(STEPS - 1) <= 1_500_123 && round.at_ms(STEPS) > 1_500_123);
            assert!(round.doomed_steps.start + 2 <= round.doomed_steps.end && round.doomed_steps.end <= STEPS);
            let (start, end) = round.doomed_interval_ms();
            assert!(start < end);
        }
        let (expr, time) = selector(&w, &[&round()]);
        assert_eq!((expr.as_str(), time.as_str()), ("jepsen_erasable{run=\"5-1000000\",round=~\"3\"}[1751ms]", "2001.750"));
    }
}
