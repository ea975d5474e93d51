//! Deletes that are not yet carried out on disk (`core.md` C14).
//!
//! A delete hides what entries before it wrote, and nothing that comes later: apply cuts the chunks of the series it meets, so a
//! chunk lies wholly before or wholly after it, and the chunk's log index tells which.

use crate::entry::{put_matchers, read_matchers};
use crate::error::Corruption;
use crate::record::Record;
use crate::wire::{Reader, put_varint};
use model::{Labels, Matcher, Timestamp};
use std::sync::Arc;

/// One delete of the series that satisfy all matchers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tombstone {
    pub(crate) matchers: Vec<Matcher>,
    /// First timestamp deleted.
    pub(crate) first_ms: Timestamp,
    /// Last timestamp deleted; not later than the last that was there.
    pub(crate) last_ms: Timestamp,
    /// The delete's place in the log.
    pub(crate) log_index: u64,
    /// Entry time of the delete.
    pub(crate) time_ms: Timestamp,
}

impl Tombstone {
    pub(crate) fn meets(&self, first_ms: Timestamp, last_ms: Timestamp) -> bool {
        self.first_ms <= last_ms && first_ms <= self.last_ms
    }

    fn covers(&self, labels: &Labels) -> bool {
        self.matchers.iter().all(|matcher| matcher.matches_labels(labels))
    }

    /// Appends what [`Tombstone::read`] reads.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        let Self { matchers, first_ms, last_ms, log_index, time_ms } = self;
        for ms in [first_ms, last_ms, time_ms] {
            out.extend_from_slice(&ms.to_le_bytes());
        }
        put_varint(out, *log_index);
        put_matchers(out, matchers);
    }

    /// Takes what [`Tombstone::write`] wrote.
    pub(crate) fn read(r: &mut Reader<'_>) -> Result<Self, Corruption> {
        let mut ms = || r.array().map(i64::from_le_bytes);
        let (first_ms, last_ms, time_ms) = (ms()?, ms()?, ms()?);
        Ok(Self { first_ms, last_ms, time_ms, log_index: r.varint()?, matchers: read_matchers(r)? })
    }
}

/// The deletes in force, in the order of the log; cheap to clone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tombstones(Arc<Vec<Tombstone>>);

impl Tombstones {
    pub(crate) fn iter(&self) -> std::slice::Iter<'_, Tombstone> {
        self.0.iter()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn push(&mut self, tombstone: Tombstone) {
        Arc::make_mut(&mut self.0).push(tombstone);
    }

    pub(crate) fn retain(&mut self, keep: impl FnMut(&Tombstone) -> bool) {
        Arc::make_mut(&mut self.0).retain(keep);
    }

    /// Those that may hide something from `first_ms` to `last_ms`, both included.
    pub(crate) fn meeting(&self, first_ms: Timestamp, last_ms: Timestamp) -> Self {
        if self.iter().all(|tombstone| tombstone.meets(first_ms, last_ms)) {
            return self.clone();
        }
        Self(Arc::new(self.iter().filter(|tombstone| tombstone.meets(first_ms, last_ms)).cloned().collect()))
    }

    /// Those of entries up to `log_index`.
    pub(crate) fn up_to(&self, log_index: u64) -> Self {
        if self.iter().all(|tombstone| tombstone.log_index <= log_index) {
            return self.clone();
        }
        Self(Arc::new(self.iter().filter(|tombstone| tombstone.log_index <= log_index).cloned().collect()))
    }

    /// Whether a delete lies between two entries.
    pub(crate) fn separate(&self, a: u64, b: u64) -> bool {
        self.iter().any(|tombstone| (a <= tombstone.log_index) != (b <= tombstone.log_index))
    }

    /// What is deleted of the series with these labels.
    pub(crate) fn of(&self, labels: &Labels) -> Deleted {
        let spans = self.iter().filter(|tombstone| tombstone.covers(labels));
        Deleted(spans.map(|tombstone| (tombstone.first_ms, tombstone.last_ms, tombstone.log_index)).collect())
    }
}

