//! What is written: every sample is a pure function of (seed, lane, series, step), so any sample read names its origin.
//!
//! A *lane* is a group of series that are always written together; a write request carries a range of steps of one lane.

use crate::dice::{Dice, splitmix64};
use prost::encoding::{bytes, double, int64, message};
use proto::prometheus::Label;
use std::ops::Range;

/// Bits of the NaN that ends a series. Range selectors never show it.
pub const STALE_NAN: u64 = 0x7ff0_0000_0000_0002;
/// The metric's name.
pub const METRIC: &str = "jepsen_sample";

const CANARY_SERIES: u32 = 50;

const SPECIALS: [u64; 10] = [
    STALE_NAN,
    0x7ff8_0000_0000_0001, // Go's NaN
    0x7ff4_dead_beef_0001, // signalling, with a payload
    0xfff8_0000_0000_0000,
    0x7ff0_0000_0000_0000, // +Inf
    0xfff0_0000_0000_0000, // -Inf
    0x8000_0000_0000_0000, // -0.0
    0x0000_0000_0000_0001, // smallest subnormal
    0x800f_ffff_ffff_ffff, // largest negative subnormal
    0x7fef_ffff_ffff_ffff, // largest float
];

/// The shape of the data of one run.
#[derive(Debug, Clone)]
pub struct Workload {
    /// Seed of values and label values.
    pub seed: u64,
    /// Timestamp of step 0, milliseconds.
    pub t0_ms: i64,
    /// Milliseconds between two steps.
    pub step_ms: i64,
    /// How many series each lane has. The last lane is the canary's, which only the measurement of recoveries writes.
    pub lanes: Vec<u32>,
}

/// One series: its lane and its number there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SeriesKey {
    /// Index of the lane.
    pub lane: u32,
    /// Index within the lane.
    pub series: u32,
}

impl Workload {
    /// Plans lanes of 50 to 500 series for about `rate` samples a second, so that data time runs no faster than the clock.
    #[must_use]
    pub fn plan(seed: u64, rate: u64, t0_ms: i64) -> Self {
        let mut dice = Dice::new(seed, u64::from_be_bytes(*b"workload"));
        let count = (rate / 500).clamp(4, 64);
        let mut lanes: Vec<u32> = (0..count)
            .map(|_| (50.0 * 10f64.powf(dice.below(1 << 20) as f64 / f64::from(1 << 20))) as u32)
            .map(|n| n.clamp(50, 500))
            .collect();
        lanes.push(CANARY_SERIES);
        let total: u64 = lanes.iter().map(|n| u64::from(*n)).sum();
        let step_ms = (total * 1000 / rate.max(1)).clamp(20, 5000);
        Self { seed, t0_ms, step_ms: step_ms as i64, lanes }
    }

    /// The lane that no writer writes.
    #[must_use]
    pub fn canary(&self) -> u32 {
        self.lanes.len() as u32 - 1
    }

    /// All series of all lanes.
    #[must_use]
    pub fn series_count(&self) -> u64 {
        self.lanes.iter().map(|n| u64::from(*n)).sum()
    }

    /// Timestamp of a step, milliseconds.
    #[must_use]
    pub fn timestamp_ms(&self, step: u64) -> i64 {
        self.t0_ms + step as i64 * self.step_ms
    }

    /// The step at a timestamp, if the timestamp is on the grid.
    #[must_use]
    pub fn step_at(&self, timestamp_ms: i64) -> Option<u64> {
        let since = timestamp_ms.checked_sub(self.t0_ms).filter(|s| *s >= 0)?;
        (since % self.step_ms == 0).then_some((since / self.step_ms) as u64)
    }

    /// The bits of the value of one series at one step; one in 64 is a special float.
    #[must_use]
    pub fn value_bits(&self, key: SeriesKey, step: u64) -> u64 {
        let id = u64::from(key.lane) << 32 | u64::from(key.series);
        let bits = splitmix64(self.seed ^ splitmix64(id ^ splitmix64(step)));
        if bits.is_multiple_of(64) { SPECIALS[(splitmix64(bits) % SPECIALS.len() as u64) as usize] } else { bits }
    }

    /// The value of the label `run` on all series of this run.
    #[must_use]
    pub fn run(&self) -> String {
        format!("{}-{}", self.seed, self.t0_ms)
    }

