//! What clients write: every sample follows from the seed, so that whoever reads one can tell whether it was ever written.

use crate::interposed::{EPOCH, mix};

/// Series that clients write.
pub const SERIES: u64 = 24;
/// Those of them, the first ones, that samples are deleted of.
pub const DELETED_SERIES: u64 = 6;
/// Time between two samples of a series, in milliseconds.
const STEP_MS: i64 = 250;
/// The first sample is this long before the simulation's beginning, in milliseconds: samples soon reach what new numbers of shards put
/// elsewhere.
const BEFORE_MS: i64 = 10_000;

/// One sample's name: its series and its number in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SampleId {
    /// The series.
    pub series: u64,
    /// Its number in the series.
    pub number: u64,
}

impl SampleId {
    /// Its timestamp.
    #[must_use]
    pub fn timestamp_ms(self) -> i64 {
        let began = i64::try_from(EPOCH.as_millis()).unwrap_or(0) - BEFORE_MS;
        began + STEP_MS * i64::try_from(self.number).unwrap_or(0)
    }

    /// The sample of a series with this timestamp, if there can be one.
    #[must_use]
    pub fn at(series: u64, timestamp_ms: i64) -> Option<Self> {
        let since = timestamp_ms - Self { series, number: 0 }.timestamp_ms();
        (since >= 0 && since % STEP_MS == 0).then(|| Self { series, number: u64::try_from(since / STEP_MS).unwrap_or(0) })
    }

    /// Its value: mostly any bits, sometimes a special one. Never a NaN, whose bits no text tells.
    #[must_use]
    pub fn value(self, seed: u64) -> f64 {
        let bits = mix(mix(seed ^ self.series.rotate_left(32)) ^ self.number);
        match bits % 64 {
            0 => -0.0,
            1 => f64::INFINITY,
            2 => f64::from_bits(bits % 4096),
            3 => f64::MIN_POSITIVE,
            _ => {
                let value = f64::from_bits(mix(bits));
                if value.is_nan() { bits as f64 } else { value }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamp_tells_the_sample_and_no_other_time_does() {
        let sample = SampleId { series: 3, number: 77 };
        assert_eq!(SampleId::at(3, sample.timestamp_ms()), Some(sample));
        assert_eq!(SampleId::at(3, sample.timestamp_ms() + 1), None);
        assert_eq!(SampleId::at(3, SampleId { series: 3, number: 0 }.timestamp_ms() - STEP_MS), None);
    }

    #[test]
    fn values_are_never_nan_and_differ() {
        let values: std::collections::BTreeSet<u64> = (0..1000).map(|number| SampleId { series: 1, number }.value(9).to_bits()).collect();
        assert!(values.len() > 900);
        assert!((0..1000).all(|number| !SampleId { series: 1, number }.value(9).is_nan()));
    }
}
