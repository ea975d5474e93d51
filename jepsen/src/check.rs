//! Compares what a query answered with what was issued and acknowledged.

use crate::ranges::RangeSet;
use crate::workload::{STALE_NAN, SeriesKey, Workload};
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Range;

const EVIDENCE_MAX: usize = 40;
const DISTINCT_MAX: usize = 1_000_000;

/// One series of a query's answer, as the JSON gave it.
#[derive(Debug, Clone)]
pub struct SeriesPoints {
    /// Label pairs.
    pub labels: Vec<(String, String)>,
    /// `(timestamp in ms, value text)` in the order of the answer.
    pub points: Vec<(i64, String)>,
}

/// What kind of promise was broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Breach {
    /// An owed sample is not in a complete answer.
    Missing,
    /// A sample has another value, or more than one point has its timestamp.
    Wrong,
    /// A point that nobody wrote.
    Phantom,
    /// A valid write was refused with a 4xx.
    Refused,
    /// A node ended by itself, panicked, or broke an invariant that it counts itself.
    Crash,
    /// The cluster did not come back after the last heal.
    NotRecovered,
    /// The answers about a workspace have no order that explains them.
    Metadata,
    /// A group had two leaders in one term.
    Raft,
    /// A deleted sample is in an answer.
    Reappeared,
    /// A fault of a minority took the others' clients more than it may.
    Unavailable,
    /// A node counted other samples than were acknowledged.
    Metering,
    /// A node on a broken or full disk did not do what it must.
    Disk,
}

impl Breach {
    /// All kinds.
    pub const ALL: [Self; 12] = [
        Self::Missing,
        Self::Wrong,
        Self::Phantom,
        Self::Refused,
        Self::Crash,
        Self::NotRecovered,
        Self::Metadata,
        Self::Raft,
        Self::Reappeared,
        Self::Unavailable,
        Self::Metering,
        Self::Disk,
    ];
}

/// Breaches found, each place counted once; the first ones are kept in words.
#[derive(Debug, Default)]
pub struct Findings(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    places: HashSet<(Breach, u64, i64)>,
    counts: BTreeMap<Breach, u64>,
    evidence: Vec<String>,
}

impl Findings {
    /// Notes a breach at a place (any number that tells places apart, and a timestamp); a place is counted once.
    pub fn note(&self, breach: Breach, place: u64, timestamp_ms: i64, evidence: impl FnOnce() -> String) {
        let mut inner = self.0.lock();
        if inner.places.contains(&(breach, place, timestamp_ms)) {
            return;
        }
        if inner.places.len() < DISTINCT_MAX {
            inner.places.insert((breach, place, timestamp_ms));
        }
        *inner.counts.entry(breach).or_default() += 1;
        if inner.evidence.len() < EVIDENCE_MAX {
            let text = format!("{breach:?}: {}", evidence());
            inner.evidence.push(text);
        }
    }

    /// How many places broke this promise.
    #[must_use]
    pub fn count(&self, breach: Breach) -> u64 {
        self.0.lock().counts.get(&breach).copied().unwrap_or(0)
    }

    /// The first breaches of this kind, in words.
    #[must_use]
    pub fn evidence_of(&self, breach: Breach) -> Vec<String> {
        let prefix = format!("{breach:?}: ");
        self.evidence().iter().filter_map(|line| line.strip_prefix(&prefix)).map(str::to_string).collect()
    }

    /// Whether nothing was found.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.0.lock().counts.is_empty()
    }

    /// The first breaches, in words.
    #[must_use]
    pub fn evidence(&self) -> Vec<String> {
        self.0.lock().evidence.clone()
    }
}

/// One answer to check and what it must hold.
#[derive(Debug)]
pub struct Answer<'a> {
    /// The run's data.
    pub workload: &'a Workload,
    /// Which series the selector matches: one of the lane, or all.
    pub lane: u32,
    /// See `lane`.
    pub series: Option<u32>,
    /// The steps that the selector's window holds.
    pub steps: Range<u64>,
    /// Steps acknowledged or observed before the query began.
    pub owed: RangeSet,
    /// Steps issued before the answer came.
    pub issued: RangeSet,
    /// Whether the answer claims to be complete (200 without warnings).
    pub complete: bool,
    /// Who answered, for the evidence.
    pub source: &'a str,
}

