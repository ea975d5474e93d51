//! Reading parts to find out whether they still are what the manifest lists, and listing those that are not as quarantined.
//!
//! A read that needs a quarantined part is an error: it never passes for a day without samples.

#![deny(clippy::indexing_slicing)]

use super::rewrite::cursor::{PartCursor, PartWalk};
use super::segment::Segment;
use super::{Part, ShardStore, StoreView};
use crate::chunk::{PageCoder, Samples};
use crate::db::corrupt;
use crate::error::{Corruption, StoreError};
use crate::keys::{Family, SeriesKey};
use std::sync::atomic::{AtomicBool, Ordering};

impl StoreView {
    /// Reads a listed part whole: number of keys, hash, every checksum, every page. Leaves the block cache alone.
    ///
    /// # Errors
    /// An error of which [`StoreError::is_damage`] is true tells what is wrong with it; [`StoreError::Cancelled`] once `stop` is set.
    pub fn verify_part(&self, part: &Part, stop: &AtomicBool) -> Result<(), StoreError> {
        if part.kind.has_samples() { self.verify_pages(part, stop) } else { self.verify_index(part, stop) }
    }

    fn verify_pages(&self, part: &Part, stop: &AtomicBool) -> Result<(), StoreError> {
        let mut cursor = PartCursor::open(&self.dataset, *part)?;
        let (mut coder, mut samples) = (PageCoder::default(), Samples::default());
        while let Some((_, sid)) = cursor.series() {
            if stop.load(Ordering::Relaxed) {
                return Err(StoreError::Cancelled);
            }
            let key = SeriesKey { local: cursor.local(), sid }.encode();
            let damaged = |source| corrupt(Family::Chunk, &key)(source);
            samples.clear();
            cursor.decode(&mut coder, &mut samples).map_err(damaged)?;
            let records = samples.records.iter().map(|record| record.timestamp_ms);
            if !samples.ts.iter().copied().chain(records).all(|t| part.first_ms <= t && t <= part.last_ms) {
                return Err(damaged(Corruption::new("sample outside its part")));
            }
            cursor.advance()?;
        }
        cursor.finish()
    }

    fn verify_index(&self, part: &Part, stop: &AtomicBool) -> Result<(), StoreError> {
        let mut walk = PartWalk::new(&self.dataset, *part);
        while walk.advance()? {
            if stop.load(Ordering::Relaxed) {
                return Err(StoreError::Cancelled);
            }
        }
        walk.finish()?;
        // The directory may come from memory; its bytes were part of the hash.
        let segment = Segment::open(&self.dataset, *part)?;
        segment.verify(|| stop.load(Ordering::Relaxed))
    }

    /// The listed parts that are quarantined.
    pub fn quarantined(&self) -> impl Iterator<Item = &Part> {
        self.manifest.parts.iter().filter(|part| self.manifest.quarantined.contains(&part.id))
    }
}

impl ShardStore {
    /// Lists a part as quarantined; durable when it returns. Nothing happens if it is not listed any more.
    ///
    /// # Errors
    /// As [`super::CheckpointWriter::commit`].
    pub(crate) fn quarantine(&self, part: u64) -> Result<(), StoreError> {
        self.change(|writer| {
            writer.quarantined.insert(part);
            Ok(())
        })
    }
}