    /// The series that a label set names, if the label set is exactly one of this run's.
    #[must_use]
    pub fn series_of(&self, labels: &[(String, String)]) -> Option<SeriesKey> {
        let get = |name: &str| labels.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str());
        let key = SeriesKey { lane: get("lane")?.parse().ok()?, series: get("series")?.parse().ok()? };
        let known = self.lanes.get(key.lane as usize).is_some_and(|n| key.series < *n);
        let mut expected = self.labels(key);
        let mut given: Vec<(&str, String)> = labels.iter().map(|(n, v)| (n.as_str(), v.clone())).collect();
        expected.sort_unstable();
        given.sort_unstable();
        (known && expected == given).then_some(key)
    }

    fn labels(&self, key: SeriesKey) -> Vec<(&'static str, String)> {
        vec![("__name__", METRIC.to_string()), ("lane", key.lane.to_string()), ("run", self.run()), ("series", key.series.to_string())]
    }

    /// A remote write 1.0 body (snappy block) with the given samples, `(series, steps)` each.
    ///
    /// `bits_of` gives the value bits; the run writes [`Workload::value_bits`].
    #[must_use]
    pub fn encode(&self, rows: &[(SeriesKey, Range<u64>)], bits_of: impl Fn(SeriesKey, u64) -> u64) -> Vec<u8> {
        let samples = |key: SeriesKey, steps: &Range<u64>| steps.clone().map(|k| (self.timestamp_ms(k), bits_of(key, k))).collect();
        write_request(rows.iter().map(|(key, steps)| (self.labels(*key), samples(*key, steps))))
    }

    /// The body that writes `steps` of every series of `lane`.
    #[must_use]
    pub fn request(&self, lane: u32, steps: Range<u64>) -> Vec<u8> {
        let rows: Vec<_> = (0..self.lanes[lane as usize]).map(|series| (SeriesKey { lane, series }, steps.clone())).collect();
        self.encode(&rows, |key, step| self.value_bits(key, step))
    }

    /// A range-vector selector over exactly `steps` of one lane, or of one series of it, for an instant query at [`Workload::query_time`].
    #[must_use]
    pub fn selector(&self, lane: Option<u32>, series: Option<u32>, steps: &Range<u64>) -> String {
        let mut matchers = format!("run=\"{}\"", self.run());
        if let Some(lane) = lane {
            matchers.push_str(&format!(",lane=\"{lane}\""));
        }
        if let Some(series) = series {
            matchers.push_str(&format!(",series=\"{series}\""));
        }
        let width_ms = (steps.end - steps.start) as i64 * self.step_ms;
        format!("{METRIC}{{{matchers}}}[{width_ms}ms]")
    }

    /// The evaluation time that goes with [`Workload::selector`]: the end of the last step's interval, less one millisecond.
    ///
    /// The window then holds these steps whether its left end is open or closed.
    #[must_use]
    pub fn query_time(&self, steps: &Range<u64>) -> String {
        let ms = self.timestamp_ms(steps.end) - 1;
        format!("{}.{:03}", ms.div_euclid(1000), ms.rem_euclid(1000))
    }
}

