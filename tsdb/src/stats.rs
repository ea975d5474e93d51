//! Figures about a shard, and the digest that tells whether replicas hold the same.

use crate::cardinality::HeadCounts;
use crate::head::join;
use crate::record::Content;
use crate::shard::Shard;
use crate::view::{ReadError, SelectedSeries, TimeRange};
use model::Timestamp;
use std::ops::ControlFlow;
use std::sync::Arc;

/// Slots of the head that are looked at before apply gets its turn.
const SLOTS_AT_ONCE: u32 = 4096;

/// Figures about a shard at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShardStats {
    /// Series in the head: those with a sample within the late and out-of-order windows, and those not evicted yet.
    pub active_series: u64,
    /// Series that ever were.
    pub series: u64,
    /// Samples accepted so far.
    pub samples: u64,
    /// Log bytes applied since the last checkpoint.
    pub log_bytes_since_checkpoint: u64,
    /// Bytes that head and index take, roughly.
    pub head_bytes: u64,
    /// First timestamp ever accepted.
    pub min_ms: Option<Timestamp>,
    /// Last timestamp ever accepted.
    pub max_ms: Option<Timestamp>,
}

impl Shard {
    /// Series in the head; unlike [`Shard::stats`] it does not wait for an entry that is being applied.
    #[must_use]
    pub fn active_series(&self) -> u64 {
        self.head.read().live()
    }

    /// Gathers the figures; O(1).
    #[must_use]
    pub fn stats(&self) -> ShardStats {
        let (series, samples, bounds) = {
            let state = self.replicated.lock();
            (u64::from(state.next_sid), state.samples, state.bounds)
        };
        ShardStats {
            active_series: self.active_series(),
            series,
            samples,
            log_bytes_since_checkpoint: self.log_bytes_since_checkpoint(),
            head_bytes: self.head_bytes(),
            min_ms: bounds.map(|(first, _)| first),
            max_ms: bounds.map(|(_, last)| last),
        }
    }

    /// What this shard, one of `shards`, tells of its head's labels, for the largest `limit` of each kind: something for
    /// [`crate::cardinality::Cardinality::merge`]. O(series and label pairs), in short sections of the head's lock.
    #[must_use]
    pub fn cardinality(&self, limit: usize, shards: usize) -> Vec<u8> {
        let head = self.head_counts();
        let counted = self.index.read().counted();
        counted.tell(head, (limit, shards))
    }

    fn head_counts(&self) -> HeadCounts {
        let (mut counts, mut from) = (HeadCounts::default(), 0);
        loop {
            let head = self.head.read();
            let to = head.slot_count().min(from + SLOTS_AT_ONCE);
            for line in (from..to).filter_map(|slot| head.series(slot).and_then(|_| head.line(slot))) {
                let (chunks, times_ms) = line.chunks();
                counts.chunks += chunks;
                if let Some((first, last)) = times_ms {
                    counts.times_ms = Some(join(counts.times_ms, first, last));
                }
            }
            if to == head.slot_count() {
                return counts;
            }
            from = to;
        }
    }

    /// Series in the head that carry a label pair, `__name__` and a metric among them; O(1).
    #[must_use]
    pub fn series_of_pair(&self, name: &str, value: &str) -> u64 {
        self.index.read().series_of(name, value)
    }

    /// Distinct values of a label in the head; O(1).
    #[must_use]
    pub fn values_of_label(&self, name: &str) -> u64 {
        self.index.read().values_of(name)
    }

    /// A hash of the logical content, (labels, timestamp, start, value) of every sample, whatever order or place it lies in.
    ///
    /// Reads everything. Equal on replicas that applied the same log.
    ///
    /// # Errors
    /// Stored bytes cannot be read.
    pub fn digest(self: &Arc<Self>) -> Result<u64, ReadError> {
        let mut sum = 0u64;
        self.read_view().select(&[], TimeRange::ALL, |series| {
            sum = sum.wrapping_add(series_digest(&series));
            ControlFlow::Continue(())
        })?;
        Ok(sum)
    }
}

/// A hash of one series' samples, whatever their order.
pub(crate) fn series_digest(series: &SelectedSeries<'_>) -> u64 {
    let identity = model::hash::fp128(series.labels, 0);
    let of_sample = |(kind, bits): (u8, u64), timestamp_ms: Timestamp, start_ms: Timestamp| {
        let mut bytes = [0; 41];
        bytes[..16].copy_from_slice(&identity.to_le_bytes());
        bytes[16..24].copy_from_slice(&timestamp_ms.to_le_bytes());
        bytes[24..32].copy_from_slice(&start_ms.to_le_bytes());
        bytes[32..40].copy_from_slice(&bits.to_le_bytes());
        bytes[40] = kind;
        xxhash_rust::xxh3::xxh3_64(&bytes)
    };
    let floats = series.timestamps.iter().zip(series.values).enumerate().map(|(i, (t, value))| {
        let start_ms = series.start_timestamps.get(i).copied().unwrap_or(0);
        of_sample(Content::Float(value.to_bits()).parts(), *t, start_ms)
    });
    let histograms = series.histograms.iter().map(|h| of_sample(h.value.content().parts(), h.timestamp_ms, h.start_ms));
    floats.chain(histograms).fold(0, u64::wrapping_add)
}
