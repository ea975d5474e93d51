//! Gathering and writing a segment.

use super::dictionary::put_value;
use super::directory::{Directory, Name};
use super::{FEW, LISTED_MAX, dictionary_section, postings_section};
use crate::error::{Corruption, StoreError};
use crate::keys::{Family, IndexKey};
use crate::rows::walk_labels;
use crate::store::dataset::Dataset;
use crate::store::file::{FileWriter, Tally, TempFiles};
use crate::store::manifest::{Day, put_bitmap};
use crate::store::pack::pack;
use crate::wire::put_varint;
use roaring::RoaringBitmap;
use std::collections::{BTreeMap, HashMap};

/// A page is full once it has grown to this: small, because a look-up reads one from its begin.
const PAGE_BYTES_TARGET: usize = 4 << 10;

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
        self.series.optimize();
        let mut directory = Directory { series: self.series, names: Vec::with_capacity(self.names.len()) };
        let mut pages = Vec::new();
        for (number, (text, values)) in (0u32..).zip(self.names) {
            let (name, dictionary, postings) = pages_of(text, values);
            directory.names.push(name);
            for (section, of_section) in [(dictionary_section(number), dictionary), (postings_section(number), postings)] {
                pages.extend((0u32..).zip(of_section).map(|(page, bytes)| (section, page, bytes)));
            }
        }
        let mut file = FileWriter::create(dataset.engine(), Family::Index, files)?;
        let key = |section, page| IndexKey { day: day.0, local: dataset.local, section, part, page }.encode();
        dataset.put_file(&mut file, Family::Index, &key(0, 0), &pack(&directory.encode()))?;
        for (section, page, bytes) in pages {
            dataset.put_file(&mut file, Family::Index, &key(section, page), &pack(&bytes))?;
        }
        file.finish()
    }
}

/// What is written of one name: its row of the directory, pages of its dictionary and of its postings.
fn pages_of(text: Box<str>, values: HashMap<Box<str>, Vec<u32>>) -> (Name, Vec<Vec<u8>>, Vec<Vec<u8>>) {
    let mut values: Vec<_> = values.into_iter().collect();
    values.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    let mut name = Name { text, values: values.len() as u64, ..Name::default() };
    let (mut dictionary, mut postings) = (Vec::new(), Vec::new());
    let mut before: Box<str> = Box::default();
    for (number, (value, sids)) in (0u64..).zip(values) {
        let series = sids.len() as u64;
        name.bytes += value.len() as u64 * series;
        let is_new = |pages: &Vec<Vec<u8>>| pages.last().is_none_or(|page| page.len() >= PAGE_BYTES_TARGET);
        if is_new(&dictionary) {
            dictionary.push(Vec::new());
            name.dictionary.push((value.clone(), number));
            before = Box::default();
        }
        if is_new(&postings) {
            postings.push(Vec::new());
            name.postings.push(number);
        }
        if let Some(page) = dictionary.last_mut() {
            put_value(page, &before, &value, series);
        }
        if let Some(page) = postings.last_mut() {
            put_postings(page, sids);
        }
        before = value;
    }
    (name, dictionary, postings)
}

pub(super) fn put_postings(out: &mut Vec<u8>, mut sids: Vec<u32>) {
    sids.sort_unstable();
    let begin = out.len();
    if sids.len() <= LISTED_MAX {
        put_varint(out, sids.len() as u64);
        let mut before = 0;
        for sid in &sids {
            put_varint(out, u64::from(sid - before));
            before = *sid;
        }
        if sids.len() <= FEW {
            return;
        }
    }
    let mut bitmap: RoaringBitmap = sids.into_iter().collect();
    bitmap.optimize();
    let listed_bytes = out.len() - begin;
    if listed_bytes == 0 || bitmap.serialized_size() < listed_bytes {
        out.truncate(begin);
        put_varint(out, 0);
        put_bitmap(out, &bitmap);
    }
}
