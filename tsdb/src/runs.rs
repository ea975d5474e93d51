//! One series from many chunks: one point a timestamp, the lowest log index wins.

use crate::state::Deleted;
use model::Timestamp;

/// Samples of one series, chunk after chunk; its buffers are reused from series to series.
#[derive(Clone, Debug, Default)]
pub(crate) struct Runs {
    pub(crate) timestamps: Vec<Timestamp>,
    pub(crate) values: Vec<f64>,
    /// (first position, log index) of each run of samples.
    runs: Vec<(usize, u64)>,
    /// (timestamp, log index, bits), for series whose runs overlap.
    points: Vec<(Timestamp, u64, u64)>,
}

impl Runs {
    /// Begins another series.
    pub(crate) fn clear(&mut self) {
        self.timestamps.clear();
        self.values.clear();
        self.runs.clear();
    }

    /// Appends the samples that `decode` adds to both columns, without what is deleted of them; gives the latest deleted one.
    pub(crate) fn add<E>(
        &mut self,
        log_index: u64,
        deleted: &Deleted,
        decode: impl FnOnce(&mut Vec<Timestamp>, &mut Vec<f64>) -> Result<(), E>,
    ) -> Result<Option<Timestamp>, E> {
        let from = self.timestamps.len();
        self.runs.push((from, log_index));
        decode(&mut self.timestamps, &mut self.values)?;
        Ok(if deleted.is_empty() { None } else { deleted.cut(log_index, from, &mut self.timestamps, &mut self.values) })
    }

    /// Brings all samples into order, one a timestamp.
    pub(crate) fn finish(&mut self) {
        if !self.timestamps.is_sorted_by(|a, b| a < b) {
            self.untangle();
        }
    }

    /// Sorts by time and keeps the first written of equal times.
    fn untangle(&mut self) {
        self.points.clear();
        let ends = self.runs.iter().skip(1).map(|(from, _)| *from).chain([self.timestamps.len()]);
        for ((from, log_index), to) in self.runs.iter().zip(ends) {
            let samples = self.timestamps[*from..to].iter().zip(&self.values[*from..to]);
            self.points.extend(samples.map(|(t, v)| (*t, *log_index, v.to_bits())));
        }
        self.points.sort_unstable_by_key(|(t, log_index, _)| (*t, *log_index));
        self.points.dedup_by_key(|(t, ..)| *t);
        self.timestamps.clear();
        self.values.clear();
        self.timestamps.extend(self.points.iter().map(|(t, ..)| *t));
        self.values.extend(self.points.iter().map(|(.., bits)| f64::from_bits(*bits)));
    }
}
