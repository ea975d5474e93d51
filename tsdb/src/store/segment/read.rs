//! Looking things up in a segment.

#![deny(clippy::indexing_slicing)]

use super::dictionary::ValueReader;
use super::directory::{Directory, Name};
use super::{LISTED_MAX, dictionary_section, postings_section};
use crate::db::corrupt;
use crate::error::{Corruption, StoreError};
use crate::keys::{Family, IndexKey};
use crate::select::{How, Postings, Source, Values, Visit, combine};
use crate::store::dataset::Dataset;
use crate::store::manifest::Part;
use crate::store::pack::unpack;
use crate::wire::Reader;
use model::Matcher;
use roaring::RoaringBitmap;
use std::ops::ControlFlow;
use std::sync::Arc;

/// Is told a value with its number, and whether to go on.
type VisitNumbered<'v> = &'v mut dyn FnMut(&str, u64) -> Result<ControlFlow<()>, StoreError>;

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

    /// Reads every page.
    pub(crate) fn verify(&self, mut is_stopped: impl FnMut() -> bool) -> Result<(), StoreError> {
        for name in self.names() {
            self.visit(name, Values::ALL, &mut |_, _| if is_stopped() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })?;
        }
        Ok(())
    }

    /// Reads one page.
    fn page<T>(&self, section: u32, page: usize, read: impl FnOnce(&[u8]) -> Result<T, Corruption>) -> Result<T, StoreError> {
        let page = u32::try_from(page).map_err(|_| Corruption::new("page number")).map_err(corrupt(Family::Index, &[]))?;
        let key = IndexKey { day: self.part.day.0, local: self.dataset.local, section, part: self.part.id, page }.encode();
        let read = self.dataset.get(Family::Index, &key, |packed| read(&unpack(packed)?))?;
        read.ok_or(StoreError::Missing { family: Family::Index.name(), key: key.to_vec() })
    }

    /// Hands over values with their numbers, from the first of dictionary page `from` on, until `visit` breaks.
    fn values_from(&self, (number, name): (u32, &Name), from: usize, visit: VisitNumbered<'_>) -> Result<(), StoreError> {
        for (page, (_, first)) in name.dictionary.iter().enumerate().skip(from) {
            let mut outcome = Ok(ControlFlow::Continue(()));
            self.page(dictionary_section(number), page, |bytes| {
                let (mut reader, mut values, mut n) = (Reader::new(bytes), ValueReader::default(), *first);
                while let Some((value, _)) = values.next(&mut reader)? {
                    outcome = visit(value, n);
                    if !matches!(outcome, Ok(ControlFlow::Continue(()))) {
                        break;
                    }
                    n = n.saturating_add(1);
                }
                Ok(())
            })?;
            if outcome?.is_break() {
                break;
            }
        }
        Ok(())
    }

    fn visit_one(&self, name: (u32, &Name), value: &str, visit: Visit<'_>) -> Result<(), StoreError> {
        let Some(page) = name.1.page_of_value(value) else { return Ok(()) };
        let mut found = None;
        self.values_from(name, page, &mut |text, number| {
            if text == value {
                found = Some(number);
            }
            Ok(if text < value { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
        })?;
        let Some(number) = found else { return Ok(()) };
        PostingsCursor::new(self, name).read(number, |postings| {
            let _ = visit(value, postings);
        })
    }
}

/// Goes forward through the postings of one name; holds one page.
struct PostingsCursor<'s, 'a> {
    segment: &'s Segment<'a>,
    name: (u32, &'s Name),
    /// The page, and what of it was read.
    page: Option<usize>,
    bytes: Vec<u8>,
    read: usize,
    /// Number of the value whose postings come next.
    number: u64,
}

impl<'s, 'a> PostingsCursor<'s, 'a> {
    fn new(segment: &'s Segment<'a>, name: (u32, &'s Name)) -> Self {
        Self { segment, name, page: None, bytes: Vec::new(), read: 0, number: 0 }
    }

    /// Hands over the postings of a value, whose number is above all before.
    fn read(&mut self, number: u64, visit: impl FnOnce(Postings<'_>)) -> Result<(), StoreError> {
        let corrupt_number = || corrupt(Family::Index, &[])(Corruption::new("number of a value"));
        let (page, first) = self.name.1.page_of_number(number).ok_or_else(corrupt_number)?;
        if self.page != Some(page) {
            self.bytes = self.segment.page(postings_section(self.name.0), page, |bytes| Ok(bytes.to_vec()))?;
            (self.page, self.read, self.number) = (Some(page), 0, first);
        }
        let mut reader = Reader::new(self.bytes.get(self.read..).unwrap_or_default());
        while self.number < number {
            StoredPostings::take(&mut reader).map_err(corrupt(Family::Index, &[]))?;
            self.number += 1;
        }
        let taken = StoredPostings::take(&mut reader).map_err(corrupt(Family::Index, &[]))?;
        self.number += 1;
        self.read = self.bytes.len() - reader.rest().len();
        taken.read(visit).map_err(corrupt(Family::Index, &[]))
    }
}

/// The series of one value, not yet read.
#[derive(Clone, Copy)]
pub(super) struct StoredPostings<'a> {
    listed: usize,
    bytes: &'a [u8],
}

impl<'a> StoredPostings<'a> {
    /// Takes the postings of one value off a page.
    pub(super) fn take(reader: &mut Reader<'a>) -> Result<Self, Corruption> {
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

    pub(super) fn read(self, visit: impl FnOnce(Postings<'_>)) -> Result<(), Corruption> {
        if self.listed == 0 {
            let bitmap = RoaringBitmap::deserialize_from(self.bytes).map_err(|_| Corruption::new("bitmap"))?;
            visit(Postings::Bitmap(&bitmap));
            return Ok(());
        }
        let (mut reader, mut sid, mut sids) = (Reader::new(self.bytes), 0u32, [0; LISTED_MAX]);
        let (listed, _) = sids.split_at_mut_checked(self.listed).ok_or(Corruption::new("postings"))?;
        for place in &mut *listed {
            sid = sid.checked_add(reader.varint_u32()?).ok_or(Corruption::new("postings"))?;
            *place = sid;
        }
        visit(Postings::Listed(listed));
        Ok(())
    }
}

impl Source for Segment<'_> {
    type Error = StoreError;

    fn all(&self) -> &RoaringBitmap {
        &self.directory.series
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        self.directory.names.iter().map(|name| name.text.as_ref())
    }

    fn value_count(&self, name: &str) -> u64 {
        self.directory.name(name).map_or(0, |(_, name)| name.values)
    }

    fn visit(&self, name: &str, values: Values<'_>, visit: Visit<'_>) -> Result<(), StoreError> {
        let Some(name) = self.directory.name(name) else { return Ok(()) };
        let (prefix, keep) = match values {
            Values::One(value) => return self.visit_one(name, value, visit),
            Values::Where { prefix, keep } => (prefix, keep),
        };
        let mut postings = PostingsCursor::new(self, name);
        // Values that begin with the prefix stand together, the first of them perhaps on a page that begins before it.
        let from = name.1.page_of_value(prefix).unwrap_or(0);
        self.values_from(name, from, &mut |value, number| {
            if !value.starts_with(prefix) {
                return Ok(if value < prefix { ControlFlow::Continue(()) } else { ControlFlow::Break(()) });
            }
            let mut outcome = ControlFlow::Continue(());
            if keep(value) {
                postings.read(number, |postings| outcome = visit(value, postings))?;
            }
            Ok(outcome)
        })
    }

    fn texts(&self, name: &str, visit: &mut dyn FnMut(&str) -> ControlFlow<()>) -> Result<(), StoreError> {
        let Some(name) = self.directory.name(name) else { return Ok(()) };
        self.values_from(name, 0, &mut |value, _| Ok(visit(value)))
    }

    fn len_of(&self, matcher: &Matcher) -> Option<u64> {
        if self.directory.name(&matcher.name).is_none() {
            return Some(0);
        }
        let cache = self.dataset.engine().matchers();
        cache.get(self.dataset.local, self.part.id, matcher, false).map(|found| found.len())
    }

    fn combine(&self, matcher: &Matcher, how: How, among: &mut RoaringBitmap) -> Result<(), StoreError> {
        if self.directory.name(&matcher.name).is_none() {
            Postings::Listed(&[]).apply(how, among);
            return Ok(());
        }
        let (cache, local, part) = (self.dataset.engine().matchers(), self.dataset.local, self.part.id);
        let found = match cache.get(local, part, matcher, true) {
            Some(found) => found,
            None => {
                let mut found = RoaringBitmap::new();
                combine(self, matcher, How::Add, &mut found)?;
                found.optimize();
                let found = Arc::new(found);
                cache.insert(local, part, matcher, &found);
                found
            }
        };
        Postings::Bitmap(&found).apply(how, among);
        Ok(())
    }
}
