//! Reading parts to find out whether they still are what the manifest lists, and listing those that are not as quarantined.
//!
//! A read that needs a quarantined part is an error: it never passes for a day without samples.

#![deny(clippy::indexing_slicing)]

use super::manifest::Manifest;
use super::rewrite::cursor::{PartCursor, PartWalk};
use super::segment::Segment;
use super::{Part, ShardStore, StoreInner, StoreView};
use crate::chunk::{PageCoder, Samples};
use crate::db::{DamagedFile, corrupt};
use crate::error::{Corruption, StoreError};
use crate::keys::{Family, SeriesKey};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

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

impl StoreInner {
    /// Listed parts that may have keys in a file.
    fn parts_in<'m>(&self, manifest: &'m Manifest, file: &DamagedFile) -> impl Iterator<Item = &'m Part> {
        let (local, file) = (self.dataset.local, file.clone());
        manifest.parts.iter().filter(move |part| part.kind.family() == file.family && file.meets(part.day.0, local))
    }

    /// Whether listed parts, quarantined or not, may have keys in a file.
    pub(crate) fn lists_in(&self, file: &DamagedFile) -> bool {
        let current = Arc::clone(&self.state.lock().current);
        self.parts_in(&current, file).next().is_some()
    }
}

impl ShardStore {
    /// The node-local number of the data.
    pub(crate) fn local(&self) -> u32 {
        self.0.dataset.local
    }

    pub(crate) fn note_damage(&self, error: &StoreError) {
        self.0.dataset.engine().note_damage(error);
    }

    pub(crate) fn lists_in(&self, file: &DamagedFile) -> bool {
        self.0.lists_in(file)
    }

    /// Lists all parts that may have keys in a file as quarantined; durable when it returns.
    ///
    /// # Errors
    /// As [`super::CheckpointWriter::commit`].
    pub(crate) fn quarantine_in(&self, file: &DamagedFile) -> Result<(), StoreError> {
        let current = Arc::clone(&self.0.state.lock().current);
        let parts: Vec<u64> = self.0.parts_in(&current, file).map(|part| part.id).collect();
        if parts.iter().all(|part| current.quarantined.contains(part)) {
            return Ok(());
        }
        self.change(|writer| {
            writer.quarantined.extend(parts);
            Ok(())
        })
    }

    /// Whether a view or a transfer from before its quarantine reads a part that may have keys in a file, or one is still listed healthy.
    pub(crate) fn is_held_in(&self, file: &DamagedFile) -> bool {
        let (current, held) = {
            let state = self.0.state.lock();
            (Arc::clone(&state.current), state.older.iter().filter_map(Weak::upgrade).collect::<Vec<_>>())
        };
        let reads = |manifest: &Manifest| self.0.parts_in(manifest, file).any(|part| !manifest.quarantined.contains(&part.id));
        reads(&current) || held.iter().any(|manifest| reads(manifest))
    }

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