/// The spans deleted of one series, each with the log index of its delete.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Deleted(Vec<(Timestamp, Timestamp, u64)>);

impl Deleted {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The log index before which everything written at `t` is deleted; 0 if nothing is.
    pub(crate) fn before(&self, t: Timestamp) -> u64 {
        self.0.iter().filter(|(first, last, _)| *first <= t && t <= *last).map(|(.., index)| *index).max().unwrap_or(0)
    }

    /// Takes the deleted samples out of those from `from` on, which one chunk with this log index held; gives the latest of them.
    pub(crate) fn cut(&self, log_index: u64, from: usize, ts: &mut Vec<Timestamp>, values: &mut Vec<f64>) -> Option<Timestamp> {
        if self.0.iter().all(|(.., index)| *index <= log_index) {
            return None;
        }
        let (mut kept, mut latest) = (from, None);
        for at in from..ts.len() {
            let t = ts[at];
            if self.before(t) > log_index {
                latest = latest.max(Some(t));
                continue;
            }
            ts[kept] = t;
            values[kept] = values[at];
            kept += 1;
        }
        ts.truncate(kept);
        values.truncate(kept);
        latest
    }

    /// As [`Deleted::cut`], of records.
    pub(crate) fn cut_records(&self, log_index: u64, from: usize, records: &mut Vec<Record>) -> Option<Timestamp> {
        let is_deleted = |record: &Record| self.before(record.timestamp_ms) > log_index;
        let latest = records[from..].iter().filter(|record| is_deleted(record)).map(|record| record.timestamp_ms).max();
        if latest.is_some() {
            let kept: Vec<Record> = records.drain(from..).filter(|record| !is_deleted(record)).collect();
            records.extend(kept);
        }
        latest
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::MatchOp;

    fn tombstone(first_ms: i64, last_ms: i64, log_index: u64) -> Tombstone {
        let matchers = vec![Matcher::equal("__name__", "up"), Matcher::new("job", MatchOp::NotRegex, "a|b.*").unwrap()];
        Tombstone { matchers, first_ms, last_ms, log_index, time_ms: 7 }
    }

    #[test]
    fn c14_tombstone_survives_its_encoding_and_cut_bytes_are_refused() {
        let written = tombstone(-5, i64::MAX, 300);
        let mut bytes = Vec::new();
        written.write(&mut bytes);
        let mut reader = Reader::new(&bytes);
        assert_eq!(Tombstone::read(&mut reader).unwrap(), written);
        assert!(reader.rest().is_empty());
        for cut in 0..bytes.len() {
            assert!(Tombstone::read(&mut Reader::new(&bytes[..cut])).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn c14_delete_hides_what_was_written_before_it_and_only_inside_its_interval() {
        let mut tombstones = Tombstones::default();
        tombstones.push(tombstone(10, 20, 5));
        tombstones.push(tombstone(15, 30, 9));
        assert!(tombstones.of(&Labels::from_pairs([("__name__", "up"), ("job", "b1")])).is_empty());
        let deleted = tombstones.of(&Labels::from_pairs([("__name__", "up"), ("job", "c")]));
        assert_eq!([9, 10, 15, 21, 31].map(|t| deleted.before(t)), [0, 5, 9, 9, 0]);
        let cut = |log_index| {
            let (mut ts, mut values) = (vec![1, 9, 10, 15, 21, 31], vec![0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
            let latest = deleted.cut(log_index, 1, &mut ts, &mut values);
            assert_eq!(values.len(), ts.len());
            (ts, latest)
        };
        assert_eq!(cut(4), (vec![1, 9, 31], Some(21)));
        assert_eq!(cut(5), (vec![1, 9, 10, 31], Some(21)));
        assert_eq!(cut(9), (vec![1, 9, 10, 15, 21, 31], None));
        assert_eq!(tombstones.meeting(21, 40).len(), 1);
        assert_eq!(tombstones.up_to(5).len(), 1);
    }
}
