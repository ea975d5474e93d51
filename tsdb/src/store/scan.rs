//! Reading the pages of listed parts.

use super::group::Group;
use super::manifest::{Day, Part};
use super::view::StoreView;
use crate::chunk::{PageCoder, Samples};
use crate::db::corrupt;
use crate::error::{Corruption, StoreError};
use crate::head::content_at;
use crate::keys::{ChunkKey, Family, SeriesKey};
use crate::record::Content;
use model::SeriesId;
use roaring::RoaringBitmap;
use rocksdb::DBRawIterator;
use std::collections::BTreeSet;

/// Series up to which one seek each beats a scan of their metric.
const SEEK_SERIES_MAX: u64 = 8;

/// A page as it is stored, for [`PageCoder`].
#[derive(Clone, Copy, Debug)]
pub struct StoredPage<'a> {
    /// Whose samples.
    pub sid: SeriesId,
    /// Lowest log index of the entries that wrote them.
    pub log_index: u64,
    /// Number of samples.
    pub count: usize,
    /// Time of the first sample, milliseconds.
    pub first_ms: i64,
    /// Time of the last sample, milliseconds.
    pub last_ms: i64,
    /// The column of times; pages of one group share columns.
    pub times: &'a [u8],
    /// Number of the column within the group. A page whose number is zero may begin another group.
    pub column: usize,
    /// Number of the group within the read.
    pub group: u32,
    /// The values.
    pub values: &'a [u8],
}

