//! The index of the head: label pairs, each with the ids of the series that carry it.
//!
//! A pair is interned once; a series holds pair numbers. A pair goes with its last series, so churn leaves nothing behind.

mod cardinality;
mod posting;
mod select;
#[cfg(test)]
mod tests;

use crate::head::CowVec;
use posting::Posting;
use roaring::RoaringBitmap;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A label pair; `None` while its number is free.
pub(crate) type Pair = Option<(Arc<str>, Arc<str>)>;

/// Label pairs and postings of the series in the head.
#[derive(Debug, Default)]
pub(crate) struct Index {
    pairs: CowVec<Pair>,
    postings: Vec<Posting>,
    free: Vec<u32>,
    /// Sorted, so that values are listed, and found by prefix, without looking at the others.
    names: BTreeMap<Arc<str>, BTreeMap<Arc<str>, u32>>,
    all: RoaringBitmap,
    text_bytes: u64,
}

/// What a pair costs beside its text, roughly: the map entry, the two counters in front of each text, the posting.
const PAIR_BYTES: u64 = 96;

impl Index {
    /// Adds a series under its labels, which come sorted by name; gives the pair numbers in the same order.
    pub(crate) fn insert<'a>(&mut self, sid: u32, labels: impl Iterator<Item = (&'a str, &'a str)>) -> Arc<[u32]> {
        let pairs: Vec<u32> = labels.map(|(name, value)| self.intern(name, value)).collect();
        for &pair in &pairs {
            self.postings[pair as usize].insert(sid);
        }
        self.all.insert(sid);
        pairs.into()
    }

    /// Adds a series under pairs that [`Index::restore_pair`] made known.
    pub(crate) fn restore_series(&mut self, sid: u32, pairs: &[u32]) {
        for &pair in pairs {
            if let Some(posting) = self.postings.get_mut(pair as usize) {
                posting.insert(sid);
            }
        }
        self.all.insert(sid);
    }

    /// Gives a pair the number it had in a checkpoint.
    pub(crate) fn restore_pair(&mut self, number: u32, name: &str, value: &str) {
        while self.pairs.len() <= number as usize {
            if self.pairs.len() < number as usize {
                self.free.push(self.pairs.len() as u32);
            }
            self.pairs.push(None);
            self.postings.push(Posting::default());
        }
        self.put_pair(number, name, value);
    }

    /// Removes a series.
    pub(crate) fn remove(&mut self, sid: u32, pairs: &[u32]) {
        self.all.remove(sid);
        for &number in pairs {
            let posting = &mut self.postings[number as usize];
            posting.remove(sid);
            if !posting.is_empty() {
                continue;
            }
            let Some((name, value)) = self.pairs.get_mut(number as usize).and_then(Option::take) else { continue };
            self.text_bytes -= value.len() as u64 + PAIR_BYTES;
            if let Some(values) = self.names.get_mut(&name) {
                values.remove(&value);
                if values.is_empty() {
                    self.names.remove(&name);
                }
            }
            self.free.push(number);
        }
    }

    /// The text of a pair.
    pub(crate) fn pair(&self, number: u32) -> Option<(&str, &str)> {
        self.pairs.get(number as usize)?.as_ref().map(|(name, value)| (name.as_ref(), value.as_ref()))
    }

    /// The pairs, to be frozen.
    pub(crate) fn pairs(&self) -> &CowVec<Pair> {
        &self.pairs
    }

    /// Bytes the index takes, roughly.
    pub(crate) fn bytes(&self) -> u64 {
        self.text_bytes + self.all.len() * 16
    }

    fn intern(&mut self, name: &str, value: &str) -> u32 {
        if let Some(&number) = self.names.get(name).and_then(|values| values.get(value)) {
            return number;
        }
        let number = self.free.pop().unwrap_or_else(|| {
            self.pairs.push(None);
            self.postings.push(Posting::default());
            (self.pairs.len() - 1) as u32
        });
        self.put_pair(number, name, value);
        number
    }

    fn put_pair(&mut self, number: u32, name: &str, value: &str) {
        let name = match self.names.get_key_value(name) {
            Some((known, _)) => Arc::clone(known),
            None => Arc::from(name),
        };
        let value: Arc<str> = Arc::from(value);
        self.text_bytes += value.len() as u64 + PAIR_BYTES;
        self.names.entry(Arc::clone(&name)).or_default().insert(Arc::clone(&value), number);
        if let Some(place) = self.pairs.get_mut(number as usize) {
            *place = Some((name, value));
        }
    }
}
