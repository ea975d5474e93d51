//! Files of which RocksDB cannot read a block any more.
//!
//! Such a file must go: every compaction that meets it fails, and a failed compaction ends all writing. It can be dropped without being
//! read, as a whole, once nothing that is listed and not quarantined has keys in it.

use super::registry::NumberState;
use super::{Db, Engine};
use crate::error::StoreError;
use crate::keys::Family;
use parking_lot::Mutex;
use std::collections::BTreeSet;

/// Bytes of day and node-local number at the front of keys of parts.
const DAY_AND_LOCAL: usize = 6;

/// Names of files that reads failed on.
#[derive(Debug, Default)]
pub(crate) struct DamagedFiles(Mutex<BTreeSet<String>>);

/// A file in which at least one block cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DamagedFile {
    /// Its name in the database's folder.
    pub name: String,
    /// Column family that it belongs to.
    pub family: Family,
    /// Its first and last key.
    pub(crate) keys: (Vec<u8>, Vec<u8>),
}

impl DamagedFile {
    /// Whether parts of samples lie in it, which only another replica still has; an index is made anew from the samples.
    #[must_use]
    pub fn has_samples(&self) -> bool {
        self.family == Family::Chunk
    }

    /// Whether keys that begin with this day and node-local number may lie in it; says yes rather than no.
    pub(crate) fn meets(&self, day: u16, local: u32) -> bool {
        let prefix = [&day.to_be_bytes()[..], &local.to_be_bytes()].concat();
        let of = |key: &Vec<u8>| key.get(..DAY_AND_LOCAL).unwrap_or(key).to_vec();
        of(&self.keys.0) <= prefix && prefix <= of(&self.keys.1)
    }
}

/// The file that an error of RocksDB names.
fn file_of(error: &StoreError) -> Option<String> {
    let StoreError::Rocks(error) = error else { return None };
    let text = error.to_string();
    let path = text.split_whitespace().find(|word| word.ends_with(".sst"))?;
    path.rsplit('/').next().map(str::to_owned)
}

impl Engine {
    /// Takes note of the file that a failed read names, if it names one: compactions leave its family alone from now on.
    pub(crate) fn note_damage(&self, error: &StoreError) {
        let Some(name) = file_of(error).filter(|_| error.is_damage()) else { return };
        if !self.damaged.0.lock().insert(name.clone()) {
            return;
        }
        tracing::error!(file = name, %error, "a file of the chunk database is damaged");
        if let Some(file) = self.damaged_files().unwrap_or_default().into_iter().find(|file| file.name == name) {
            self.set_compacts(file.family, false);
        }
    }

    fn set_compacts(&self, family: Family, compacts: bool) {
        let disabled = if compacts { "false" } else { "true" };
        if let Err(error) = self.rocks.set_options_cf(self.handle(family), &[("disable_auto_compactions", disabled)]) {
            tracing::warn!(%error, family = family.name(), compacts, "compactions not changed");
        }
    }

    /// The damaged files that are still there, of families of parts.
    fn damaged_files(&self) -> Result<Vec<DamagedFile>, StoreError> {
        let mut known = self.damaged.0.lock();
        if known.is_empty() {
            return Ok(Vec::new());
        }
        let files = self.rocks.live_files()?;
        known.retain(|name| files.iter().any(|file| file.name.trim_start_matches('/') == name));
        let damaged = files.into_iter().filter(|file| known.contains(file.name.trim_start_matches('/')));
        let of_parts = |name: &str| [Family::Chunk, Family::Index].into_iter().find(|family| family.name() == name);
        Ok(damaged
            .filter_map(|file| {
                let name = file.name.trim_start_matches('/').to_owned();
                Some(DamagedFile { name, family: of_parts(&file.column_family_name)?, keys: (file.start_key?, file.end_key?) })
            })
            .collect())
    }

    /// Drops a file unread, and with it all others that lie wholly within its keys; tells whether it is gone.
    fn drop_file(&self, file: &DamagedFile) -> Result<bool, StoreError> {
        let (first, last) = &file.keys;
        self.rocks.delete_file_in_range_cf(self.handle(file.family), first, last)?;
        let left = self.damaged_files()?;
        if !left.iter().any(|other| other.family == file.family) {
            self.set_compacts(file.family, true);
        }
        Ok(left.iter().all(|other| other.name != file.name))
    }
}

impl Db {
    /// The files that reads have failed on since the start and that are still there, of those that parts lie in.
    ///
    /// # Errors
    /// RocksDB does not tell which files there are.
    pub fn damaged_files(&self) -> Result<Vec<DamagedFile>, StoreError> {
        self.0.engine.damaged_files()
    }

    /// How often flushes and compactions have failed since the start; from the first time on RocksDB may refuse all writes.
    #[must_use]
    pub fn background_errors(&self) -> u64 {
        let errors = self.0.engine.rocks.property_int_value(rocksdb::properties::BACKGROUND_ERRORS);
        errors.ok().flatten().unwrap_or(0)
    }

    /// Has everything that can be compacted compacted, for tests.
    #[cfg(test)]
    pub(crate) fn compact_all(&self) {
        let mut options = rocksdb::CompactOptions::default();
        options.set_bottommost_level_compaction(rocksdb::BottommostLevelCompaction::Force);
        for family in Family::ALL {
            let handle = self.0.engine.handle(family);
            self.0.engine.rocks.compact_range_cf_opt(handle, None::<&[u8]>, None::<&[u8]>, &options);
        }
    }

    /// Drops a damaged file if no data has keys in it but that of `quarantined` numbers, whose owners keep everything else away from
    /// the database meanwhile; tells whether it is gone.
    ///
    /// # Errors
    /// RocksDB failed.
    pub(crate) fn drop_damaged(&self, file: &DamagedFile, quarantined: &BTreeSet<u32>) -> Result<bool, StoreError> {
        // Held to the end: no copy begins to be received meanwhile.
        let registry = self.0.registry.lock();
        let is_free = registry.all().all(|row| match row.state {
            NumberState::Doomed => true,
            NumberState::Staging => false,
            // Of data that is not open nobody knows what it lists.
            NumberState::Live => quarantined.contains(&row.local) || row.open.upgrade().is_some_and(|store| !store.lists_in(file)),
        });
        if is_free { self.0.engine.drop_file(file) } else { Ok(false) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_meets_the_days_and_numbers_between_its_keys() {
        let key = |day: u16, local: u32| [&day.to_be_bytes()[..], &local.to_be_bytes(), &[7; 14]].concat();
        let file = DamagedFile { name: "1.sst".into(), family: Family::Chunk, keys: (key(5, 3), key(6, 2)) };
        let meets = [(5, 2), (5, 3), (5, 9), (6, 0), (6, 2), (6, 3), (7, 0)].map(|(day, local)| file.meets(day, local));
        assert_eq!(meets, [false, true, true, true, true, false, false]);
    }
}
