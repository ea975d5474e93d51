//! A set of steps kept as ranges, so that the history of hours takes a few entries.

use std::collections::BTreeMap;
use std::ops::Range;

/// A set of `u64`, stored as disjoint half-open ranges that do not touch each other.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct RangeSet(BTreeMap<u64, u64>);

impl RangeSet {
    /// Adds every number of `range`.
    pub fn insert(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        let (mut start, mut end) = (range.start, range.end);
        while let Some((&s, &e)) = self.0.range(..=end).next_back().filter(|(_, e)| **e >= start) {
            start = start.min(s);
            end = end.max(e);
            self.0.remove(&s);
        }
        self.0.insert(start, end);
    }

    /// Takes every number of `range` out.
    pub fn remove(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        while let Some((&s, &e)) = self.0.range(..range.end).next_back().filter(|(_, e)| **e > range.start) {
            self.0.remove(&s);
            if s < range.start {
                self.0.insert(s, range.start);
            }
            if e > range.end {
                self.0.insert(range.end, e);
            }
        }
    }

    /// Whether `n` is in the set.
    #[must_use]
    pub fn contains(&self, n: u64) -> bool {
        self.0.range(..=n).next_back().is_some_and(|(_, e)| *e > n)
    }

    /// The part of the set that lies in `window`.
    #[must_use]
    pub fn within(&self, window: Range<u64>) -> Self {
        let first = self.0.range(..window.start).next_back().filter(|(_, e)| **e > window.start);
        let rest = if window.is_empty() { None } else { Some(self.0.range(window.clone())) };
        let cut = first.into_iter().chain(rest.into_iter().flatten());
        Self(cut.map(|(s, e)| ((*s).max(window.start), (*e).min(window.end))).collect())
    }

    /// All numbers in order.
    pub fn iter(&self) -> impl Iterator<Item = u64> + '_ {
        self.0.iter().flat_map(|(s, e)| *s..*e)
    }

    /// How many numbers are in the set.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.0.iter().map(|(s, e)| e - s).sum()
    }

    /// Whether the set is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// One past the largest number; 0 for an empty set.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.0.last_key_value().map_or(0, |(_, e)| *e)
    }

    /// Adds every number of `other`.
    pub fn extend(&mut self, other: &Self) {
        for (s, e) in &other.0 {
            self.insert(*s..*e);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dice::Dice;
    use std::collections::BTreeSet;

    #[test]
    fn ranges_agree_with_a_plain_set() {
        let mut dice = Dice::new(11, 0);
        let (mut set, mut plain) = (RangeSet::default(), BTreeSet::new());
        for round in 0..2000 {
            let start = dice.below(300);
            let range = start..start + dice.below(12);
            if dice.percent(60) {
                set.insert(range.clone());
                plain.extend(range);
            } else {
                set.remove(range.clone());
                plain.retain(|n| !range.contains(n));
            }
            assert_eq!(set.iter().collect::<Vec<_>>(), plain.iter().copied().collect::<Vec<_>>(), "round {round}");
            assert_eq!(set.len(), plain.len() as u64);
            assert_eq!(set.end(), plain.last().map_or(0, |n| n + 1));
            let (at, width) = (dice.below(300), dice.below(60));
            assert_eq!(set.contains(at), plain.contains(&at));
            assert_eq!(set.within(at..at + width).iter().collect::<Vec<_>>(), plain.range(at..at + width).copied().collect::<Vec<_>>());
        }
    }

    #[test]
    fn neighbours_become_one_range() {
        let mut set = RangeSet::default();
        for n in 0..1000u64 {
            set.insert(n * 2..n * 2 + 1);
        }
        assert_eq!(set.0.len(), 1000);
        for n in 0..1000u64 {
            set.insert(n * 2 + 1..n * 2 + 2);
        }
        assert_eq!(set.0, BTreeMap::from([(0, 2000)]));
    }
}
