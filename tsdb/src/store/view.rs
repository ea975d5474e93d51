//! Reading what one manifest lists.

use super::dataset::Dataset;
use super::manifest::{Manifest, Part};
use super::pack::unpack;
use super::segment::Segment;
use super::series::{self, SeriesRecord};
use crate::error::StoreError;
use crate::keys::{Family, HeadKey, SeriesKey};
use crate::select::{Merged, OneByOne, Postings, Source, names_into, select, values_into};
use model::{Labels, LogPoint, Matcher, SeriesId};
use roaring::RoaringBitmap;
use std::borrow::Cow;
use std::sync::Arc;

/// What was listed when the view was made; it stays readable while the view, or a clone of it, lives.
#[derive(Clone, Debug)]
pub struct StoreView {
    pub(super) dataset: Arc<Dataset>,
    pub(super) manifest: Arc<Manifest>,
}

impl StoreView {
    pub(super) fn new(dataset: Arc<Dataset>, manifest: Arc<Manifest>) -> Self {
        Self { dataset, manifest }
    }

    /// The log point whose state the checkpoint holds; none before the first.
    #[must_use]
    pub fn point(&self) -> Option<LogPoint> {
        self.manifest.point
    }

    /// The bytes given to the commit.
    #[must_use]
    pub fn extra(&self) -> &[u8] {
        &self.manifest.extra
    }

    /// The listed parts, by day and number.
    #[must_use]
    pub fn parts(&self) -> &[Part] {
        &self.manifest.parts
    }

    /// Hands over the checkpoint's pages in order.
    ///
    /// # Errors
    /// A page is missing or damaged, or `visit` failed.
    pub fn pages<E: From<StoreError>>(&self, mut visit: impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        let (local, generation) = (self.dataset.local, self.manifest.generation);
        for page in 0..self.manifest.pages {
            let key = HeadKey { local, generation, page }.encode();
            let value = self.dataset.get(Family::Head, &key, |packed| Ok(unpack(packed)?.into_owned()))?;
            visit(&value.ok_or_else(|| StoreError::Missing { family: Family::Head.name(), key: key.to_vec() })?)?;
        }
        Ok(())
    }

    /// The series that satisfy all matchers and have flushed samples on a day that meets `start_ms..=end_ms`.
    ///
    /// # Errors
    /// A segment is missing or damaged.
    pub fn select(&self, matchers: &[Matcher], start_ms: i64, end_ms: i64) -> Result<RoaringBitmap, StoreError> {
        let mut found = RoaringBitmap::new();
        for segment in self.segments(start_ms, end_ms) {
            found |= select(&segment?, matchers)?;
        }
        Ok(found)
    }

    fn segments(&self, start_ms: i64, end_ms: i64) -> impl Iterator<Item = Result<Segment<'_>, StoreError>> {
        self.manifest.parts_in(Family::Index, start_ms, end_ms).map(|part| Segment::open(&self.dataset, *part?))
    }

    /// Gives `merged` the names of the labels that series of the days carry; `among` limits the series. Few series go to `few` instead.
    /// Gives the series that it answered for.
    pub(crate) fn names_into(
        &self,
        days: (i64, i64),
        among: Option<&RoaringBitmap>,
        few: &mut OneByOne<'_>,
        merged: &mut Merged,
    ) -> Result<RoaringBitmap, StoreError> {
        self.each_unseen(days, among, |segment, new| {
            let values = segment.names().map(|name| segment.value_count(name)).sum();
            if among.is_some() && few.takes(new, values, &Merged::new(0)) {
                return Ok(());
            }
            let is_meant: &dyn Fn(Postings<'_>) -> bool = &|postings| postings.intersects(new);
            names_into(segment, among.map(|_| is_meant), merged)
        })
    }

    /// Gives `merged` the values of a label that series of the days carry; `among` limits the series. Few series go to `few` instead.
    /// Gives the series that it answered for.
    pub(crate) fn values_into(
        &self,
        name: &str,
        days: (i64, i64),
        among: Option<&RoaringBitmap>,
        few: &mut OneByOne<'_>,
        merged: &mut Merged,
    ) -> Result<RoaringBitmap, StoreError> {
        self.each_unseen(days, among, |segment, new| {
            let values = segment.value_count(name);
            if values == 0 || few.takes(new, values, merged) {
                return Ok(());
            }
            let is_all = among.is_none_or(|among| segment.all().is_subset(among));
            let is_meant: &dyn Fn(Postings<'_>) -> bool = &|postings| postings.intersects(new);
            values_into(segment, name, (!is_all).then_some(is_meant), merged)
        })
    }

    /// Hands over each segment of the days with those of its series, of `among` if that is given, that no segment before has: a series
    /// has the same labels wherever it is listed. Gives all of them.
    fn each_unseen(
        &self,
        (start_ms, end_ms): (i64, i64),
        among: Option<&RoaringBitmap>,
        mut ask: impl FnMut(&Segment<'_>, &RoaringBitmap) -> Result<(), StoreError>,
    ) -> Result<RoaringBitmap, StoreError> {
        let mut seen = RoaringBitmap::new();
        for segment in self.segments(start_ms, end_ms) {
            let segment = segment?;
            if segment.all().is_subset(&seen) {
                continue;
            }
            let new = match among {
                Some(among) => Cow::Owned((segment.all() & among) - &seen),
                None if seen.is_empty() => Cow::Borrowed(segment.all()),
                None => Cow::Owned(segment.all() - &seen),
            };
            if !new.is_empty() {
                ask(&segment, &new)?;
                seen |= new.as_ref();
            }
        }
        Ok(seen)
    }

    /// Whether a record of a series is listed. Looks at nothing on disk.
    pub(crate) fn lists_series(&self, sid: u32) -> bool {
        self.manifest.series.contains(sid)
    }

    /// The record of a series, if one is listed.
    ///
    /// # Errors
    /// The record is missing or damaged.
    pub fn series(&self, sid: SeriesId) -> Result<Option<SeriesRecord>, StoreError> {
        if !self.lists_series(sid.0) {
            return Ok(None);
        }
        let key = SeriesKey { local: self.dataset.local, sid: sid.0 }.encode();
        match self.dataset.get(Family::Series, &key, SeriesRecord::decode)? {
            Some(record) => Ok(Some(record)),
            None => Err(StoreError::Missing { family: Family::Series.name(), key: key.to_vec() }),
        }
    }

    /// The labels of a series, if it is listed.
    ///
    /// # Errors
    /// See [`StoreView::series`].
    pub fn labels(&self, sid: SeriesId) -> Result<Option<Labels>, StoreError> {
        Ok(self.series(sid)?.map(|record| record.labels))
    }

    /// The identity hash of a series, if it is listed.
    ///
    /// # Errors
    /// See [`StoreView::series`].
    pub fn fp128(&self, sid: SeriesId) -> Result<Option<u128>, StoreError> {
        Ok(self.series(sid)?.map(|record| record.fp128))
    }

    /// The listed series with this identity hash.
    ///
    /// # Errors
    /// A record is damaged.
    pub fn find_by_fp128(&self, fp128: u128) -> Result<Option<SeriesId>, StoreError> {
        Ok(series::find(&self.dataset, fp128)?.filter(|sid| self.lists_series(*sid)).map(SeriesId))
    }
}
