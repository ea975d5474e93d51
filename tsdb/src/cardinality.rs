//! How many series, values and bytes the labels of the heads of several shards make, merged exactly.
//!
//! Series lie on one shard, so their numbers add up; values of a label lie on many, so each shard tells a hash of every value with the
//! number of its series. Texts travel only for what can be among the largest: if no shard has more than the `shards`-th part of its
//! own `limit`-th largest count of a pair, then all have less together than the `limit`-th largest of the whole.
//!
//! ```text
//! format u8 | series | chunks | times u8 (first zigzag | last zigzag) | names n, n x name
//! name:       text | bytes | values n, n x (hash u64le | series) | texts n, n x text
//! ```

#![deny(clippy::indexing_slicing)]

use crate::error::Corruption;
use crate::head::join;
use crate::wire::{Reader, put_bytes, put_varint, put_zigzag};
use model::Timestamp;
use model::labels::METRIC_NAME;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};

const FORMAT: u8 = 1;
/// Fewest bytes of a value: its hash and a number.
const VALUE_BYTES_MIN: usize = 9;
/// Fewest bytes of a name: four lengths or numbers.
const NAME_BYTES_MIN: usize = 4;

/// A thing counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Count {
    /// A label name, a metric, or a pair as `name=value`.
    pub name: String,
    /// How many, or how many bytes.
    pub count: u64,
}

/// What the series in the heads of some shards consist of; the lists hold the largest first, equal ones by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cardinality {
    /// Series. One that lies on shards of several generations counts once for each.
    pub series: u64,
    /// Distinct label pairs.
    pub label_pairs: u64,
    /// Chunks in memory.
    pub chunks: u64,
    /// First and last time of samples in memory.
    pub times_ms: Option<(Timestamp, Timestamp)>,
    /// Series of each metric.
    pub series_by_metric: Vec<Count>,
    /// Distinct values of each label.
    pub values_by_name: Vec<Count>,
    /// Bytes of the values of each label, each value once for every series that carries it.
    pub bytes_by_name: Vec<Count>,
    /// Series of each label pair.
    pub series_by_pair: Vec<Count>,
}

/// What a head tells beside its labels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct HeadCounts {
    pub(crate) chunks: u64,
    pub(crate) times_ms: Option<(Timestamp, Timestamp)>,
}

/// The hash that stands for a value; among a million values two are alike with a chance of 3 in 100 million.
fn hash_of(value: &str) -> u64 {
    xxhash_rust::xxh3::xxh3_64(value.as_bytes())
}

/// Writes what one of `shards` shards tells of its label pairs, given with their series, so that the largest `limit` of each kind come
/// out of [`Cardinality::merge`].
pub(crate) fn write<'a>(
    pairs: impl Iterator<Item = (&'a str, &'a str, u64)>,
    series: u64,
    head: HeadCounts,
    (limit, shards): (usize, usize),
) -> Vec<u8> {
    let mut by_name: BTreeMap<&str, Vec<(&str, u64)>> = BTreeMap::new();
    let (mut of_pairs, mut of_metrics) = (Largest::new(limit), Largest::new(limit));
    for (name, value, series) in pairs {
        by_name.entry(name).or_default().push((value, series));
        of_pairs.offer(series, ());
        if name == METRIC_NAME {
            of_metrics.offer(series, ());
        }
    }
    let shards = shards.max(1) as u64;
    let (enough_of_pair, enough_of_metric) = (of_pairs.least().div_ceil(shards), of_metrics.least().div_ceil(shards));
    let mut out = vec![FORMAT];
    put_varint(&mut out, series);
    put_varint(&mut out, head.chunks);
    out.push(u8::from(head.times_ms.is_some()));
    if let Some((first, last)) = head.times_ms {
        put_zigzag(&mut out, first);
        put_zigzag(&mut out, last);
    }
    put_varint(&mut out, by_name.len() as u64);
    for (name, values) in by_name {
        put_bytes(&mut out, name.as_bytes());
        put_varint(&mut out, values.iter().map(|(value, series)| value.len() as u64 * series).sum());
        put_varint(&mut out, values.len() as u64);
        for (value, series) in &values {
            out.extend_from_slice(&hash_of(value).to_le_bytes());
            put_varint(&mut out, *series);
        }
        let enough = if name == METRIC_NAME { enough_of_pair.min(enough_of_metric) } else { enough_of_pair };
        let is_told = |(_, series): &&(&str, u64)| limit > 0 && *series >= enough;
        put_varint(&mut out, values.iter().filter(is_told).count() as u64);
        values.iter().filter(is_told).for_each(|(value, _)| put_bytes(&mut out, value.as_bytes()));
    }
    out
}

