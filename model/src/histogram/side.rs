//! One side of a histogram, its positive or its negative buckets, with counts of any kind.

use super::iterate::entries;
use super::{Span, exponential_bound};

/// A count that is added up: a float, or one with the error of its additions.
pub(super) trait Count: Copy {
    /// A float with no error.
    fn of(value: f64) -> Self;
    /// Adds `other`.
    #[must_use]
    fn plus(self, other: Self) -> Self;
    /// Whether nothing is counted.
    fn is_zero(self) -> bool;
}

impl Count for f64 {
    fn of(value: f64) -> Self {
        value
    }

    fn plus(self, other: Self) -> Self {
        self + other
    }

    fn is_zero(self) -> bool {
        self == 0.0
    }
}

/// Spans and the counts of their buckets.
#[derive(Clone, Debug, Default)]
pub(super) struct Side<T> {
    pub(super) spans: Vec<Span>,
    pub(super) counts: Vec<T>,
}

/// Builds a side from buckets in ascending order of their indices.
struct Builder<T> {
    side: Side<T>,
    next: i32,
}

impl<T: Count> Builder<T> {
    fn new(buckets: usize) -> Self {
        Self { side: Side { spans: Vec::new(), counts: Vec::with_capacity(buckets) }, next: 0 }
    }

    fn push(&mut self, index: i32, count: T) {
        let offset = index.wrapping_sub(self.next);
        match self.side.spans.last_mut() {
            Some(span) if offset == 0 => span.length += 1,
            _ => self.side.spans.push(Span { offset, length: 1 }),
        }
        self.side.counts.push(count);
        self.next = index.wrapping_add(1);
    }

    /// As [`Builder::push`]; of two adjacent buckets with one index one is made.
    fn merge(&mut self, index: i32, count: T) {
        match self.side.counts.last_mut() {
            Some(last) if self.next == index.wrapping_add(1) => *last = last.plus(count),
            _ => self.push(index, count),
        }
    }
}

/// The index in schema `to` of the bucket that contains bucket `index` of the finer schema `from`.
pub(super) fn coarser_index(index: i32, from: i32, to: i32) -> i32 {
    (index.wrapping_sub(1) >> from.saturating_sub(to).clamp(0, 31)).wrapping_add(1)
}

/// The buckets of an exponential side that are not within the zero bucket, with indices of the coarser schema `to`; an index
/// comes as often as buckets fall into it.
pub(super) fn outside_zero<'a, T: Count + 'a>(
    spans: &'a [Span],
    counts: &'a [T],
    (from, to): (i32, i32),
    zero_threshold: f64,
) -> impl Iterator<Item = (i32, T)> + 'a {
    let mut outside = zero_threshold == 0.0;
    entries(spans, counts).filter_map(move |(index, count)| {
        outside = outside || exponential_bound(index, from) > zero_threshold;
        outside.then(|| (coarser_index(index, from, to), count))
    })
}

impl<T: Count> Side<T> {
    /// Adds buckets that come in ascending order of their indices, some perhaps more than once.
    pub(super) fn add(&mut self, others: impl Iterator<Item = (i32, T)>) {
        let mut others = others.peekable();
        if others.peek().is_none() {
            return;
        }
        let mut merged = Builder::new(self.counts.len() + others.size_hint().0);
        for (index, count) in entries(&self.spans, &self.counts) {
            while let Some((other, added)) = others.next_if(|(other, _)| *other < index) {
                merged.merge(other, added);
            }
            merged.push(index, count);
            while let Some((_, added)) = others.next_if(|(other, _)| *other == index) {
                merged.merge(index, added);
            }
        }
        others.for_each(|(other, added)| merged.merge(other, added));
        *self = merged.side;
    }

    /// Adds the counts of a side with the same spans.
    pub(super) fn add_aligned(&mut self, others: impl Iterator<Item = T>) {
        self.counts.iter_mut().zip(others).for_each(|(count, added)| *count = count.plus(added));
    }

    /// Makes buckets of the coarser schema `to`.
    pub(super) fn reduce(&mut self, from: i32, to: i32) {
        let mut reduced = Builder::new(self.counts.len());
        for (index, count) in entries(&self.spans, &self.counts) {
            reduced.merge(coarser_index(index, from, to), count);
        }
        *self = reduced.side;
    }

    /// Leaves only buckets for which `keep` holds.
    pub(super) fn retain(&mut self, keep: impl Fn(i32, T) -> bool) {
        let mut kept = Builder::new(self.counts.len());
        entries(&self.spans, &self.counts).filter(|(index, count)| keep(*index, *count)).for_each(|(i, c)| kept.push(i, c));
        *self = kept.side;
    }

    /// Leaves out empty buckets, except runs of up to `empty_max` between others, and makes one span of adjacent ones.
    pub(super) fn compact(&mut self, empty_max: u32) {
        let tidy = self.counts.iter().all(|count| !count.is_zero())
            && self.spans.iter().all(|span| span.length > 0)
            && self.spans.iter().skip(1).all(|span| i64::from(span.offset) > i64::from(empty_max));
        if tidy {
            return;
        }
        let mut compact = Builder::new(self.counts.len());
        for (index, count) in entries(&self.spans, &self.counts).filter(|(_, count)| !count.is_zero()) {
            let gap = i64::from(index) - i64::from(compact.next);
            if !compact.side.counts.is_empty() && gap > 0 && gap <= i64::from(empty_max) {
                (compact.next..index).for_each(|empty| compact.push(empty, T::of(0.0)));
            }
            compact.push(index, count);
        }
        *self = compact.side;
    }
}
