//! What a segment's section 0 holds, and those that were read lately.

#![deny(clippy::indexing_slicing)]

use super::FORMAT;
use crate::error::Corruption;
use crate::store::manifest::{put_bitmap, take_bitmap};
use crate::store::pack::unpack;
use crate::wire::{Reader, put_bytes, put_varint};
use parking_lot::Mutex;
use roaring::RoaringBitmap;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Directories kept in memory per shard; a day's segments are asked for together.
const CACHED_MAX: usize = 512;

/// What a segment's section 0 holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Directory {
    pub(super) series: RoaringBitmap,
    /// In order.
    pub(super) names: Vec<Name>,
}

/// A label name of a segment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Name {
    pub(super) text: Box<str>,
    /// Distinct values.
    pub(super) values: u64,
    /// Bytes of the values, each once for every series that carries it.
    pub(super) bytes: u64,
    /// First value and its number, of each page.
    pub(super) dictionary: Vec<(Box<str>, u64)>,
    /// Number of the first value, of each page.
    pub(super) postings: Vec<u64>,
}

impl Directory {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = vec![FORMAT];
        put_bitmap(&mut out, &self.series);
        put_varint(&mut out, self.names.len() as u64);
        for Name { text, values, bytes, dictionary, postings } in &self.names {
            put_bytes(&mut out, text.as_bytes());
            put_varint(&mut out, *values);
            put_varint(&mut out, *bytes);
            put_varint(&mut out, dictionary.len() as u64);
            let mut before = 0;
            for (first, number) in dictionary {
                put_bytes(&mut out, first.as_bytes());
                put_varint(&mut out, number - before);
                before = *number;
            }
            put_varint(&mut out, postings.len() as u64);
            before = 0;
            for number in postings {
                put_varint(&mut out, number - before);
                before = *number;
            }
        }
        out
    }

    pub(crate) fn decode(packed: &[u8]) -> Result<Self, Corruption> {
        let value = unpack(packed)?;
        let mut reader = Reader::new(&value);
        if reader.u8()? != FORMAT {
            return Err(Corruption::new("index segment of unknown format"));
        }
        let series = take_bitmap(&mut reader)?;
        let mut names = Vec::new();
        for _ in 0..reader.count(5)? {
            names.push(Name::decode(&mut reader)?);
        }
        reader.end()?;
        Ok(Self { series, names })
    }

    /// The name with its number.
    pub(super) fn name(&self, name: &str) -> Option<(u32, &Name)> {
        let found = self.names.binary_search_by(|known| known.text.as_ref().cmp(name)).ok()?;
        Some((u32::try_from(found).ok()?, self.names.get(found)?))
    }
}

impl Name {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, Corruption> {
        let mut name = Self { text: reader.text()?.into(), values: reader.varint()?, bytes: reader.varint()?, ..Self::default() };
        let mut before = 0u64;
        let number = |reader: &mut Reader<'_>, before: &mut u64| {
            *before = before.checked_add(reader.varint()?).ok_or(Corruption::new("number of a value"))?;
            Ok(*before)
        };
        for _ in 0..reader.count(2)? {
            name.dictionary.push((reader.text()?.into(), number(reader, &mut before)?));
        }
        before = 0;
        for _ in 0..reader.count(1)? {
            name.postings.push(number(reader, &mut before)?);
        }
        Ok(name)
    }

    /// The dictionary page that holds `value`, if one does.
    pub(super) fn page_of_value(&self, value: &str) -> Option<usize> {
        self.dictionary.partition_point(|(first, _)| first.as_ref() <= value).checked_sub(1)
    }

    /// The postings page of the value with this number, and the number of its first.
    pub(super) fn page_of_number(&self, number: u64) -> Option<(usize, u64)> {
        let page = self.postings.partition_point(|first| *first <= number).checked_sub(1)?;
        Some((page, *self.postings.get(page)?))
    }
}

/// Directories that were read lately.
#[derive(Debug, Default)]
pub(crate) struct SegmentCache(Mutex<BTreeMap<u64, Arc<Directory>>>);

impl SegmentCache {
    pub(super) fn get(&self, part: u64) -> Option<Arc<Directory>> {
        self.0.lock().get(&part).map(Arc::clone)
    }

    pub(super) fn insert(&self, part: u64, directory: &Arc<Directory>) {
        let mut cache = self.0.lock();
        if cache.len() >= CACHED_MAX {
            // The oldest days are asked for least.
            cache.pop_first();
        }
        cache.insert(part, Arc::clone(directory));
    }

    pub(crate) fn remove(&self, part: u64) {
        self.0.lock().remove(&part);
    }
}
