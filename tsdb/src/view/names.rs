//! Series, label names and label values without their samples.

mod in_head;

use super::{ReadError, ReadView, TimeRange, Wanted};
use crate::select::{Merged, OneByOne, Postings, names_into, values_into};
use model::labels::METRIC_NAME;
use model::{Labels, Matcher};
use roaring::RoaringBitmap;
use std::ops::ControlFlow;

/// The series that names and values are asked of.
struct Among {
    /// Those in the head; `None` if all match. Only those with a sample in the range count, if `is_checked` does not say that it was
    /// looked at.
    in_head: Option<RoaringBitmap>,
    is_checked: bool,
    /// Those in parts; `None` if all.
    stored: Option<RoaringBitmap>,
}

impl ReadView {
    /// How many series the index gives for matchers: those in the head, and those with samples on a stored day that meets the range.
    ///
    /// # Errors
    /// Stored bytes cannot be read.
    pub fn matching(&self, matchers: &[Matcher], range: TimeRange) -> Result<u64, ReadError> {
        let range = self.kept(range);
        let stored = self.store.select(matchers, range.first_ms(), range.to_ms)?;
        Ok((self.matching_in_head(matchers) | stored).len())
    }

    /// The label sets that match and have a chunk that meets the range, sorted; at most `limit` if it is not 0.
    ///
    /// With a limit, the labels of no more series are read than those of the first metrics that are enough.
    ///
    /// # Errors
    /// Stored bytes cannot be read.
    pub fn series(&self, matchers: &[Matcher], range: TimeRange, limit: usize) -> Result<Vec<Labels>, ReadError> {
        let range = self.kept(range);
        let in_head = self.in_head_and_range(matchers, range)?;
        let stored = self.store.select(matchers, range.first_ms(), range.to_ms)?;
        let gone = self.gone(&in_head, &stored, range)?;
        let mut left = (in_head | stored) - gone;
        let limit = if limit == 0 { usize::MAX } else { limit };
        let mut found = Vec::new();
        if left.len() > limit as u64 {
            self.series_by_metric(&mut left, range, limit, &mut found)?;
        }
        if found.len() < limit {
            self.push_sorted(&left, &mut found)?;
        }
        found.truncate(limit);
        Ok(found)
    }

    /// Moves the series of one metric after another from `left` to `found`, until there are enough: labels sort by metric if no name
    /// sorts before that of the metric.
    fn series_by_metric(&self, left: &mut RoaringBitmap, range: TimeRange, limit: usize, found: &mut Vec<Labels>) -> Result<(), ReadError> {
        let days = (range.first_ms(), range.to_ms);
        let (mut first_name, mut metrics) = (Merged::new(1), Merged::new(0));
        let is_left = |postings: Postings<'_>| postings.intersects(left);
        {
            let index = self.shard.index.read();
            let Ok(()) = names_into(&*index, None, &mut first_name);
            let Ok(()) = values_into(&*index, METRIC_NAME, Some(&is_left), &mut metrics);
        }
        self.store.names_into(days, None, &mut OneByOne::never(), &mut first_name)?;
        if first_name.finish().first().is_none_or(|name| name != METRIC_NAME) {
            return Ok(());
        }
        self.store.values_into(METRIC_NAME, days, Some(&*left), &mut OneByOne::never(), &mut metrics)?;
        for metric in metrics.finish() {
            let of_metric = [Matcher::equal(METRIC_NAME, metric)];
            let sids = (self.matching_in_head(&of_metric) | self.store.select(&of_metric, days.0, days.1)?) & &*left;
            *left -= &sids;
            self.push_sorted(&sids, found)?;
            if found.len() >= limit {
                break;
            }
        }
        Ok(())
    }

    fn push_sorted(&self, sids: &RoaringBitmap, found: &mut Vec<Labels>) -> Result<(), ReadError> {
        let from = found.len();
        for sid in sids {
            found.push(self.labels(sid)?);
        }
        found.get_mut(from..).unwrap_or_default().sort_unstable();
        Ok(())
    }