/// One label name as all shards together know it.
#[derive(Default)]
struct Name<'a> {
    bytes: u64,
    /// Hashes of values with their series, as each shard told them.
    values: Vec<(u64, u64)>,
    texts: HashMap<u64, &'a str>,
}

impl Cardinality {
    /// Merges what shards told, each asked for the same `limit` and the number of them all.
    ///
    /// # Errors
    /// What a shard told cannot be read.
    pub fn merge<'a>(told: impl IntoIterator<Item = &'a [u8]>, limit: usize) -> Result<Self, Corruption> {
        let (mut merged, mut names) = (Self::default(), BTreeMap::new());
        for part in told {
            merged.read(part, &mut names)?;
        }
        let (mut metrics, mut values_of, mut bytes_of, mut pairs) =
            (Largest::new(limit), Largest::new(limit), Largest::new(limit), Largest::new(limit));
        for (name, Name { bytes, mut values, texts }) in names {
            values.sort_unstable();
            let mut distinct = 0;
            for of_value in values.chunk_by(|a, b| a.0 == b.0) {
                distinct += 1;
                let series = of_value.iter().fold(0, |sum: u64, (_, series)| sum.saturating_add(*series));
                let Some(text) = of_value.first().and_then(|(hash, _)| texts.get(hash)) else { continue };
                pairs.offer(series, (name, *text));
                if name == METRIC_NAME {
                    metrics.offer(series, *text);
                }
            }
            merged.label_pairs += distinct;
            values_of.offer(distinct, name);
            bytes_of.offer(bytes, name);
        }
        merged.series_by_metric = metrics.finish(str::to_owned);
        merged.values_by_name = values_of.finish(str::to_owned);
        merged.bytes_by_name = bytes_of.finish(str::to_owned);
        merged.series_by_pair = pairs.finish(|(name, value)| format!("{name}={value}"));
        Ok(merged)
    }

    fn read<'a>(&mut self, part: &'a [u8], names: &mut BTreeMap<&'a str, Name<'a>>) -> Result<(), Corruption> {
        let mut reader = Reader::new(part);
        if reader.u8()? != FORMAT {
            return Err(Corruption::new("cardinality of unknown format"));
        }
        self.series = self.series.saturating_add(reader.varint()?);
        self.chunks = self.chunks.saturating_add(reader.varint()?);
        match reader.u8()? {
            0 => {}
            1 => self.times_ms = Some(join(self.times_ms, reader.zigzag()?, reader.zigzag()?)),
            _ => return Err(Corruption::new("times of a cardinality")),
        }
        for _ in 0..reader.count(NAME_BYTES_MIN)? {
            let name = names.entry(reader.text()?).or_default();
            name.bytes = name.bytes.saturating_add(reader.varint()?);
            for _ in 0..reader.count(VALUE_BYTES_MIN)? {
                name.values.push((reader.u64_le()?, reader.varint()?));
            }
            for _ in 0..reader.count(1)? {
                let text = reader.text()?;
                name.texts.insert(hash_of(text), text);
            }
        }
        reader.end()
    }
}

/// The largest `limit` of what it is given; equal ones by key.
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

    /// The `limit`-th largest count, 0 if fewer were offered.
    fn least(&self) -> u64 {
        if self.heap.len() < self.limit { 0 } else { self.heap.peek().map_or(0, |least| least.0.0) }
    }

    fn finish(self, text: impl Fn(K) -> String) -> Vec<Count> {
        let sorted = self.heap.into_sorted_vec();
        sorted.into_iter().map(|Reverse((count, Reverse(key)))| Count { name: text(key), count }).collect()
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) use tests::counted;
