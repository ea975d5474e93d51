//! How many series, values and bytes the labels of the head make.

use super::Index;
use model::labels::METRIC_NAME;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// A thing counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Count {
    /// A label name, a metric, or a pair as `name=value`.
    pub name: String,
    /// How many, or how many bytes.
    pub count: u64,
}

/// What the series in the head of a shard consist of; the lists hold the largest first, equal ones by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cardinality {
    /// Series.
    pub series: u64,
    /// Distinct label pairs.
    pub label_pairs: u64,
    /// Series of each metric.
    pub series_by_metric: Vec<Count>,
    /// Distinct values of each label.
    pub values_by_name: Vec<Count>,
    /// Bytes of the values of each label, each value once for every series that carries it.
    pub bytes_by_name: Vec<Count>,
    /// Series of each label pair.
    pub series_by_pair: Vec<Count>,
}

/// The largest `limit` of what it is given: one word a thing, the name is copied at the end only.
struct Largest<K> {
    limit: usize,
    heap: BinaryHeap<Reverse<(u64, Reverse<K>)>>,
}

impl<K: Ord> Largest<K> {
    fn new(limit: usize) -> Self {
        Self { limit, heap: BinaryHeap::new() }
    }

    fn offer(&mut self, count: u64, key: K) {
        let offered = (count, Reverse(key));
        if self.heap.len() < self.limit {
            self.heap.push(Reverse(offered));
        } else if let Some(mut least) = self.heap.peek_mut()
            && least.0 < offered
        {
            *least = Reverse(offered);
        }
    }

    fn finish(self, text: impl Fn(K) -> String) -> Vec<Count> {
        let sorted = self.heap.into_sorted_vec();
        sorted.into_iter().map(|Reverse((count, Reverse(key)))| Count { name: text(key), count }).collect()
    }
}

impl Index {
    /// Counts what the series consist of, at most `limit` of each kind; O(label pairs), whatever the number of series.
    pub(crate) fn cardinality(&self, limit: usize) -> Cardinality {
        let (mut metrics, mut values_of, mut bytes_of, mut pairs) =
            (Largest::new(limit), Largest::new(limit), Largest::new(limit), Largest::new(limit));
        let mut label_pairs = 0;
        for (name, values) in &self.names {
            let mut bytes = 0;
            for (value, pair) in values {
                let series = self.postings.get(*pair as usize).map_or(0, super::Posting::len);
                bytes += value.len() as u64 * series;
                pairs.offer(series, (name.as_ref(), value.as_ref()));
                if name.as_ref() == METRIC_NAME {
                    metrics.offer(series, value.as_ref());
                }
            }
            label_pairs += values.len() as u64;
            values_of.offer(values.len() as u64, name.as_ref());
            bytes_of.offer(bytes, name.as_ref());
        }
        Cardinality {
            series: self.all.len(),
            label_pairs,
            series_by_metric: metrics.finish(str::to_owned),
            values_by_name: values_of.finish(str::to_owned),
            bytes_by_name: bytes_of.finish(str::to_owned),
            series_by_pair: pairs.finish(|(name, value)| format!("{name}={value}")),
        }
    }

    /// Series that carry a label pair; O(1).
    pub(crate) fn series_of(&self, name: &str, value: &str) -> u64 {
        self.posting(name, value).map_or(0, super::Posting::len)
    }

    /// Distinct values of a label; O(1).
    pub(crate) fn values_of(&self, name: &str) -> u64 {
        self.names.get(name).map_or(0, |values| values.len() as u64)
    }
}
