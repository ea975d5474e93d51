//! The clients' view of samples: acknowledged ones are there once and to the bit, and nothing else is.

use super::samples::SampleId;
use std::collections::{BTreeMap, BTreeSet};

/// See the module.
#[derive(Debug, Default)]
pub struct SampleOracle {
    seed: u64,
    issued: BTreeSet<SampleId>,
    acknowledged: BTreeSet<SampleId>,
    /// Seen by a query: whoever asks later sees it too.
    seen: BTreeSet<SampleId>,
    /// Requests acknowledged.
    pub acknowledged_count: u64,
    /// Requests that were answered otherwise, or not at all.
    pub unknown_count: u64,
    /// Queries answered.
    pub queries_count: u64,
}

/// What a query that begins now must see.
#[derive(Clone, Debug, Default)]
pub struct Least {
    must: BTreeSet<SampleId>,
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

    /// What a query that begins now must see.
    #[must_use]
    pub fn least(&self) -> Least {
        Least { must: self.acknowledged.union(&self.seen).copied().collect() }
    }

    /// How many samples a query that begins now must count at least.
    #[must_use]
    pub fn least_count(&self) -> u64 {
        self.acknowledged.union(&self.seen).count() as u64
    }

    /// A query for all samples was answered with these points.
    ///
    /// # Errors
    /// A point that nobody wrote, twice, with other bits, or one that is missing.
    pub fn check_points(&mut self, least: &Least, points: &[(u64, i64, f64)]) -> Result<(), String> {
        self.queries_count += 1;
        let mut found = BTreeMap::new();
        for (series, timestamp_ms, value) in points {
            let sample = SampleId::at(*series, *timestamp_ms).filter(|sample| self.issued.contains(sample));
            let Some(sample) = sample else { return Err(format!("series {series} has a sample at {timestamp_ms} that nobody wrote")) };
            if value.to_bits() != sample.value(self.seed).to_bits() {
                return Err(format!("{sample:?} is {value:e}, written was {:e}", sample.value(self.seed)));
            }
            if found.insert(sample, ()).is_some() {
                return Err(format!("{sample:?} is there twice"));
            }
        }
        if let Some(lost) = least.must.iter().find(|sample| !found.contains_key(sample)) {
            let missing = least.must.iter().filter(|sample| !found.contains_key(sample)).count();
            return Err(format!("{missing} samples that were acknowledged or read are missing, {lost:?} for one"));
        }
        self.seen.extend(found.into_keys());
        Ok(())
    }

    /// A query that counts all samples was answered with `count`.
    ///
    /// # Errors
    /// More than were written, or fewer than were acknowledged before it.
    pub fn check_count(&mut self, least: u64, count: f64) -> Result<(), String> {
        self.queries_count += 1;
        let most = self.issued.len() as f64;
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
        assert!(oracle.check_count(2, 1.0).is_err() && oracle.check_count(1, 3.0).is_err());
        assert_eq!(oracle.check_count(1, 2.0), Ok(()));
    }
}
