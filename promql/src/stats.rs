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
    /// Of the samples that each step looked at those that had to be read for it: of a window that slides those that no window before
    /// it held, of what holds at every step all at the first one, of a subquery what its own evaluation read. Where the steps were
    /// evaluated in parts, each part reads anew.
    pub samples_read_per_step: Vec<u64>,
    /// Most samples held at one time.
    pub samples_peak: u64,
    /// Most bytes held at one time.
    pub bytes_peak: u64,
}

/// How many samples were looked at at each step of a grid, and how many of them were read for it: see [`Stats`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    /// At each step.
    pub(crate) looked: Vec<u64>,
    /// Likewise.
    pub(crate) read: Vec<u64>,
}

impl Seen {
    /// Bytes of a step.
    pub(crate) const STEP_BYTES: u64 = 2 * size_of::<u64>() as u64;

    /// None yet.
    pub(crate) fn new(steps: usize) -> Self {
        Self { looked: vec![0; steps], read: vec![0; steps] }
    }

    /// Counts samples that were looked at at one step, and read for it.
    pub(crate) fn add(&mut self, step: usize, samples: u64) {
        self.add_window(step, samples, samples);
    }

    /// Counts samples that were looked at at one step, of which so many were read for it.
    pub(crate) fn add_window(&mut self, step: usize, looked: u64, read: u64) {
        let counts = [(&mut self.looked, looked), (&mut self.read, read)];
        for (count, samples) in counts.into_iter().filter_map(|(counts, samples)| Some((counts.get_mut(step)?, samples))) {
            *count = count.saturating_add(samples);
        }
    }

    /// Counts so many samples at every step, each read for it.
    pub(crate) fn add_everywhere(&mut self, samples: u64) {
        self.looked.iter_mut().chain(&mut self.read).for_each(|count| *count = count.saturating_add(samples));
    }

    /// Counts at every step what was looked at once; it was read for the first one.
    pub(crate) fn add_invariant(&mut self, once: &Self) {
        let looked = once.total();
        self.looked.iter_mut().for_each(|count| *count = count.saturating_add(looked));
        self.add_window(0, 0, once.total_read());
    }

    /// Counts what others looked at on the same grid.
    pub(crate) fn merge(&mut self, other: &Self) {
        for (step, (looked, read)) in other.looked.iter().zip(&other.read).enumerate() {
            self.add_window(step, *looked, *read);
        }
    }

    /// As [`Self::merge`], of a grid whose size need not be known yet.
    pub(crate) fn grow_and_merge(&mut self, other: &Self) {
        let steps = self.steps().max(other.steps());
        self.looked.resize(steps, 0);
        self.read.resize(steps, 0);
        self.merge(other);
    }

    /// Steps of the grid.
    pub(crate) fn steps(&self) -> usize {
        self.looked.len()
    }

    /// Looked at at all steps.
    pub(crate) fn total(&self) -> u64 {
        total(&self.looked)
    }

    /// Read for all steps.
    pub(crate) fn total_read(&self) -> u64 {
        total(&self.read)
    }
}

/// Runs of steps with the same count: (count, steps).
pub(crate) fn runs(counts: &[u64]) -> impl Iterator<Item = (u64, usize)> + '_ {
    counts.chunk_by(|a, b| a == b).map(|run| (run[0], run.len()))
}

fn total(counts: &[u64]) -> u64 {
    counts.iter().fold(0, |total, count| total.saturating_add(*count))
}

impl Stats {
    /// Samples that were read for all steps of the query.
    #[must_use]
    pub fn samples_read_for_steps(&self) -> u64 {
        total(&self.samples_read_per_step)
    }
}
