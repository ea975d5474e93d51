//! Deleting what neither the manifest nor a view lists.

use super::manifest::{Manifest, Part};
use super::{Dataset, StoreInner};
use crate::error::StoreError;
use crate::keys::{ChunkKey, Family, HeadKey};
use rocksdb::WriteBatch;
use std::sync::{Arc, Weak};

const BATCH_KEYS_MAX: usize = 10_000;

impl StoreInner {
    pub(super) fn reclaim(&self) -> Result<(), StoreError> {
        if self.ensure_live().is_err() {
            return Ok(());
        }
        let (parts, generations) = self.removable();
        for generation in &generations {
            let prefix = [self.dataset.local.to_be_bytes(), generation.to_be_bytes()].concat();
            self.dataset.engine().delete_prefix(Family::Head, &prefix)?;
        }
        let mut stuck = Vec::new();
        for part in &parts {
            match self.delete_part(part) {
                Ok(()) => {}
                // Blocks that cannot be read hide their keys: the bytes stay, and must not keep checkpoints from being written.
                Err(error) if error.is_damage() => {
                    self.dataset.engine().note_damage(&error);
                    tracing::warn!(part = part.id, day = part.day.0, %error, "a part that is no more listed cannot be deleted");
                    stuck.push(part.id);
                    continue;
                }
                Err(error) => return Err(error),
            }
            if part.kind.family() == Family::Index {
                self.dataset.forget_segment(part.id);
            }
        }
        let mut state = self.state.lock();
        state.stale_generations.retain(|generation| !generations.contains(generation));
        state.unlisted.retain(|part| stuck.contains(&part.id) || !parts.contains(part));
        Ok(())
    }

    /// Unlisted parts and stale generations that no view holds. A view made later holds the current manifest: it cannot either.
    fn removable(&self) -> (Vec<Part>, Vec<u32>) {
        let mut state = self.state.lock();
        if state.is_checkpointing {
            // The parts being ingested are unlisted too.
            return (Vec::new(), Vec::new());
        }
        state.older.retain(|manifest| manifest.strong_count() > 0);
        let held: Vec<Arc<Manifest>> = state.older.iter().filter_map(Weak::upgrade).collect();
        let parts = state.unlisted.iter().filter(|part| !held.iter().any(|m| m.lists(part.id))).copied().collect();
        let is_held = |generation: &u32| held.iter().any(|m| m.generation == *generation);
        let generations = state.stale_generations.iter().filter(|generation| !is_held(generation)).copied().collect();
        (parts, generations)
    }

    /// Deletes a part's keys, walking from metric (or section) to metric: other parts' keys lie between.
    fn delete_part(&self, part: &Part) -> Result<(), StoreError> {
        let engine = self.dataset.engine();
        let family = part.kind.family();
        let (day, local) = (part.day.0, self.dataset.local);
        let key = |metric, part| ChunkKey { day, local, metric, part, first_sid: 0 }.encode();
        let mut iterator = self.dataset.iterate(family, &[&day.to_be_bytes()[..], &local.to_be_bytes()].concat(), false);
        let mut batch = WriteBatch::default();
        iterator.seek(key(0, part.id));
        while let Some(found) = iterator.key() {
            let found = ChunkKey::decode(found).map_err(crate::db::corrupt(family, found))?;
            if found.part == part.id {
                engine.delete(&mut batch, family, &found.encode());
                if batch.len() >= BATCH_KEYS_MAX {
                    engine.write(std::mem::take(&mut batch))?;
                }
                iterator.next();
            } else if found.part < part.id {
                iterator.seek(key(found.metric, part.id));
            } else {
                match found.metric.checked_add(1) {
                    Some(metric) => iterator.seek(key(metric, part.id)),
                    None => break,
                }
            }
        }
        iterator.status()?;
        engine.write(batch)
    }
}

/// Generations with pages, other than the current one, in order.
pub(super) fn stale_generations(dataset: &Dataset, current: u32) -> Result<Vec<u32>, StoreError> {
    let mut stale = Vec::new();
    let mut iterator = dataset.iterate(Family::Head, &dataset.local.to_be_bytes(), true);
    iterator.seek_to_first();
    while let Some(key) = iterator.key() {
        let generation = HeadKey::decode(key).map_err(crate::db::corrupt(Family::Head, key))?.generation;
        if generation != current {
            stale.push(generation);
        }
        match generation.checked_add(1) {
            Some(next) => iterator.seek(HeadKey { local: dataset.local, generation: next, page: 0 }.encode()),
            None => break,
        }
    }
    iterator.status()?;
    Ok(stale)
}