/// Takes pages until it says false.
type Visit<'v> = &'v mut dyn FnMut(StoredPage<'_>) -> bool;

/// Range of time and count of groups of one read.
struct Walk {
    start_ms: i64,
    end_ms: i64,
    groups: u32,
}

impl StoreView {
    /// Hands over the pages of one series that meet `start_ms..=end_ms`; those of a part by time, parts by day and number. Where pages
    /// overlap, the sample of the lowest log index counts.
    ///
    /// # Errors
    /// A group is damaged. The pages themselves are not looked into.
    pub fn pages_of(
        &self,
        sid: SeriesId,
        metric: u32,
        start_ms: i64,
        end_ms: i64,
        mut visit: impl FnMut(StoredPage<'_>),
    ) -> Result<(), StoreError> {
        let mut walk = Walk { start_ms, end_ms, groups: 0 };
        for part in self.manifest.parts_in(Family::Chunk, start_ms, end_ms) {
            self.pages_of_part(part?, sid, metric, &mut walk, &mut visit)?;
        }
        Ok(())
    }

    fn pages_of_part(
        &self,
        part: &Part,
        sid: SeriesId,
        metric: u32,
        walk: &mut Walk,
        visit: &mut dyn FnMut(StoredPage<'_>),
    ) -> Result<(), StoreError> {
        let key = ChunkKey { day: part.day.0, local: self.dataset.local, metric, part: part.id, first_sid: sid.0 }.encode();
        let prefix = key.get(..16).unwrap_or_default();
        let mut iterator = self.dataset.iterate(Family::Chunk, prefix, true);
        iterator.seek_for_prev(key);
        if let Some((key, sealed)) = iterator.item() {
            self.read_group(part.day, key, sealed, walk, &mut |page| {
                if page.sid == sid {
                    visit(page);
                }
                page.sid <= sid
            })?;
        }
        Ok(iterator.status()?)
    }

    /// Hands over the pages of many series of one metric, as [`StoreView::pages_of`] does, reading each group once.
    ///
    /// # Errors
    /// See [`StoreView::pages_of`].
    pub fn scan(
        &self,
        sids: &RoaringBitmap,
        metric: u32,
        start_ms: i64,
        end_ms: i64,
        visit: impl FnMut(StoredPage<'_>),
    ) -> Result<(), StoreError> {
        self.scan_metrics([(metric, sids)].into_iter(), start_ms, end_ms, visit)
    }

    /// As [`StoreView::scan`], of several metrics, each once: part by part, in each metric by metric.
    ///
    /// # Errors
    /// See [`StoreView::pages_of`].
    pub fn scan_metrics<'s>(
        &self,
        wanted: impl Iterator<Item = (u32, &'s RoaringBitmap)> + Clone,
        start_ms: i64,
        end_ms: i64,
        mut visit: impl FnMut(StoredPage<'_>),
    ) -> Result<(), StoreError> {
        let mut walk = Walk { start_ms, end_ms, groups: 0 };
        for part in self.manifest.parts_in(Family::Chunk, start_ms, end_ms) {
            let part = part?;
            // One iterator for all metrics: making one takes longer than a seek.
            let of_day = [&part.day.0.to_be_bytes()[..], &self.dataset.local.to_be_bytes()].concat();
            let mut iterator = self.dataset.iterate(Family::Chunk, &of_day, true);
            for (metric, sids) in wanted.clone() {
                self.scan_part(&mut iterator, (part, metric), sids, &mut walk, &mut visit)?;
            }
        }
        Ok(())
    }

    fn scan_part(
        &self,
        iterator: &mut DBRawIterator<'_>,
        (part, metric): (&Part, u32),
        sids: &RoaringBitmap,
        walk: &mut Walk,
        visit: &mut dyn FnMut(StoredPage<'_>),
    ) -> Result<(), StoreError> {
        let key = |sid| ChunkKey { day: part.day.0, local: self.dataset.local, metric, part: part.id, first_sid: sid }.encode();
        let prefix = key(0);
        let prefix = prefix.get(..16).unwrap_or_default();
        let is_of_part = |iterator: &DBRawIterator<'_>| iterator.key().is_some_and(|key| key.starts_with(prefix));
        let (few, Some(last)) = (sids.len() <= SEEK_SERIES_MAX, sids.max()) else { return Ok(()) };
        let mut next = sids.min();
        while let Some(sid) = next {
            iterator.seek_for_prev(key(sid));
            if !is_of_part(iterator) {
                // A block that cannot be read is not the lack of an earlier group.
                iterator.status()?;
                iterator.seek(key(sid));
            }
            loop {
                let Some((key, sealed)) = iterator.item().filter(|(key, _)| key.starts_with(prefix)) else {
                    return Ok(iterator.status()?);
                };
                if ChunkKey::decode(key).map_err(corrupt(Family::Chunk, key))?.first_sid > last {
                    return Ok(());
                }
                let end_sid = self.read_group(part.day, key, sealed, walk, &mut |page| {
                    if sids.contains(page.sid.0) {
                        visit(page);
                    }
                    page.sid.0 <= last
                })?;
                if end_sid >= last {
                    return Ok(());
                }
                if few {
                    // A series of which this part has nothing lies behind the group, too.
                    next = sids.iter().find(|other| *other > end_sid.max(sid));
                    break;
                }
                iterator.next();
            }
        }
        Ok(())
    }

    /// Hands over the pages of a group that meet the range, until `visit` says false; gives the last series that was looked at.
    fn read_group(&self, day: Day, key: &[u8], sealed: &[u8], walk: &mut Walk, visit: Visit<'_>) -> Result<u32, StoreError> {
        let first_sid = ChunkKey::decode(key).map_err(corrupt(Family::Chunk, key))?.first_sid;
        let number = walk.groups;
        walk.groups += 1;
        self.dataset.read(Family::Chunk, key, sealed, |value| {
            let mut group = Group::read(value, day, first_sid)?;
            let mut end_sid = first_sid;
            while let Some(entry) = group.next_entry()? {
                end_sid = entry.sid;
                let Some(times) = group.times().get(entry.times) else { continue };
                if times.first_ms > walk.end_ms || times.last_ms < walk.start_ms {
                    continue;
                }
                let page = StoredPage {
                    sid: SeriesId(entry.sid),
                    log_index: entry.log_index,
                    count: times.count,
                    first_ms: times.first_ms,
                    last_ms: times.last_ms,
                    times: times.bytes,
                    column: entry.times,
                    group: number,
                    values: entry.values,
                };
                if !visit(page) {
                    break;
                }
            }
            Ok(end_sid)
        })
    }

    /// What the flushed sample of a series is at exactly `timestamp_ms`, among pages of log index `since` or later.
    ///
    /// # Errors
    /// A group or page is damaged.
    pub(crate) fn lookup(&self, sid: SeriesId, metric: u32, timestamp_ms: i64, since: u64) -> Result<Option<Content>, StoreError> {
        let mut coder = PageCoder::default();
        let mut found: Option<(u64, Content)> = None;
        let mut damaged = None;
        self.pages_of(sid, metric, timestamp_ms, timestamp_ms, |page| {
            if page.log_index < since {
                return;
            }
            match page_content_at(&mut coder, &page, timestamp_ms) {
                Ok(Some(content)) if found.is_none_or(|(lowest, _)| page.log_index < lowest) => found = Some((page.log_index, content)),
                Ok(_) => {}
                Err(corruption) => damaged = Some(corruption),
            }
        })?;
        match damaged {
            Some(corruption) => Err(self.damaged_page(sid, corruption)),
            None => Ok(found.map(|(_, content)| content)),
        }
    }

    /// Time of the latest flushed sample of a series, deleted or not.
    ///
    /// # Errors
    /// A group is damaged.
    pub fn last_time(&self, sid: SeriesId, metric: u32) -> Result<Option<i64>, StoreError> {
        let days: BTreeSet<Day> = self.manifest.parts.iter().filter(|part| part.kind.has_samples()).map(|part| part.day).collect();
        for day in days.into_iter().rev() {
            let mut last: Option<i64> = None;
            self.pages_of(sid, metric, day.first_ms(), day.last_ms(), |page| last = last.max(Some(page.last_ms)))?;
            if last.is_some() {
                return Ok(last);
            }
        }
        Ok(None)
    }

    fn damaged_page(&self, sid: SeriesId, corruption: Corruption) -> StoreError {
        corrupt(Family::Chunk, &SeriesKey { local: self.dataset.local, sid: sid.0 }.encode())(corruption)
    }
}

/// What the page has at `timestamp_ms`.
fn page_content_at(coder: &mut PageCoder, page: &StoredPage<'_>, timestamp_ms: i64) -> Result<Option<Content>, Corruption> {
    let mut times = Vec::new();
    coder.decode_times(page.times, page.count, &mut times)?;
    if times.binary_search(&timestamp_ms).is_err() {
        return Ok(None);
    }
    let mut samples = Samples::default();
    coder.decode_samples(&times, page.values, &mut samples)?;
    Ok(content_at(&samples, timestamp_ms))
}
