//! Reading what one manifest lists.

use super::dataset::Dataset;
use super::group::Group;
use super::manifest::{Day, Manifest, Part};
use super::pack::unpack;
use super::segment::Segment;
use super::select::select;
use super::series::{self, SeriesRecord};
use crate::chunk::{Samples, decode_samples};
use crate::db::corrupt;
use crate::error::StoreError;
use crate::head::content_at;
use crate::keys::{ChunkKey, Family, HeadKey, SeriesKey};
use crate::record::Content;
use model::{Labels, LogPoint, Matcher, SeriesId};
use roaring::RoaringBitmap;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Series up to which one seek each beats a scan of their metric.
const SEEK_SERIES_MAX: u64 = 8;

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
        self.manifest.parts_in(Family::Index, start_ms, end_ms).map(|part| Segment::open(&self.dataset, *part))
    }

    /// Names of the labels that series of the days carry; `among` limits the series.
    ///
    /// # Errors
    /// A segment is missing or damaged.
    pub fn label_names(&self, start_ms: i64, end_ms: i64, among: Option<&RoaringBitmap>) -> Result<BTreeSet<String>, StoreError> {
        let mut names = BTreeSet::new();
        for segment in self.segments(start_ms, end_ms) {
            let segment = segment?;
            for name in segment.names() {
                if names.contains(name) {
                    continue;
                }
                let mut carried = among.is_none();
                if let Some(among) = among {
                    segment.values(name, |_, postings| {
                        carried = !postings.is_disjoint(among);
                        !carried
                    })?;
                }
                if carried {
                    names.insert(name.to_owned());
                }
            }
        }
        Ok(names)
    }

    /// Values of one label that series of the days carry; `among` limits the series.
    ///
    /// # Errors
    /// A segment is missing or damaged.
    pub fn label_values(
        &self,
        name: &str,
        start_ms: i64,
        end_ms: i64,
        among: Option<&RoaringBitmap>,
    ) -> Result<BTreeSet<String>, StoreError> {
        let mut values = BTreeSet::new();
        for segment in self.segments(start_ms, end_ms) {
            segment?.values(name, |value, postings| {
                if among.is_none_or(|among| !postings.is_disjoint(among)) && !values.contains(value) {
                    values.insert(value.to_owned());
                }
                true
            })?;
        }
        Ok(values)
    }

    /// The record of a series, if one is listed.
    ///
    /// # Errors
    /// The record is missing or damaged.
    pub fn series(&self, sid: SeriesId) -> Result<Option<SeriesRecord>, StoreError> {
        if !self.manifest.series.contains(sid.0) {
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
        Ok(series::find(&self.dataset, fp128)?.filter(|sid| self.manifest.series.contains(*sid)).map(SeriesId))
    }

    /// Hands over the chunks of one series that meet `start_ms..=end_ms`, each with its log index; those of a part by time,
    /// parts by day and number. Where chunks overlap, the sample of the lowest log index counts.
    ///
    /// # Errors
    /// A group is damaged. The chunks themselves are not looked into.
    pub fn chunks(
        &self,
        sid: SeriesId,
        metric: u32,
        start_ms: i64,
        end_ms: i64,
        mut visit: impl FnMut(u64, &[u8]),
    ) -> Result<(), StoreError> {
        for part in self.manifest.parts_in(Family::Chunk, start_ms, end_ms) {
            self.chunks_of_part(part, sid, metric, (start_ms, end_ms), &mut visit)?;
        }
        Ok(())
    }

    fn chunks_of_part(
        &self,
        part: &Part,
        sid: SeriesId,
        metric: u32,
        (start_ms, end_ms): (i64, i64),
        visit: &mut dyn FnMut(u64, &[u8]),
    ) -> Result<(), StoreError> {
        let key = ChunkKey { day: part.day.0, local: self.dataset.local, metric, part: part.id, first_sid: sid.0 }.encode();
        let prefix = key.get(..16).unwrap_or_default();
        let mut iterator = self.dataset.iterate(Family::Chunk, prefix, true);
        iterator.seek_for_prev(key);
        if let Some((key, sealed)) = iterator.item() {
            self.read_group(part.day, key, sealed, &mut |entry| {
                if entry.sid == sid.0 && entry.first_ms <= end_ms && start_ms <= entry.last_ms {
                    visit(entry.log_index, entry.chunk);
                }
                entry.sid <= sid.0
            })?;
        }
        Ok(iterator.status()?)
    }

    /// Hands over the chunks of many series of one metric, as [`StoreView::chunks`] does, reading each group once.
    ///
    /// # Errors
    /// See [`StoreView::chunks`].
    pub fn scan(
        &self,
        sids: &RoaringBitmap,
        metric: u32,
        start_ms: i64,
        end_ms: i64,
        mut visit: impl FnMut(SeriesId, u64, &[u8]),
    ) -> Result<(), StoreError> {
        if sids.len() <= SEEK_SERIES_MAX {
            return sids
                .iter()
                .map(SeriesId)
                .try_for_each(|sid| self.chunks(sid, metric, start_ms, end_ms, |log_index, chunk| visit(sid, log_index, chunk)));
        }
        let (Some(first), Some(last)) = (sids.min(), sids.max()) else { return Ok(()) };
        for part in self.manifest.parts_in(Family::Chunk, start_ms, end_ms) {
            let key = ChunkKey { day: part.day.0, local: self.dataset.local, metric, part: part.id, first_sid: first }.encode();
            let mut iterator = self.dataset.iterate(Family::Chunk, key.get(..16).unwrap_or_default(), true);
            iterator.seek_for_prev(key);
            if !iterator.valid() {
                iterator.seek(key);
            }
            while let Some((key, sealed)) = iterator.item() {
                let first_sid = ChunkKey::decode(key).map_err(corrupt(Family::Chunk, key))?.first_sid;
                if first_sid > last {
                    break;
                }
                self.read_group(part.day, key, sealed, &mut |entry| {
                    if sids.contains(entry.sid) && entry.first_ms <= end_ms && start_ms <= entry.last_ms {
                        visit(SeriesId(entry.sid), entry.log_index, entry.chunk);
                    }
                    entry.sid <= last
                })?;
                iterator.next();
            }
            iterator.status()?;
        }
        Ok(())
    }

    /// Hands over a group's chunks until `visit` says false.
    fn read_group(
        &self,
        day: Day,
        key: &[u8],
        sealed: &[u8],
        visit: &mut dyn FnMut(super::group::GroupEntry<'_>) -> bool,
    ) -> Result<(), StoreError> {
        let first_sid = ChunkKey::decode(key).map_err(corrupt(Family::Chunk, key))?.first_sid;
        self.dataset.read(Family::Chunk, key, sealed, |value| {
            for entry in Group::read(value, day, first_sid)? {
                if !visit(entry?) {
                    break;
                }
            }
            Ok(())
        })
    }

    /// What the flushed sample of a series is at exactly `timestamp_ms`, among chunks of log index `since` or later.
    ///
    /// # Errors
    /// A group or chunk is damaged.
    pub(crate) fn lookup(&self, sid: SeriesId, metric: u32, timestamp_ms: i64, since: u64) -> Result<Option<Content>, StoreError> {
        let mut samples = Samples::default();
        let mut found: Option<(u64, Content)> = None;
        let mut damaged = None;
        self.chunks(sid, metric, timestamp_ms, timestamp_ms, |log_index, chunk| {
            if log_index < since {
                return;
            }
            samples.clear();
            match decode_samples(chunk, &mut samples) {
                Ok(()) => {
                    if let Some(content) = content_at(&samples, timestamp_ms)
                        && found.is_none_or(|(lowest, _)| log_index < lowest)
                    {
                        found = Some((log_index, content));
                    }
                }
                Err(corruption) => damaged = Some(corruption),
            }
        })?;
        match damaged {
            Some(corruption) => Err(self.damaged_chunk(sid, corruption)),
            None => Ok(found.map(|(_, content)| content)),
        }
    }

    /// Time of the latest flushed sample of a series, deleted or not.
    ///
    /// # Errors
    /// A group or chunk is damaged.
    pub fn last_time(&self, sid: SeriesId, metric: u32) -> Result<Option<i64>, StoreError> {
        let days: BTreeSet<Day> = self.manifest.parts.iter().filter(|part| part.kind.has_samples()).map(|part| part.day).collect();
        for day in days.into_iter().rev() {
            let mut last: Option<i64> = None;
            let mut damaged = None;
            self.chunks(sid, metric, day.first_ms(), day.last_ms(), |_, chunk| match crate::chunk::ChunkHeader::read(chunk) {
                Ok(header) => last = last.max(Some(header.last_ms)),
                Err(corruption) => damaged = Some(corruption),
            })?;
            if let Some(corruption) = damaged {
                return Err(self.damaged_chunk(sid, corruption));
            }
            if last.is_some() {
                return Ok(last);
            }
        }
        Ok(None)
    }

    fn damaged_chunk(&self, sid: SeriesId, corruption: crate::error::Corruption) -> StoreError {
        corrupt(Family::Chunk, &SeriesKey { local: self.dataset.local, sid: sid.0 }.encode())(corruption)
    }
}
