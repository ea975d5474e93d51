//! Verdicts of recent parts, so that a part that comes again is answered as the first time.

use crate::entry::PartKey;
use crate::error::Corruption;
use crate::verdict::PartVerdict;
use crate::wire::{Reader, put_bytes};
use model::Timestamp;
use model::planted::{self, Bug};
use std::collections::{BTreeMap, VecDeque};

/// Entry time for which a verdict is kept: twice the time a router may retry.
pub(crate) const KEEP_MS: i64 = 2 * 10_000;

/// Bytes of verdicts kept, whatever their age; reached only by floods of refused samples with long labels.
const BYTES_MAX: usize = 32 << 20;

/// Final verdicts by part, oldest first.
#[derive(Clone, Debug, Default)]
pub(crate) struct BatchRing {
    order: VecDeque<(Timestamp, PartKey)>,
    verdicts: BTreeMap<PartKey, PartVerdict>,
    bytes: usize,
}

fn bytes_of(verdict: &PartVerdict) -> usize {
    2 * size_of::<PartKey>() + size_of::<PartVerdict>() + verdict.first_error.as_ref().map_or(0, |error| error.labels.len())
}

impl BatchRing {
    /// Forgets verdicts older than [`KEEP_MS`].
    pub(crate) fn expire(&mut self, now_ms: Timestamp) {
        while self.order.front().is_some_and(|(since, _)| *since < now_ms.saturating_sub(KEEP_MS)) {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        let forgotten = self.order.pop_front().and_then(|(_, key)| self.verdicts.remove(&key));
        self.bytes -= forgotten.as_ref().map_or(0, bytes_of);
    }

    /// The verdict the part got the first time.
    pub(crate) fn get(&self, key: &PartKey) -> Option<&PartVerdict> {
        self.verdicts.get(key)
    }

    /// Keeps a verdict if it is final; one that asks the router to send again must be judged again.
    pub(crate) fn put(&mut self, now_ms: Timestamp, key: PartKey, verdict: &PartVerdict) {
        if !(verdict.is_final() || planted::is(Bug::StaleVerdictKept)) || self.verdicts.contains_key(&key) {
            return;
        }
        self.bytes += bytes_of(verdict);
        self.verdicts.insert(key, verdict.clone());
        self.order.push_back((now_ms, key));
        while self.bytes > BYTES_MAX {
            self.forget_oldest();
        }
    }

    /// Each verdict as a record of its own.
    pub(crate) fn write(&self, mut record: impl FnMut(&[u8])) {
        let mut out = Vec::new();
        for (since, key) in &self.order {
            let Some(verdict) = self.verdicts.get(key) else { continue };
            out.clear();
            let PartKey { batch_id, hash, generation } = key;
            out.extend_from_slice(&since.to_le_bytes());
            out.extend_from_slice(&batch_id.to_le_bytes());
            out.extend_from_slice(&hash.to_le_bytes());
            out.extend_from_slice(&generation.to_le_bytes());
            let mut bytes = Vec::new();
            verdict.write(&mut bytes);
            put_bytes(&mut out, &bytes);
            record(&out);
        }
    }

    /// Reads one record that [`BatchRing::write`] gave, after those before it.
    pub(crate) fn read(&mut self, r: &mut Reader<'_>) -> Result<(), Corruption> {
        let since = i64::from_le_bytes(r.array()?);
        let batch_id = u128::from_le_bytes(r.array()?);
        let key = PartKey { batch_id, hash: r.u64_le()?, generation: r.u64_le()? };
        let mut inner = Reader::new(r.bytes()?);
        let verdict = PartVerdict::read(&mut inner)?;
        inner.end()?;
        self.put(since, key, &verdict);
        Ok(())
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.order.len()
    }
}
