//! The newest exemplars of a shard, as Prometheus's circular buffer holds them: bounded, the oldest written goes first.

use crate::error::Corruption;
use crate::record::Exemplar;
use crate::rows::walk_labels;
use crate::wire::{Reader, put_bytes, put_varint, put_zigzag};
use model::Timestamp;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// Runes of all label names and values of an exemplar, as in Prometheus (`ExemplarMaxLabelSetLength`).
pub(crate) const LABEL_RUNES_MAX: usize = 128;

/// A stored exemplar.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct StoredExemplar {
    pub(crate) sid: u32,
    pub(crate) timestamp_ms: Timestamp,
    pub(crate) bits: u64,
    /// Encoded label region.
    pub(crate) labels: Arc<[u8]>,
}

/// What became of an exemplar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stored {
    /// It is there now.
    Added,
    /// It is the newest of its series already.
    Unchanged,
    /// It comes before the newest of its series.
    OutOfOrder,
    /// Its labels are too long.
    TooLong,
}

/// Exemplars in the order they were written.
#[derive(Clone, Debug, Default)]
pub(crate) struct Exemplars {
    ring: VecDeque<StoredExemplar>,
    /// Number of the first in `ring`.
    first: u64,
    /// Number of the newest exemplar of each series that has one.
    newest: BTreeMap<u32, u64>,
}

impl Exemplars {
    /// Takes an exemplar of series `sid`; at most `max` are kept.
    pub(crate) fn add(&mut self, sid: u32, exemplar: &Exemplar<'_>, max: usize) -> Stored {
        let outcome = self.judge(sid, exemplar);
        if outcome == Stored::Added && max > 0 {
            let Exemplar { timestamp_ms, value, labels } = *exemplar;
            self.push(StoredExemplar { sid, timestamp_ms, bits: value.to_bits(), labels: labels.into() });
            self.shrink(max);
        }
        outcome
    }

    /// Whether adding the exemplar would change anything.
    pub(crate) fn judge(&self, sid: u32, exemplar: &Exemplar<'_>) -> Stored {
        let Exemplar { timestamp_ms, value, labels } = *exemplar;
        if label_runes(labels) > LABEL_RUNES_MAX {
            return Stored::TooLong;
        }
        let newest = self.newest.get(&sid).and_then(|number| self.ring.get((number - self.first) as usize));
        let Some(newest) = newest else { return Stored::Added };
        let stored = f64::from_bits(newest.bits);
        if (newest.timestamp_ms, newest.bits, &*newest.labels) == (timestamp_ms, value.to_bits(), labels) {
            return Stored::Unchanged;
        }
        // Several at one time are sent in the order of value, then labels, so what does not go up is a duplicate or late.
        let is_late = timestamp_ms < newest.timestamp_ms
            || (timestamp_ms == newest.timestamp_ms && (value < stored || (value == stored && *labels < *newest.labels)));
        if is_late { Stored::OutOfOrder } else { Stored::Added }
    }

    fn push(&mut self, exemplar: StoredExemplar) {
        self.newest.insert(exemplar.sid, self.first + self.ring.len() as u64);
        self.ring.push_back(exemplar);
    }