/// A remote write 1.0 body (snappy block) of series with their labels, sorted by name, and their samples: timestamp in ms, value bits.
///
/// # Panics
/// If the request is larger than snappy's 4 GiB.
#[must_use]
pub fn write_request(rows: impl Iterator<Item = (Vec<(&'static str, String)>, Vec<(i64, u64)>)>) -> Vec<u8> {
    let (mut raw, mut series, mut sample) = (Vec::new(), Vec::new(), Vec::new());
    for (labels, samples) in rows {
        series.clear();
        for (name, value) in labels {
            message::encode(1, &Label { name: name.to_string(), value }, &mut series);
        }
        for (timestamp_ms, bits) in samples {
            // By hand, because generated code leaves -0.0 out as if it were the default.
            sample.clear();
            double::encode(1, &f64::from_bits(bits), &mut sample);
            int64::encode(2, &timestamp_ms, &mut sample);
            bytes::encode(2, &sample, &mut series);
        }
        bytes::encode(1, &series, &mut raw);
    }
    snap::raw::Encoder::new().compress_vec(&raw).expect("a request of a few hundred series is below snappy's 4 GiB limit")
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost::Message;
    use proto::prometheus::WriteRequest;

    fn workload() -> Workload {
        Workload::plan(42, 4000, 1_700_000_000_123)
    }

    #[test]
    fn plan_is_a_function_of_the_seed_and_keeps_data_time_at_the_clock() {
        for rate in [200, 1000, 4000, 20_000, 100_000] {
            let w = Workload::plan(9, rate, 0);
            assert_eq!(w.lanes, Workload::plan(9, rate, 0).lanes);
            assert!(w.lanes.iter().all(|n| (50..=500).contains(n)), "{:?}", w.lanes);
            let data_seconds_per_second = rate as f64 / w.series_count() as f64 * w.step_ms as f64 / 1000.0;
            assert!(data_seconds_per_second <= 1.0, "rate {rate}: {data_seconds_per_second}");
        }
        assert_ne!(Workload::plan(1, 4000, 0).lanes, Workload::plan(2, 4000, 0).lanes);
    }

    #[test]
    fn one_value_in_64_is_special_and_every_special_occurs() {
        let w = workload();
        let all: Vec<u64> = (0..200)
            .flat_map(|series| (0..100).map(move |k| (SeriesKey { lane: 1, series }, k)))
            .map(|(s, k)| w.value_bits(s, k))
            .collect();
        let special = all.iter().filter(|b| SPECIALS.contains(b)).count();
        assert!((200..450).contains(&special), "{special} of {}", all.len());
        assert!(SPECIALS.iter().all(|s| all.contains(s)));
    }

    #[test]
    fn values_differ_by_seed_lane_series_and_step() {
        let (w, other) = (workload(), Workload { seed: 43, ..workload() });
        let key = SeriesKey { lane: 1, series: 2 };
        let bits = w.value_bits(key, 3);
        assert_ne!(bits, other.value_bits(key, 3));
        assert_ne!(bits, w.value_bits(SeriesKey { lane: 2, series: 1 }, 3));
        assert_ne!(bits, w.value_bits(key, 4));
    }

    #[test]
    fn request_decodes_to_the_samples_it_names_bit_for_bit() {
        let w = workload();
        let raw = snap::raw::Decoder::new().decompress_vec(&w.request(2, 5..9)).unwrap();
        let decoded = WriteRequest::decode(raw.as_slice()).unwrap();
        assert_eq!(decoded.timeseries.len(), w.lanes[2] as usize);
        for (i, ts) in decoded.timeseries.iter().enumerate() {
            let labels: Vec<_> = ts.labels.iter().map(|l| (l.name.clone(), l.value.clone())).collect();
            assert!(labels.is_sorted());
            let key = w.series_of(&labels).unwrap();
            assert_eq!(key, SeriesKey { lane: 2, series: i as u32 });
            let got: Vec<_> = ts.samples.iter().map(|s| (w.step_at(s.timestamp).unwrap(), s.value.to_bits())).collect();
            assert_eq!(got, (5..9).map(|k| (k, w.value_bits(key, k))).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_foreign_label_set_or_timestamp_names_nothing() {
        let w = workload();
        let own = |lane: &str, series: &str| {
            vec![
                ("__name__".to_string(), METRIC.to_string()),
                ("run".into(), w.run()),
                ("lane".into(), lane.into()),
                ("series".into(), series.into()),
            ]
        };
        assert_eq!(w.series_of(&own("0", "7")), Some(SeriesKey { lane: 0, series: 7 }));
        assert_eq!(w.series_of(&own("0", "500")), None);
        assert_eq!(w.series_of(&own("0", "07")), None);
        let mut more = own("0", "7");
        more.push(("extra".into(), "x".into()));
        assert_eq!(w.series_of(&more), None);
        assert_eq!(w.step_at(w.t0_ms + w.step_ms * 3), Some(3));
        assert_eq!(w.step_at(w.t0_ms + w.step_ms * 3 + 1), None);
        assert_eq!(w.step_at(w.t0_ms - w.step_ms), None);
    }

    #[test]
    fn query_window_holds_its_steps_whether_open_or_closed_on_the_left() {
        let w = workload();
        let steps = 3..7;
        let end = (w.query_time(&steps).parse::<f64>().unwrap() * 1000.0).round() as i64;
        let selector = w.selector(Some(1), None, &steps);
        let width: i64 = selector.split(['[', ']']).nth(1).unwrap().trim_end_matches("ms").parse().unwrap();
        let inside = |k: u64| w.timestamp_ms(k) >= end - width && w.timestamp_ms(k) <= end;
        assert_eq!((0..20).filter(|k| inside(*k)).collect::<Vec<_>>(), vec![3, 4, 5, 6]);
        assert!((0..20).all(|k| w.timestamp_ms(k) != end - width));
    }
}
