//! The clients' view of samples: acknowledged ones are there once and to the bit, deleted ones are not, and nothing else is.

use super::samples::SampleId;
use std::collections::BTreeSet;

/// See the module.
#[derive(Debug, Default)]
pub struct SampleOracle {
    seed: u64,
    issued: BTreeSet<SampleId>,
    acknowledged: BTreeSet<SampleId>,
    /// Of writes with an unknown outcome: a copy of them may still come.
    doubtful: BTreeSet<SampleId>,
    /// A delete of them was asked for: they may be there or not.
    deleting: BTreeSet<SampleId>,
    /// A delete of them was acknowledged.
    deleted: BTreeSet<SampleId>,
    /// Seen by a query: whoever asks later sees it too.
    seen: BTreeSet<SampleId>,
    /// Requests acknowledged.
    pub acknowledged_count: u64,
    /// Requests that were answered otherwise, or not at all.
    pub unknown_count: u64,
    /// Queries answered.
    pub queries_count: u64,
}

/// What a query that begins now must see, and what it must not.
#[derive(Clone, Debug, Default)]
pub struct Least {
    must: BTreeSet<SampleId>,
    gone: BTreeSet<SampleId>,
}

impl SampleOracle {
    /// For samples of a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { seed, ..Self::default() }
    }

    /// A client writes.
    pub fn issue(&mut self, samples: &[SampleId]) {
        self.issued.extend(samples);
    }

    /// A client was told that all of it is stored.
    pub fn acknowledge(&mut self, samples: &[SampleId]) {
        self.acknowledged_count += 1;
        self.acknowledged.extend(samples);
    }

    /// A client was not told what became of a write.
    pub fn doubt(&mut self, samples: &[SampleId]) {
        self.unknown_count += 1;
        self.doubtful.extend(samples);
    }

    /// Whether a sample was acknowledged and never in doubt, and no delete of it was asked for.
    #[must_use]
    pub fn is_settled(&self, sample: SampleId) -> bool {
        self.acknowledged.contains(&sample) && !self.doubtful.contains(&sample) && !self.is_asked_away(&sample)
    }

    /// A client asks to delete settled samples.
    pub fn delete(&mut self, samples: impl IntoIterator<Item = SampleId>) {
        self.deleting.extend(samples);
    }

    /// A client was told that they are deleted.
    pub fn deleted(&mut self, samples: impl IntoIterator<Item = SampleId>) {
        for sample in samples {
            self.deleting.remove(&sample);
            self.deleted.insert(sample);
        }
    }

    fn is_asked_away(&self, sample: &SampleId) -> bool {
        self.deleting.contains(sample) || self.deleted.contains(sample)
    }

    /// What a query that begins now must see, and what it must not.
    #[must_use]
    pub fn least(&self) -> Least {
        let there = self.acknowledged.union(&self.seen).filter(|sample| !self.is_asked_away(sample));
        Least { must: there.copied().collect(), gone: self.deleted.clone() }
    }

    /// A query for all samples was answered with these points.
    ///
    /// # Errors
    /// A point that nobody wrote, that was deleted, twice, with other bits, or one that is missing.
    pub fn check_points(&mut self, least: &Least, points: &[(u64, i64, f64)]) -> Result<(), String> {
        self.queries_count += 1;
        let mut found = BTreeSet::new();
        for (series, timestamp_ms, value) in points {
            let sample = SampleId::at(*series, *timestamp_ms).filter(|sample| self.issued.contains(sample));
            let Some(sample) = sample else { return Err(format!("series {series} has a sample at {timestamp_ms} that nobody wrote")) };
            if value.to_bits() != sample.value(self.seed).to_bits() {
                return Err(format!("{sample:?} is {value:e}, written was {:e}", sample.value(self.seed)));
            }
            if least.gone.contains(&sample) {
                return Err(format!("{sample:?} was deleted and is there"));
            }
            if !found.insert(sample) {
                return Err(format!("{sample:?} is there twice"));
            }
        }
        // What was deleted while the query ran may be gone.
        let mut lost = least.must.iter().filter(|sample| !found.contains(sample) && !self.is_asked_away(sample));
        if let Some(one) = lost.next() {
            return Err(format!("{} samples that were acknowledged or read are missing, {one:?} for one", lost.count() + 1));
        }
        self.seen.extend(found);
        Ok(())
    }

    /// A query that counts all samples was answered with `count`.
    ///
    /// # Errors
    /// More than were written and not deleted, or fewer than were acknowledged before it.
    pub fn check_count(&mut self, least: &Least, count: f64) -> Result<(), String> {
        self.queries_count += 1;
        let most = (self.issued.len() - least.gone.len()) as f64;
        let least = least.must.iter().filter(|sample| !self.is_asked_away(sample)).count();
        if count < least as f64 || count > most {
            return Err(format!("{count} samples are counted, {least} were acknowledged or read before and {most} written"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lost_phantom_repeated_and_changed_samples_are_found() {
        let mut oracle = SampleOracle::new(5);
        let samples = [SampleId { series: 1, number: 4 }, SampleId { series: 2, number: 0 }];
        let point = |sample: SampleId| (sample.series, sample.timestamp_ms(), sample.value(5));
        oracle.issue(&samples);
        oracle.acknowledge(&samples[..1]);
        let least = oracle.least();
        assert_eq!(oracle.check_points(&least, &[point(samples[0])]), Ok(()));
        assert_eq!(oracle.check_points(&least, &samples.map(point)), Ok(()));
        assert!(oracle.check_points(&least, &[point(samples[1])]).unwrap_err().contains("missing"));
        assert!(oracle.check_points(&oracle.least(), &[point(samples[0])]).unwrap_err().contains("missing"), "what was read stays");
        assert!(oracle.check_points(&least, &[point(samples[0]), point(samples[0])]).unwrap_err().contains("twice"));
        let phantom = SampleId { series: 1, number: 5 };
        assert!(oracle.check_points(&least, &[point(samples[0]), point(phantom)]).unwrap_err().contains("nobody wrote"));
        assert!(oracle.check_points(&least, &[(1, samples[0].timestamp_ms(), 1.5)]).unwrap_err().contains("written was"));
        let least = oracle.least();
        assert!(oracle.check_count(&least, 1.0).is_err() && oracle.check_count(&least, 3.0).is_err());
        assert_eq!(oracle.check_count(&least, 2.0), Ok(()));
    }

    #[test]
    fn deleted_samples_may_be_there_until_the_delete_is_acknowledged_and_not_afterwards() {
        let mut oracle = SampleOracle::new(5);
        let samples = [SampleId { series: 1, number: 0 }, SampleId { series: 1, number: 1 }, SampleId { series: 2, number: 0 }];
        let point = |sample: SampleId| (sample.series, sample.timestamp_ms(), sample.value(5));
        oracle.issue(&samples);
        oracle.acknowledge(&samples);
        oracle.doubt(&samples[2..]);
        assert_eq!(samples.map(|sample| oracle.is_settled(sample)), [true, true, false]);
        let before = oracle.least();
        oracle.delete([samples[0]]);
        assert!(!oracle.is_settled(samples[0]));
        for points in [samples.map(point).to_vec(), samples[1..].iter().copied().map(point).collect()] {
            assert_eq!(oracle.check_points(&before, &points), Ok(()), "the delete may be done or not");
            assert_eq!(oracle.check_points(&oracle.least(), &points), Ok(()));
        }
        oracle.deleted([samples[0]]);
        assert_eq!(oracle.check_points(&before, &samples.map(point)), Ok(()), "it began before");
        assert!(oracle.check_points(&oracle.least(), &samples.map(point)).unwrap_err().contains("deleted"));
        assert!(oracle.check_points(&oracle.least(), &[point(samples[2])]).unwrap_err().contains("missing"), "only one was deleted");
        let least = oracle.least();
        assert!(oracle.check_count(&least, 3.0).is_err() && oracle.check_count(&least, 1.0).is_err());
        assert_eq!(oracle.check_count(&least, 2.0), Ok(()));
    }
}