    /// Lets go of the oldest beyond `max`.
    pub(crate) fn shrink(&mut self, max: usize) {
        while self.ring.len() > max {
            let Some(oldest) = self.ring.pop_front() else { return };
            if self.newest.get(&oldest.sid) == Some(&self.first) {
                self.newest.remove(&oldest.sid);
            }
            self.first += 1;
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &StoredExemplar> {
        self.ring.iter()
    }

    /// Each exemplar as a record of its own, in order.
    pub(crate) fn write(&self, mut record: impl FnMut(&[u8])) {
        let Self { ring, first: _, newest: _ } = self;
        let mut out = Vec::new();
        for StoredExemplar { sid, timestamp_ms, bits, labels } in ring {
            out.clear();
            put_varint(&mut out, u64::from(*sid));
            put_zigzag(&mut out, *timestamp_ms);
            out.extend_from_slice(&bits.to_le_bytes());
            put_bytes(&mut out, labels);
            record(&out);
        }
    }

    /// Reads one record that [`Exemplars::write`] gave, after those before it.
    pub(crate) fn read(&mut self, r: &mut Reader<'_>) -> Result<(), Corruption> {
        let (sid, timestamp_ms, bits) = (r.varint_u32()?, r.zigzag()?, r.u64_le()?);
        self.push(StoredExemplar { sid, timestamp_ms, bits, labels: r.bytes()?.into() });
        Ok(())
    }
}

/// Runes of names and values; more than any bound for what cannot be read.
pub(crate) fn label_runes(labels: &[u8]) -> usize {
    let mut runes = 0;
    let counted = walk_labels(labels, |name, value| runes += rune_count(name) + rune_count(value));
    if counted.is_err() { usize::MAX } else { runes }
}

/// Begins of characters; the bytes are UTF-8.
fn rune_count(text: &[u8]) -> usize {
    text.iter().filter(|byte| **byte & 0xc0 != 0x80).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::push_label;

    fn labels(value: &str) -> Vec<u8> {
        let mut out = Vec::new();
        push_label(&mut out, b"trace_id", value.as_bytes());
        out
    }

    fn exemplar(timestamp_ms: i64, value: f64, labels: &[u8]) -> Exemplar<'_> {
        Exemplar { timestamp_ms, value, labels }
    }

    #[test]
    fn the_newest_again_changes_nothing_and_what_comes_late_is_refused() {
        let (a, b) = (labels("a"), labels("b"));
        let mut exemplars = Exemplars::default();
        for (sid, given, expected) in [
            (1, exemplar(10, 1.0, &a), Stored::Added),
            (1, exemplar(10, 1.0, &a), Stored::Unchanged),
            (1, exemplar(10, 0.5, &a), Stored::OutOfOrder),
            (1, exemplar(9, 9.0, &a), Stored::OutOfOrder),
            (1, exemplar(10, 1.0, &b), Stored::Added),
            (1, exemplar(10, 1.0, &a), Stored::OutOfOrder),
            (1, exemplar(10, 2.0, &a), Stored::Added),
            (2, exemplar(9, 9.0, &a), Stored::Added),
            (1, exemplar(11, 0.0, &labels(&"ä".repeat(120))), Stored::Added),
            (1, exemplar(12, 0.0, &labels(&"ä".repeat(121))), Stored::TooLong),
            (1, exemplar(12, 0.0, &[5]), Stored::TooLong),
        ] {
            assert_eq!(exemplars.add(sid, &given, 100), expected, "{given:?}");
        }
    }

    #[test]
    fn the_oldest_go_first_and_everything_comes_back() {
        let a = labels("a");
        let mut exemplars = Exemplars::default();
        for n in 0..10 {
            assert_eq!(exemplars.add(n % 3, &exemplar(i64::from(n), 0.0, &a), 4), Stored::Added);
        }
        assert_eq!(exemplars.iter().map(|e| e.timestamp_ms).collect::<Vec<_>>(), [6, 7, 8, 9]);
        let mut bytes = Vec::new();
        exemplars.write(|record| bytes.extend_from_slice(record));
        let (mut again, mut reader) = (Exemplars::default(), Reader::new(&bytes));
        while !reader.rest().is_empty() {
            again.read(&mut reader).unwrap();
        }
        assert!(again.iter().eq(exemplars.iter()));
        for sid in 0..3 {
            for t in 0..12 {
                assert_eq!(again.judge(sid, &exemplar(t, 0.0, &a)), exemplars.judge(sid, &exemplar(t, 0.0, &a)));
            }
        }
        exemplars.shrink(1);
        assert_eq!(exemplars.judge(1, &exemplar(0, 0.0, &a)), Stored::Added, "nothing of this series is left");
        assert_eq!(exemplars.add(7, &exemplar(1, 0.0, &a), 0), Stored::Added);
        assert_eq!(exemplars.iter().count(), 1, "without room nothing is kept");
    }
}
