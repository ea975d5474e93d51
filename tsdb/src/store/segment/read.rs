//! Looking things up in a segment.

#![deny(clippy::indexing_slicing)]

use super::{FORMAT, LISTED_MAX};
use crate::db::corrupt;
use crate::error::{Corruption, StoreError};
use crate::keys::{Family, IndexKey};
use crate::store::dataset::Dataset;
use crate::store::manifest::{Part, take_bitmap};
use crate::store::pack::unpack;
use crate::store::select::PostingsSource;
use crate::wire::Reader;
use parking_lot::Mutex;
use roaring::RoaringBitmap;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Directories kept in memory per shard; a day's segments are asked for together.
const CACHED_MAX: usize = 512;

/// What a segment's section 0 holds.
#[derive(Debug)]
pub(crate) struct Directory {
    series: RoaringBitmap,
    /// Per name, in order: the first value of each page.
    names: Vec<(Box<str>, Vec<Box<str>>)>,
}

impl Directory {
    pub(crate) fn decode(packed: &[u8]) -> Result<Self, Corruption> {
        let value = unpack(packed)?;
        let mut reader = Reader::new(&value);
        if reader.u8()? != FORMAT {
            return Err(Corruption::new("index segment of unknown format"));
        }
        let series = take_bitmap(&mut reader)?;
        let mut names = Vec::new();
        for _ in 0..reader.count(2)? {
            let name = reader.text()?.into();
            let pages = (0..reader.count(1)?).map(|_| reader.text().map(Box::from)).collect::<Result<_, _>>()?;
            names.push((name, pages));
        }
        reader.end()?;
        Ok(Self { series, names })
    }

    /// Number and pages of a name's section.
    fn section(&self, name: &str) -> Option<(u32, &[Box<str>])> {
        let found = self.names.binary_search_by(|(n, _)| n.as_ref().cmp(name)).ok()?;
        let (_, pages) = self.names.get(found)?;
        Some((u32::try_from(found).ok()? + 1, pages))
    }
}

/// Directories that were read lately.
#[derive(Debug, Default)]
pub(crate) struct SegmentCache(Mutex<BTreeMap<u64, Arc<Directory>>>);

impl SegmentCache {
    fn get(&self, part: u64) -> Option<Arc<Directory>> {
        self.0.lock().get(&part).map(Arc::clone)
    }

    fn insert(&self, part: u64, directory: &Arc<Directory>) {
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

/// A listed segment, ready to be asked.
#[derive(Debug)]
pub(crate) struct Segment<'a> {
    dataset: &'a Dataset,
    part: Part,
    directory: Arc<Directory>,
}

impl<'a> Segment<'a> {
    pub(crate) fn open(dataset: &'a Dataset, part: Part) -> Result<Self, StoreError> {
        let directory = match dataset.segments.get(part.id) {
            Some(directory) => directory,
            None => {
                let key = IndexKey { day: part.day.0, local: dataset.local, section: 0, part: part.id, page: 0 }.encode();
                let read = dataset.get(Family::Index, &key, Directory::decode)?;
                let directory = Arc::new(read.ok_or(StoreError::Missing { family: Family::Index.name(), key: key.to_vec() })?);
                dataset.segments.insert(part.id, &directory);
                directory
            }
        };
        Ok(Self { dataset, part, directory })
    }

    /// All series of the segment.
    pub(crate) fn series(&self) -> &RoaringBitmap {
        &self.directory.series
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.directory.names.iter().map(|(name, _)| name.as_ref())
    }

    /// Hands over every value of `name` with its series, in order, until `visit` says false.
    pub(crate) fn values(&self, name: &str, mut visit: impl FnMut(&str, RoaringBitmap) -> bool) -> Result<(), StoreError> {
        let Some((section, pages)) = self.directory.section(name) else { return Ok(()) };
        for page in 0..pages.len() {
            if !self.page(section, page, &mut |value, postings| Ok(visit(value, postings.read()?)))? {
                break;
            }
        }
        Ok(())
    }

