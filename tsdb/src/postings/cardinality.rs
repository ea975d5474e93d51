//! How many series carry each label pair of the head.

use super::{Index, Pair, Posting};
use crate::cardinality::{self, HeadCounts};
use crate::head::CowVec;

/// The label pairs of the head with their series, as of one moment.
#[derive(Debug)]
pub(crate) struct CountedPairs {
    pairs: CowVec<Pair>,
    series: Vec<u64>,
    all: u64,
}

impl CountedPairs {
    /// What the shard tells of them; see [`cardinality::write`].
    pub(crate) fn tell(&self, head: HeadCounts, asked: (usize, usize)) -> Vec<u8> {
        let pairs = self.pairs.iter().zip(&self.series);
        let pairs = pairs.filter_map(|(pair, series)| pair.as_ref().map(|(name, value)| (name.as_ref(), value.as_ref(), *series)));
        cardinality::write(pairs, self.all, head, asked)
    }
}

impl Index {
    /// Counts the series of each pair; O(label pairs), whatever the number of series, and no text is copied.
    pub(crate) fn counted(&self) -> CountedPairs {
        let series = self.postings.iter().map(Posting::len).collect();
        CountedPairs { pairs: self.pairs.clone(), series, all: self.all.len() }
    }

    /// Series that carry a label pair; O(1).
    pub(crate) fn series_of(&self, name: &str, value: &str) -> u64 {
        self.posting(name, value).map_or(0, Posting::len)
    }

    /// Distinct values of a label; O(1).
    pub(crate) fn values_of(&self, name: &str) -> u64 {
        self.names.get(name).map_or(0, |values| values.len() as u64)
    }
}