    /// The label names of the series that match and meet the range, sorted; at most `limit` if it is not 0.
    ///
    /// # Errors
    /// Stored bytes cannot be read.
    pub fn label_names(&self, matchers: &[Matcher], range: TimeRange, limit: usize) -> Result<Vec<String>, ReadError> {
        let range = self.kept(range);
        let among = self.among(matchers, range)?;
        let mut merged = Merged::new(limit);
        let cost_of = |sids: &RoaringBitmap| self.cost_of_labels(sids);
        let mut few = OneByOne::new(&cost_of);
        let told = self.store.names_into((range.first_ms(), range.to_ms), among.stored.as_ref(), &mut few, &mut merged)?;
        few.sids |= self.names_in_head(&among, &told, range, &mut merged)?;
        merged.take(self.names_of(&few.sids)?);
        Ok(merged.finish())
    }

    /// The values that `name` has on the series that match and meet the range, sorted; at most `limit` if it is not 0.
    ///
    /// # Errors
    /// Stored bytes cannot be read.
    pub fn label_values(&self, name: &str, matchers: &[Matcher], range: TimeRange, limit: usize) -> Result<Vec<String>, ReadError> {
        let range = self.kept(range);
        let among = self.among(matchers, range)?;
        let mut merged = Merged::new(limit);
        let cost_of = |sids: &RoaringBitmap| self.cost_of_labels(sids);
        let mut few = OneByOne::new(&cost_of);
        let told = self.store.values_into(name, (range.first_ms(), range.to_ms), among.stored.as_ref(), &mut few, &mut merged)?;
        few.sids |= self.values_in_head(name, &among, &told, range, &mut merged)?;
        merged.take(self.values_of(name, &few.sids)?);
        Ok(merged.finish())
    }

    fn among(&self, matchers: &[Matcher], range: TimeRange) -> Result<Among, ReadError> {
        let is_any_deleted = !self.tombstones.meeting(range.first_ms(), range.to_ms).is_empty();
        if !is_any_deleted {
            let in_head = (!matchers.is_empty()).then(|| self.matching_in_head(matchers));
            let stored = if matchers.is_empty() { None } else { Some(self.store.select(matchers, range.first_ms(), range.to_ms)?) };
            return Ok(Among { in_head, is_checked: false, stored });
        }
        let mut in_head = self.in_head_and_range(matchers, range)?;
        let mut stored = self.store.select(matchers, range.first_ms(), range.to_ms)?;
        let gone = self.gone(&in_head, &stored, range)?;
        in_head -= &gone;
        stored -= gone;
        Ok(Among { in_head: Some(in_head), is_checked: true, stored: Some(stored) })
    }

    /// Those of the series of which nothing in the range is left, because it was deleted. Only series that a delete meets are read.
    fn gone(&self, in_head: &RoaringBitmap, stored: &RoaringBitmap, range: TimeRange) -> Result<RoaringBitmap, ReadError> {
        let mut touched = RoaringBitmap::new();
        for tombstone in self.tombstones.meeting(range.first_ms(), range.to_ms).iter() {
            touched |= self.matching_in_head(&tombstone.matchers) & in_head;
            touched |= self.store.select(&tombstone.matchers, range.first_ms(), range.to_ms)? & stored;
        }
        let mut gone = touched.clone();
        self.visit(&touched, &(stored & &touched), Wanted { range, newest_only: true }, &mut |series| {
            gone.remove(series.sid);
            ControlFlow::Continue(())
        })?;
        Ok(gone)
    }

    fn in_head_and_range(&self, matchers: &[Matcher], range: TimeRange) -> Result<RoaringBitmap, ReadError> {
        let matching = self.matching_in_head(matchers);
        let head = self.head()?;
        let meets = |sid: &u32| {
            let line = head.slot_of_sid(*sid).and_then(|slot| head.line(slot));
            line.is_some_and(|line| line.overlaps(range.after_ms, range.to_ms))
        };
        Ok(matching.iter().filter(meets).collect())
    }
}
