//! What an evaluation used; returned with its value.

/// Counts of one evaluation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Series that the selects returned.
    pub series_read: u64,
    /// Samples that the selects returned.
    pub samples_read: u64,
    /// Samples that the steps of the query looked at, one counted at every step that uses it.
    pub samples_queryable: u64,
    /// Most samples held at one time.
    pub samples_peak: u64,
    /// Most bytes held at one time.
    pub bytes_peak: u64,
}