impl Answer<'_> {
    /// Checks `rows` and returns the steps that every selected series showed.
    pub fn check(&self, rows: &[SeriesPoints], findings: &Findings) -> RangeSet {
        let mut seen: HashMap<u32, HashSet<u64>> = HashMap::new();
        for row in rows {
            let selected =
                self.workload.series_of(&row.labels).filter(|k| k.lane == self.lane && self.series.is_none_or(|s| s == k.series));
            let Some(key) = selected else {
                let place = row
                    .labels
                    .iter()
                    .flat_map(|(n, v)| n.bytes().chain(v.bytes()))
                    .fold(1 << 63, |h, b| crate::dice::splitmix64(h ^ u64::from(b)));
                findings.note(Breach::Phantom, place, 0, || {
                    format!("{}: series {:?} was not asked for or not written", self.source, row.labels)
                });
                continue;
            };
            let steps = seen.entry(key.series).or_default();
            for (timestamp, text) in &row.points {
                self.check_point(key, *timestamp, text, steps, findings);
            }
        }
        if self.complete {
            self.check_owed(&seen, findings);
        }
        self.shown_by_all(&seen)
    }

    fn check_point(&self, key: SeriesKey, timestamp: i64, text: &str, steps: &mut HashSet<u64>, findings: &Findings) {
        let place = place(key);
        let step = self.workload.step_at(timestamp).filter(|k| self.issued.contains(*k));
        let Some(step) = step else {
            findings
                .note(Breach::Phantom, place, timestamp, || format!("{}: {key:?} has {text} at {timestamp}, never written", self.source));
            return;
        };
        let bits = self.workload.value_bits(key, step);
        if !steps.insert(step) {
            findings.note(Breach::Wrong, place, timestamp, || format!("{}: {key:?} has two points at {timestamp}", self.source));
        } else if !text_is(text, bits) {
            let wanted = f64::from_bits(bits);
            findings.note(Breach::Wrong, place, timestamp, || {
                format!("{}: {key:?} at {timestamp} is {text} instead of {wanted:?} ({bits:#x})", self.source)
            });
        }
    }

    fn check_owed(&self, seen: &HashMap<u32, HashSet<u64>>, findings: &Findings) {
        let none = HashSet::new();
        for series in self.selected() {
            let key = SeriesKey { lane: self.lane, series };
            let steps = seen.get(&series).unwrap_or(&none);
            for step in self.owed.iter().filter(|k| !steps.contains(k) && is_shown(self.workload.value_bits(key, *k))) {
                let timestamp = self.workload.timestamp_ms(step);
                findings.note(Breach::Missing, place(key), timestamp, || {
                    format!("{}: {key:?} lacks the sample at {timestamp} (step {step})", self.source)
                });
            }
        }
    }

    fn selected(&self) -> Range<u32> {
        self.series.map_or(0..self.workload.lanes[self.lane as usize], |s| s..s + 1)
    }

    fn shown_by_all(&self, seen: &HashMap<u32, HashSet<u64>>) -> RangeSet {
        let mut all = RangeSet::default();
        for step in self.steps.clone() {
            let shown = |series: u32| {
                seen.get(&series).is_some_and(|s| s.contains(&step))
                    || !is_shown(self.workload.value_bits(SeriesKey { lane: self.lane, series }, step))
            };
            if self.selected().all(shown) {
                all.insert(step..step + 1);
            }
        }
        all
    }
}

fn place(key: SeriesKey) -> u64 {
    u64::from(key.lane) << 32 | u64::from(key.series)
}

/// Whether range selectors show a value: all but stale markers.
#[must_use]
pub fn is_shown(bits: u64) -> bool {
    bits != STALE_NAN
}

