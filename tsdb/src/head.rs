//! The recent samples of a shard: one slot a series, written by apply alone.
//!
//! ```text
//! slot: Series (identity, label pairs)   written once
//!       Line   (newest sample, open chunk, sealed chunks until a part lists them, out-of-order samples)
//! ```
//!
//! Slots lie in shared pages, so that a checkpoint freezes the head in microseconds (see [`CowVec`]).

mod chunk;
mod cow;
mod line;
mod lookup;
mod recent;
#[cfg(test)]
mod tests;

pub(crate) use chunk::HeadChunk;
pub(crate) use cow::CowVec;
#[cfg(test)]
use line::day_of;
pub(crate) use line::{Found, Line, OutOfOrder, SEAL_SAMPLES, STORABLE_MS, SealedChunk, content_at, join};

use lookup::{FpTable, SidMap};
use model::Timestamp;
use recent::Recent;
use std::sync::Arc;

/// Id that no series has: marks a free slot.
pub(crate) const NO_SERIES: u32 = u32::MAX;

/// What does not change while a series lies in its slot.
#[derive(Clone, Debug)]
pub(crate) struct Series {
    /// [`NO_SERIES`] if the slot is free.
    pub(crate) sid: u32,
    /// Groups the series of one metric name on disk; the same for all its life.
    pub(crate) metric: u32,
    pub(crate) fp128: u128,
    pub(crate) placement: u64,
    /// Numbers of the label pairs in [`crate::postings::Index`], in name order.
    pub(crate) pairs: Arc<[u32]>,
}

/// Bytes of a slot with its share of the look-up tables, without label text and samples.
const SLOT_BYTES: u64 = (size_of::<Series>() + size_of::<Line>() + 44) as u64;

/// The slots of a shard and the ways to find them.
#[derive(Debug, Default)]
pub(crate) struct Head {
    series: CowVec<Series>,
    lines: CowVec<Line>,
    by_fp: FpTable,
    by_sid: SidMap,
    recent: Recent,
    free: Vec<u32>,
    live: u64,
    pair_count: u64,
    /// Bytes of open, sealed and out-of-order samples.
    pub(crate) sample_bytes: u64,
}

/// The head as it was at one log point.
#[derive(Clone, Debug)]
pub(crate) struct FrozenHead {
    pub(crate) series: CowVec<Series>,
    pub(crate) lines: CowVec<Line>,
}

impl FrozenHead {
    /// Slots in use.
    pub(crate) fn slots(&self) -> impl Iterator<Item = (u32, &Series, &Line)> {
        let slots = self.series.iter().zip(self.lines.iter()).enumerate();
        slots.filter(|(_, (series, _))| series.sid != NO_SERIES).map(|(slot, (series, line))| (slot as u32, series, line))
    }
}

impl Head {
    /// Puts a series that is not in the head into a slot.
    pub(crate) fn insert(&mut self, series: Series, line: Line) -> u32 {
        self.live += 1;
        self.pair_count += series.pairs.len() as u64;
        self.sample_bytes += line.bytes();
        let (fp128, sid) = (series.fp128, series.sid);
        let newest_ms = line.newest_ms();
        let slot = if let Some(slot) = self.free.pop() {
            if let (Some(s), Some(l)) = (self.series.get_mut(slot as usize), self.lines.get_mut(slot as usize)) {
                (*s, *l) = (series, line);
            }
            slot
        } else {
            self.series.push(series);
            self.lines.push(line);
            (self.series.len() - 1) as u32
        };
        self.by_fp.insert(fp128, slot);
        self.by_sid.insert(sid, slot);
        self.recent.set(slot, newest_ms);
        slot
    }

