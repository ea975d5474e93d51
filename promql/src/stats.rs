//! What an evaluation used; returned with its value.

/// Counts of one evaluation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Series that the selects returned.
    pub series_read: u64,
    /// Samples that the selects returned.
    pub samples_read: u64,
    /// Samples that the steps of the query looked at, one counted at every step that uses it.
    pub samples_queryable: u64,
    /// The same of each step of the query: what holds at every step (`@`) counts at each, of a subquery count the values that a window
    /// of its holds.
    pub samples_per_step: Vec<u64>,
    /// Most samples held at one time.
    pub samples_peak: u64,
    /// Most bytes held at one time.
    pub bytes_peak: u64,
}

/// How many samples were looked at at each step of a grid.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen(pub(crate) Vec<u64>);

impl Seen {
    /// None yet.
    pub(crate) fn new(steps: usize) -> Self {
        Self(vec![0; steps])
    }

    /// Counts samples at one step.
    pub(crate) fn add(&mut self, step: usize, samples: u64) {
        if let Some(count) = self.0.get_mut(step) {
            *count = count.saturating_add(samples);
        }
    }

    /// Counts so many samples at every step.
    pub(crate) fn add_everywhere(&mut self, samples: u64) {
        self.0.iter_mut().for_each(|count| *count = count.saturating_add(samples));
    }

    /// Counts what others looked at on the same grid.
    pub(crate) fn merge(&mut self, other: &Self) {
        other.0.iter().enumerate().for_each(|(step, samples)| self.add(step, *samples));
    }

    /// As [`Self::merge`], of a grid whose size need not be known yet.
    pub(crate) fn grow_and_merge(&mut self, other: &Self) {
        self.0.resize(self.0.len().max(other.0.len()), 0);
        self.merge(other);
    }

    /// Runs of steps with the same count: (count, steps).
    pub(crate) fn runs(&self) -> impl Iterator<Item = (u64, usize)> + '_ {
        self.0.chunk_by(|a, b| a == b).map(|run| (run[0], run.len()))
    }

    /// At all steps.
    pub(crate) fn total(&self) -> u64 {
        self.0.iter().fold(0, |total, count| total.saturating_add(*count))
    }
}
