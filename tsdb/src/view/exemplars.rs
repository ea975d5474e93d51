//! Exemplars of selected series.

use super::{ReadError, ReadView, TimeRange};
use crate::record::Exemplar;
use crate::state::StoredExemplar;
use model::{Labels, Matcher};
use std::collections::BTreeMap;

impl ReadView {
    /// Visits the series that any of `matcher_sets` selects and that have exemplars in the range, with these in the order written.
    ///
    /// It reads the shard as it is now. O(exemplars of the shard).
    ///
    /// # Errors
    /// Labels of a series that left the head cannot be read.
    pub fn exemplars(
        &self,
        matcher_sets: &[Vec<Matcher>],
        range: TimeRange,
        mut visit: impl FnMut(&Labels, &[Exemplar<'_>]),
    ) -> Result<(), ReadError> {
        let exemplars = std::sync::Arc::clone(&self.shard.replicated.lock().exemplars);
        let mut by_series: BTreeMap<u32, Vec<Exemplar<'_>>> = BTreeMap::new();
        let in_range = |e: &&StoredExemplar| e.timestamp_ms > range.after_ms && e.timestamp_ms <= range.to_ms;
        for StoredExemplar { sid, timestamp_ms, bits, labels } in exemplars.iter().filter(in_range) {
            let exemplar = Exemplar { timestamp_ms: *timestamp_ms, value: f64::from_bits(*bits), labels };
            by_series.entry(*sid).or_default().push(exemplar);
        }
        for (sid, found) in by_series {
            let labels = match self.labels(sid) {
                // All samples of the series are gone by retention.
                Err(ReadError::NoRecord { .. }) => continue,
                other => other?,
            };
            if matcher_sets.iter().any(|set| set.iter().all(|matcher| matcher.matches_labels(&labels))) {
                visit(&labels, &found);
            }
        }
        Ok(())
    }
}
