//! Whether all replicas hold the same of a day that is over: the leader writes its hash into the log, every replica compares.

use super::Shard;
use crate::entry::DayDigest;
use crate::metrics;
use crate::stats::series_digest;
use crate::store::{Day, PartKind};
use crate::view::{ReadError, TimeRange};
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

/// Days whose hashes are kept in mind; older ones were compared long ago.
const DAYS_MAX: usize = 16;

/// The hashes that the log named, by day, and whether they were compared.
#[derive(Debug, Default)]
pub(super) struct Digests(BTreeMap<u16, (DayDigest, bool)>);

/// What a comparison came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DigestCheck {
    /// This replica holds the same.
    Same,
    /// This replica holds something else: it, or the one that led, is wrong. Counted as a broken rule.
    Different,
    /// The day changed meanwhile, or this replica cannot tell whether it did.
    Unknown,
}

impl Shard {
    /// The day of which the leader should write the hash into the log: the last that is over and in its final form, once.
    #[must_use]
    pub fn wants_day_digest(&self) -> Option<Day> {
        let view = self.store().view();
        let parts = || view.parts().iter().filter(|part| part.kind.has_samples());
        let day = parts().map(|part| part.day).rfind(|day| self.is_over(*day, self.time_ms()))?;
        let is_final = parts().filter(|part| part.day == day).all(|part| part.kind == PartKind::Day);
        (is_final && !self.digests.lock().0.contains_key(&day.0)).then_some(day)
    }

    /// Hashes what this replica holds of a day; none if the day changed meanwhile. Reads all of the day.
    ///
    /// # Errors
    /// Stored bytes cannot be read.
    pub fn day_digest(self: &Arc<Self>, day: Day) -> Result<Option<DayDigest>, ReadError> {
        let at_index = self.applied().map_or(0, |point| point.index);
        let digest = self.hash_day(day)?;
        Ok(self.is_unchanged_since(day, at_index).then_some(DayDigest { day: day.0, at_index, digest }))
    }

    fn hash_day(self: &Arc<Self>, day: Day) -> Result<u64, ReadError> {
        let mut digest = 0u64;
        self.read_view().select(&[], range_of(day), |series| {
            digest = digest.wrapping_add(series_digest(&series));
            ControlFlow::Continue(())
        })?;
        Ok(digest)
    }

    /// Whether no entry after `index` changed the day, as far as this replica knows.
    fn is_unchanged_since(&self, day: Day, index: u64) -> bool {
        let range = range_of(day);
        self.changes(range).last_in(range) <= index
    }

    pub(super) fn expect_digest(&self, digest: DayDigest) {
        let Digests(days) = &mut *self.digests.lock();
        days.insert(digest.day, (digest, false));
        while days.len() > DAYS_MAX {
            days.pop_first();
        }
    }

    /// Whether the log names a hash that this replica has not compared with its own.
    #[must_use]
    pub fn wants_digest_check(&self) -> bool {
        self.digests.lock().0.values().any(|(_, is_checked)| !is_checked)
    }

    /// Compares one hash that the log names with what this replica holds; none if all are compared. Reads all of a day.
    ///
    /// # Errors
    /// Stored bytes cannot be read.
    pub fn check_digest(self: &Arc<Self>) -> Result<Option<DigestCheck>, ReadError> {
        let next = self.digests.lock().0.values().find(|(_, is_checked)| !is_checked).map(|(digest, _)| *digest);
        let Some(expected) = next else { return Ok(None) };
        let day = Day(expected.day);
        let found = self.hash_day(day)?;
        let check = if found == expected.digest {
            DigestCheck::Same
        } else if self.is_unchanged_since(day, expected.at_index) {
            metrics::count_violation("C1");
            let DayDigest { at_index, digest, .. } = expected;
            tracing::error!(shard = %self.id, day = day.0, at_index, leader = digest, own = found, "replicas hold different samples of a day");
            DigestCheck::Different
        } else {
            DigestCheck::Unknown
        };
        if let Some((known, is_checked)) = self.digests.lock().0.get_mut(&day.0) {
            *is_checked |= *known == expected;
        }
        Ok(Some(check))
    }
}

fn range_of(day: Day) -> TimeRange {
    TimeRange { after_ms: day.first_ms().saturating_sub(1), to_ms: day.last_ms() }
}