    /// Takes a series out of its slot.
    pub(crate) fn remove(&mut self, slot: u32) -> Option<Series> {
        let vacant = Series { sid: NO_SERIES, metric: 0, fp128: 0, placement: 0, pairs: Arc::from([]) };
        let place = self.series.get_mut(slot as usize).filter(|s| s.sid != NO_SERIES)?;
        let series = std::mem::replace(place, vacant);
        if let Some(line) = self.lines.get_mut(slot as usize) {
            self.sample_bytes -= line.bytes();
            *line = Line::default();
        }
        self.by_fp.remove(series.fp128, slot);
        self.by_sid.remove(series.sid);
        self.recent.vacate(slot);
        self.free.push(slot);
        self.live -= 1;
        self.pair_count -= series.pairs.len() as u64;
        Some(series)
    }

    pub(crate) fn slot_of_fp(&self, fp128: u128) -> Option<u32> {
        self.by_fp.get(fp128, |slot| self.series(slot).is_some_and(|series| series.fp128 == fp128))
    }

    pub(crate) fn slot_of_sid(&self, sid: u32) -> Option<u32> {
        self.by_sid.get(sid)
    }

    pub(crate) fn series(&self, slot: u32) -> Option<&Series> {
        self.series.get(slot as usize).filter(|series| series.sid != NO_SERIES)
    }

    pub(crate) fn line(&self, slot: u32) -> Option<&Line> {
        self.lines.get(slot as usize)
    }

    /// A slot in use, its line for writing; account for a change of [`Line::bytes`] in `sample_bytes`.
    pub(crate) fn slot_mut(&mut self, slot: u32) -> Option<(&Series, &mut Line)> {
        Some((self.series.get(slot as usize)?, self.lines.get_mut(slot as usize)?))
    }

    /// The line of a slot, for writing; account for a change of [`Line::bytes`] in `sample_bytes`.
    pub(crate) fn line_mut(&mut self, slot: u32) -> Option<&mut Line> {
        self.lines.get_mut(slot as usize)
    }

    /// Takes note of a sample later than all before that was appended to the line of a slot.
    pub(crate) fn note_appended(&mut self, slot: u32, timestamp_ms: Timestamp) {
        self.recent.set(slot, Some(timestamp_ms));
    }

    /// Takes note that samples of a slot were deleted.
    pub(crate) fn note_deleted(&mut self, slot: u32) {
        self.recent.set(slot, None);
    }

    /// Slots of series that are not sure to have a sample in (`after_ms`, `to_ms`], in the head or in a listed part; `None` if they
    /// are more than `most`. Looks at four bytes a slot. Deletes since the range must be none.
    pub(crate) fn unsure_in(&self, after_ms: Timestamp, to_ms: Timestamp, most: usize) -> Option<Vec<u32>> {
        self.recent.unsure_in(after_ms, to_ms, most)
    }

    /// Lets go of a slot's sealed chunks numbered below `end`, which parts hold.
    pub(crate) fn drop_listed(&mut self, slot: u32, end: u32) {
        if let Some(line) = self.lines.get_mut(slot as usize) {
            let before = line.bytes();
            line.drop_listed(end);
            self.sample_bytes = self.sample_bytes + line.bytes() - before;
        }
    }

    /// Slots in use or free.
    pub(crate) fn slot_count(&self) -> u32 {
        self.lines.len() as u32
    }

    /// Series in the head.
    pub(crate) fn live(&self) -> u64 {
        self.live
    }

    /// Bytes the head takes, roughly; label text is the index's.
    pub(crate) fn bytes(&self) -> u64 {
        self.series.len() as u64 * SLOT_BYTES + self.pair_count * 4 + self.sample_bytes
    }

    /// The slots as they are now, in O(slots / 64).
    pub(crate) fn freeze(&self) -> FrozenHead {
        // Tables and counters follow from the slots; whoever adds a field decides here whether a replay needs it.
        let Self { series, lines, by_fp: _, by_sid: _, recent: _, free: _, live: _, pair_count: _, sample_bytes: _ } = self;
        FrozenHead { series: series.clone(), lines: lines.clone() }
    }
}