/// Whether a JSON value text stands for these bits. All NaN payloads print alike; a stale marker must not be printed.
#[must_use]
pub fn text_is(text: &str, bits: u64) -> bool {
    let value = f64::from_bits(bits);
    match text.parse::<f64>() {
        Ok(parsed) if value.is_nan() => parsed.is_nan() && is_shown(bits),
        Ok(parsed) => parsed.to_bits() == bits,
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::METRIC;

    const STEPS: Range<u64> = 10..20;

    fn workload() -> Workload {
        Workload { seed: 5, t0_ms: 1_000_000, step_ms: 100, lanes: vec![50, 60] }
    }

    fn row(w: &Workload, series: u32) -> SeriesPoints {
        let key = SeriesKey { lane: 1, series };
        let label = |n: &str, v: String| (n.to_string(), v);
        SeriesPoints {
            labels: vec![
                label("__name__", METRIC.into()),
                label("run", w.run()),
                label("lane", "1".into()),
                label("series", series.to_string()),
            ],
            points: STEPS
                .map(|k| (w.timestamp_ms(k), w.value_bits(key, k)))
                .filter(|(_, b)| is_shown(*b))
                .map(|(t, b)| (t, format!("{:?}", f64::from_bits(b))))
                .collect(),
        }
    }

    fn honest(w: &Workload) -> Vec<SeriesPoints> {
        (0..60).map(|s| row(w, s)).collect()
    }

    /// Checks `rows` with steps 10..18 owed and 10..20 issued.
    fn check(w: &Workload, rows: &[SeriesPoints], complete: bool) -> (Findings, RangeSet) {
        let findings = Findings::default();
        let (mut owed, mut issued) = (RangeSet::default(), RangeSet::default());
        owed.insert(10..18);
        issued.insert(STEPS);
        let answer = Answer { workload: w, lane: 1, series: None, steps: STEPS, owed, issued, complete, source: "test" };
        let shown = answer.check(rows, &findings);
        (findings, shown)
    }

    fn counts(f: &Findings) -> (u64, u64, u64) {
        (f.count(Breach::Missing), f.count(Breach::Wrong), f.count(Breach::Phantom))
    }

    #[test]
    fn an_honest_answer_is_clean_and_shows_all_steps() {
        let w = workload();
        let (findings, shown) = check(&w, &honest(&w), true);
        assert!(findings.is_clean(), "{:?}", findings.evidence());
        assert_eq!(shown.iter().collect::<Vec<_>>(), STEPS.collect::<Vec<_>>());
    }

    /// The first point of the series whose step lies in `steps`.
    fn find(w: &Workload, rows: &[SeriesPoints], series: usize, steps: Range<u64>) -> usize {
        rows[series].points.iter().position(|(t, v)| steps.contains(&w.step_at(*t).unwrap()) && v != "NaN").unwrap()
    }

    #[test]
    fn a_lost_owed_sample_is_missing_and_an_unacknowledged_one_is_not() {
        let w = workload();
        let mut rows = honest(&w);
        let at = find(&w, &rows, 3, 10..18);
        rows[3].points.remove(at);
        let (findings, shown) = check(&w, &rows, true);
        assert_eq!(counts(&findings), (1, 0, 0), "{:?}", findings.evidence());
        assert_eq!(shown.len(), 9);
        let mut rows = honest(&w);
        let at = find(&w, &rows, 3, 18..20);
        rows[3].points.remove(at);
        assert!(check(&w, &rows, true).0.is_clean());
    }

    #[test]
    fn a_lost_series_is_missing_unless_the_answer_says_it_is_incomplete() {
        let w = workload();
        let mut rows = honest(&w);
        let lost = rows.remove(7).points.iter().filter(|(t, _)| w.step_at(*t).unwrap() < 18).count() as u64;
        assert_eq!(counts(&check(&w, &rows, true).0), (lost, 0, 0));
        assert!(check(&w, &rows, false).0.is_clean());
    }

    #[test]
    fn a_flipped_bit_and_a_changed_sign_of_zero_are_wrong() {
        let w = workload();
        let mut rows = honest(&w);
        let at = find(&w, &rows, 5, STEPS);
        let step = w.step_at(rows[5].points[at].0).unwrap();
        let bits = w.value_bits(SeriesKey { lane: 1, series: 5 }, step);
        rows[5].points[at].1 = format!("{:?}", f64::from_bits(bits ^ 1));
        assert_eq!(counts(&check(&w, &rows, true).0), (0, 1, 0));
        assert!(text_is("-0", (-0.0f64).to_bits()) && !text_is("0", (-0.0f64).to_bits()) && !text_is("-0", 0));
        assert!(text_is("5e-324", 1) && text_is("+Inf", f64::INFINITY.to_bits()) && text_is("NaN", 0x7ff4_dead_beef_0001));
        assert!(!text_is("NaN", STALE_NAN) && !text_is("", 0) && !text_is("NaN", 0) && !text_is("1", f64::NAN.to_bits()));
    }

    #[test]
    fn a_second_point_at_a_timestamp_is_wrong() {
        let w = workload();
        let mut rows = honest(&w);
        let again = rows[9].points[2].clone();
        rows[9].points.insert(3, again);
        assert_eq!(counts(&check(&w, &rows, true).0), (0, 1, 0));
        let mut rows = honest(&w);
        let mut split = rows[9].clone();
        split.points.truncate(1);
        rows.push(split);
        assert_eq!(counts(&check(&w, &rows, true).0), (0, 1, 0));
    }

    #[test]
    fn points_off_the_grid_not_issued_or_of_unknown_series_are_phantoms() {
        let w = workload();
        let mut rows = honest(&w);
        rows[0].points.push((w.timestamp_ms(12) + 1, "1".into()));
        rows[1].points.push((w.timestamp_ms(25), "1".into()));
        let mut foreign = rows[2].clone();
        foreign.labels[3].1 = "60".into();
        rows.push(foreign);
        let (findings, _) = check(&w, &rows, false);
        assert_eq!(counts(&findings), (0, 0, 3), "{:?}", findings.evidence());
    }

    #[test]
    fn one_place_is_counted_once_and_evidence_is_bounded() {
        let findings = Findings::default();
        for place in 0..100 {
            findings.note(Breach::Missing, place, 1, || "x".into());
            findings.note(Breach::Missing, place, 1, || "x".into());
        }
        assert_eq!(findings.count(Breach::Missing), 100);
        assert_eq!(findings.evidence().len(), EVIDENCE_MAX);
    }
}
