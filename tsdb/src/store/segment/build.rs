//! Gathering and writing a segment.

use super::{FORMAT, LISTED_MAX};
use crate::error::{Corruption, StoreError};
use crate::keys::{Family, IndexKey};
use crate::rows::walk_labels;
use crate::store::dataset::Dataset;
use crate::store::file::{FileWriter, Tally, TempFiles};
use crate::store::manifest::{Day, put_bitmap};
use crate::store::pack::pack;
use crate::wire::{put_bytes, put_varint};
use roaring::RoaringBitmap;
use std::collections::{BTreeMap, HashMap};

const PAGE_BYTES_TARGET: usize = 16 << 10;

/// Gathers the series that one checkpoint adds to a day.
#[derive(Debug, Default)]
pub(crate) struct IndexBuilder {
    series: RoaringBitmap,
    names: BTreeMap<Box<str>, HashMap<Box<str>, Vec<u32>>>,
}

impl IndexBuilder {
    pub(crate) fn contains(&self, sid: u32) -> bool {
        self.series.contains(sid)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.series.is_empty()
    }

    /// Adds a series with its encoded labels.
    pub(crate) fn add(&mut self, sid: u32, labels: &[u8]) -> Result<(), Corruption> {
        if !self.series.insert(sid) {
            return Ok(());
        }
        let mut valid = true;
        let walked = walk_labels(labels, |name, value| match (std::str::from_utf8(name), std::str::from_utf8(value)) {
            (Ok(name), Ok(value)) => self.add_label(sid, name, value),
            _ => valid = false,
        });
        if walked.is_ok() && valid { Ok(()) } else { Err(Corruption::new("labels of a series")) }
    }

    fn add_label(&mut self, sid: u32, name: &str, value: &str) {
        if !self.names.contains_key(name) {
            self.names.insert(name.into(), HashMap::new());
        }
        let Some(values) = self.names.get_mut(name) else { return };
        match values.get_mut(value) {
            Some(sids) => sids.push(sid),
            None => {
                values.insert(value.into(), vec![sid]);
            }
        }
    }

    /// Writes the segment's file.
    pub(crate) fn write(mut self, dataset: &Dataset, day: Day, part: u64, files: &mut TempFiles) -> Result<Tally, StoreError> {
        let mut directory = vec![FORMAT];
        self.series.optimize();
        put_bitmap(&mut directory, &self.series);
        put_varint(&mut directory, self.names.len() as u64);
        let mut pages = Vec::new();
        for (section, (name, values)) in (1u32..).zip(std::mem::take(&mut self.names)) {
            put_bytes(&mut directory, name.as_bytes());
            let of_name = pages_of(values);
            put_varint(&mut directory, of_name.len() as u64);
            for (page, (first_value, bytes)) in (0u32..).zip(of_name) {
                put_bytes(&mut directory, first_value.as_bytes());
                pages.push((section, page, pack(&bytes)));
            }
        }
        let mut file = FileWriter::create(dataset.engine(), Family::Index, files)?;
        let key = |section, page| IndexKey { day: day.0, local: dataset.local, section, part, page }.encode();
        dataset.put_file(&mut file, Family::Index, &key(0, 0), &pack(&directory))?;
        for (section, page, bytes) in pages {
            dataset.put_file(&mut file, Family::Index, &key(section, page), &bytes)?;
        }
        file.finish()
    }
}

/// Cuts the postings of one name into pages, each with its first value.
fn pages_of(values: HashMap<Box<str>, Vec<u32>>) -> Vec<(Box<str>, Vec<u8>)> {
    let mut values: Vec<_> = values.into_iter().collect();
    values.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    let mut pages: Vec<(Box<str>, Vec<u8>)> = Vec::new();
    for (value, sids) in values {
        let mut entry = Vec::new();
        put_bytes(&mut entry, value.as_bytes());
        put_postings(&mut entry, sids);
        match pages.last_mut() {
            Some((_, page)) if page.len() + entry.len() <= PAGE_BYTES_TARGET => page.append(&mut entry),
            _ => pages.push((value, entry)),
        }
    }
    pages
}

fn put_postings(out: &mut Vec<u8>, mut sids: Vec<u32>) {
    sids.sort_unstable();
    if sids.len() > LISTED_MAX {
        let mut bitmap: RoaringBitmap = sids.into_iter().collect();
        bitmap.optimize();
        put_varint(out, 0);
        return put_bitmap(out, &bitmap);
    }
    put_varint(out, sids.len() as u64);
    let mut before = 0;
    for sid in sids {
        put_varint(out, u64::from(sid - before));
        before = sid;
    }
}
