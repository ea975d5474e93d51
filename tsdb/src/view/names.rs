//! Series, label names and label values without their samples.

use super::{ReadError, ReadView, TimeRange};
use model::{Labels, Matcher};
use roaring::RoaringBitmap;

impl ReadView {
    /// The label sets that match and have a chunk that meets the range, sorted; at most `limit` if it is not 0.
    ///
    /// # Errors
    /// Stored bytes cannot be read.
    pub fn series(&self, matchers: &[Matcher], range: TimeRange, limit: usize) -> Result<Vec<Labels>, ReadError> {
        let in_head = self.in_head_and_range(matchers, range)?;
        let stored = self.store.select(matchers, range.first_ms(), range.to_ms)?;
        let mut found = Vec::new();
        for sid in &(in_head | stored) {
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
        let stored = self.stored_among(matchers, range)?;
        let mut names = self.store.label_names(range.first_ms(), range.to_ms, stored.as_ref())?;
        let in_head = self.in_head_and_range(matchers, range)?;
        names.extend(self.shard.index.read().names(Some(&in_head)).map(str::to_owned));
        Ok(names.into_iter().collect())
    }

    /// The values that `name` has on the series that match and meet the range, sorted; at most `limit` if it is not 0.
    ///
    /// # Errors
    /// Stored bytes cannot be read.
    pub fn label_values(&self, name: &str, matchers: &[Matcher], range: TimeRange, limit: usize) -> Result<Vec<String>, ReadError> {
        let stored = self.stored_among(matchers, range)?;
        let mut values = self.store.label_values(name, range.first_ms(), range.to_ms, stored.as_ref())?;
        let in_head = self.in_head_and_range(matchers, range)?;
        values.extend(self.shard.index.read().values(name, Some(&in_head)).map(str::to_owned));
        Ok(values.into_iter().take(if limit == 0 { usize::MAX } else { limit }).collect())
    }

    /// The stored series that match; `None` if there is nothing to match.
    fn stored_among(&self, matchers: &[Matcher], range: TimeRange) -> Result<Option<RoaringBitmap>, ReadError> {
        if matchers.is_empty() {
            return Ok(None);
        }
        Ok(Some(self.store.select(matchers, range.first_ms(), range.to_ms)?))
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
