//! Series, label names and label values without their samples.

use super::{ReadError, ReadView, TimeRange};
use model::{Labels, Matcher};
use roaring::RoaringBitmap;
use std::ops::ControlFlow;

impl ReadView {
    /// The label sets that match and have a chunk that meets the range, sorted; at most `limit` if it is not 0.
    ///
    /// # Errors
    /// Stored bytes cannot be read.
    pub fn series(&self, matchers: &[Matcher], range: TimeRange, limit: usize) -> Result<Vec<Labels>, ReadError> {
        let range = self.kept(range);
        let in_head = self.in_head_and_range(matchers, range)?;
        let stored = self.store.select(matchers, range.first_ms(), range.to_ms)?;
        let gone = self.gone(&in_head, &stored, range)?;
        let mut found = Vec::new();
        for sid in &((in_head | stored) - gone) {
            found.push(self.labels(sid)?);
        }
        found.sort_unstable();
        found.truncate(if limit == 0 { usize::MAX } else { limit });
        Ok(found)
    }

    /// The label names of the series that match and meet the range, sorted.
    ///
    /// # Errors
    /// Stored bytes cannot be read.
    pub fn label_names(&self, matchers: &[Matcher], range: TimeRange) -> Result<Vec<String>, ReadError> {
        let range = self.kept(range);
        let (in_head, stored) = self.among(matchers, range)?;
        let mut names = self.store.label_names(range.first_ms(), range.to_ms, stored.as_ref())?;
        names.extend(self.shard.index.read().names(Some(&in_head)).map(str::to_owned));
        Ok(names.into_iter().collect())
    }

    /// The values that `name` has on the series that match and meet the range, sorted; at most `limit` if it is not 0.
    ///
    /// # Errors
    /// Stored bytes cannot be read.
    pub fn label_values(&self, name: &str, matchers: &[Matcher], range: TimeRange, limit: usize) -> Result<Vec<String>, ReadError> {
        let range = self.kept(range);
        let (in_head, stored) = self.among(matchers, range)?;
        let mut values = self.store.label_values(name, range.first_ms(), range.to_ms, stored.as_ref())?;
        values.extend(self.shard.index.read().values(name, Some(&in_head)).map(str::to_owned));
        Ok(values.into_iter().take(if limit == 0 { usize::MAX } else { limit }).collect())
    }

    /// The series in the head and the stored ones that match; `None` for the latter if all stored ones do.
    fn among(&self, matchers: &[Matcher], range: TimeRange) -> Result<(RoaringBitmap, Option<RoaringBitmap>), ReadError> {
        let mut in_head = self.in_head_and_range(matchers, range)?;
        if matchers.is_empty() && self.tombstones.meeting(range.first_ms(), range.to_ms).is_empty() {
            return Ok((in_head, None));
        }
        let mut stored = self.store.select(matchers, range.first_ms(), range.to_ms)?;
        let gone = self.gone(&in_head, &stored, range)?;
        in_head -= &gone;
        stored -= gone;
        Ok((in_head, Some(stored)))
    }

    /// Those of the series of which nothing in the range is left, because it was deleted. Only series that a delete meets are read.
    fn gone(&self, in_head: &RoaringBitmap, stored: &RoaringBitmap, range: TimeRange) -> Result<RoaringBitmap, ReadError> {
        let mut touched = RoaringBitmap::new();
        for tombstone in self.tombstones.meeting(range.first_ms(), range.to_ms).iter() {
            touched |= self.matching_in_head(&tombstone.matchers) & in_head;
            touched |= self.store.select(&tombstone.matchers, range.first_ms(), range.to_ms)? & stored;
        }
        let mut gone = touched.clone();
        self.visit(&touched, &(stored & &touched), range, &mut |series| {
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