    /// Hands over the values of one page until `visit` says false; tells whether it never did.
    fn page(
        &self,
        section: u32,
        page: usize,
        visit: &mut dyn FnMut(&str, Postings<'_>) -> Result<bool, Corruption>,
    ) -> Result<bool, StoreError> {
        let page = u32::try_from(page).map_err(|_| Corruption::new("page number")).map_err(corrupt(Family::Index, &[]))?;
        let key = IndexKey { day: self.part.day.0, local: self.dataset.local, section, part: self.part.id, page }.encode();
        let walk = |packed: &[u8]| {
            let value = unpack(packed)?;
            let mut reader = Reader::new(&value);
            while !reader.rest().is_empty() {
                let text = reader.text()?;
                if !visit(text, Postings::take(&mut reader)?)? {
                    return Ok(false);
                }
            }
            Ok(true)
        };
        let walked = self.dataset.get(Family::Index, &key, walk)?;
        walked.ok_or(StoreError::Missing { family: Family::Index.name(), key: key.to_vec() })
    }
}

/// The series of one value, not yet read.
#[derive(Clone, Copy)]
struct Postings<'a> {
    listed: usize,
    bytes: &'a [u8],
}

impl<'a> Postings<'a> {
    /// Takes the postings of one value off a page.
    fn take(reader: &mut Reader<'a>) -> Result<Self, Corruption> {
        let listed = reader.count(1)?;
        if listed > LISTED_MAX {
            return Err(Corruption::new("postings"));
        }
        if listed == 0 {
            return Ok(Self { listed, bytes: reader.bytes()? });
        }
        let bytes = reader.rest();
        (0..listed).try_for_each(|_| reader.varint_u32().map(|_| ()))?;
        Ok(Self { listed, bytes })
    }

    fn read(self) -> Result<RoaringBitmap, Corruption> {
        let mut found = RoaringBitmap::new();
        self.add_to(&mut found)?;
        Ok(found)
    }

    fn add_to(self, into: &mut RoaringBitmap) -> Result<(), Corruption> {
        if self.listed == 0 {
            *into |= RoaringBitmap::deserialize_from(self.bytes).map_err(|_| Corruption::new("bitmap"))?;
            return Ok(());
        }
        let (mut reader, mut sid) = (Reader::new(self.bytes), 0u32);
        for _ in 0..self.listed {
            sid = sid.checked_add(reader.varint_u32()?).ok_or(Corruption::new("postings"))?;
            into.insert(sid);
        }
        Ok(())
    }
}

impl PostingsSource for Segment<'_> {
    type Error = StoreError;

    fn add_all(&self, into: &mut RoaringBitmap) -> Result<(), StoreError> {
        *into |= &self.directory.series;
        Ok(())
    }

    fn add_value(&self, name: &str, value: &str, into: &mut RoaringBitmap) -> Result<(), StoreError> {
        let Some((section, pages)) = self.directory.section(name) else { return Ok(()) };
        let Some(page) = pages.partition_point(|first| first.as_ref() <= value).checked_sub(1) else { return Ok(()) };
        self.page(section, page, &mut |text, postings| {
            if text == value {
                postings.add_to(into)?;
            }
            Ok(text < value)
        })?;
        Ok(())
    }

    fn add_values_where(
        &self,
        name: &str,
        prefix: &str,
        keep: &mut dyn FnMut(&str) -> bool,
        into: &mut RoaringBitmap,
    ) -> Result<(), StoreError> {
        let Some((section, pages)) = self.directory.section(name) else { return Ok(()) };
        // Values that begin with the prefix stand together, the first of them perhaps on a page that begins before it.
        let first = pages.partition_point(|first| first.as_ref() < prefix).saturating_sub(1);
        for page in first..pages.len() {
            let more = self.page(section, page, &mut |text, postings| {
                let begins = text.starts_with(prefix);
                if begins && keep(text) {
                    postings.add_to(into)?;
                }
                Ok(begins || text < prefix)
            })?;
            if !more {
                break;
            }
        }
        Ok(())
    }
}
