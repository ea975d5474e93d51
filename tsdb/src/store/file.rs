//! Sorted files on their way into RocksDB.

use crate::db::Engine;
use crate::error::StoreError;
use crate::keys::Family;
use rocksdb::SstFileWriter;
use std::path::PathBuf;

/// Counts and hashes what goes into a part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) keys: u64,
    pub(crate) bytes: u64,
    pub(crate) hash: u32,
}

impl Tally {
    pub(crate) fn add(&mut self, portable: &[u8], sealed: &[u8]) {
        self.keys += 1;
        self.bytes += (portable.len() + sealed.len()) as u64;
        self.hash = crc32c::crc32c_append(crc32c::crc32c_append(self.hash, portable), sealed);
    }
}

/// Writes one sorted file.
pub(crate) struct FileWriter<'a> {
    writer: SstFileWriter<'a>,
    pub(crate) tally: Tally,
}

impl<'a> FileWriter<'a> {
    /// Begins a file, noting it in `files` so that it is removed unless it is ingested.
    pub(crate) fn create(engine: &'a Engine, family: Family, files: &mut TempFiles) -> Result<Self, StoreError> {
        let path = engine.new_file();
        let writer = SstFileWriter::create(engine.file_options(family));
        writer.open(&path)?;
        files.paths.push((family, path));
        Ok(Self { writer, tally: Tally::default() })
    }

    /// Adds a key above all before.
    pub(crate) fn put(&mut self, key: &[u8], portable: &[u8], sealed: &[u8]) -> Result<(), StoreError> {
        self.tally.add(portable, sealed);
        Ok(self.writer.put(key, sealed)?)
    }

    /// Ends and syncs the file.
    pub(crate) fn finish(mut self) -> Result<Tally, StoreError> {
        self.writer.finish()?;
        Ok(self.tally)
    }
}

impl std::fmt::Debug for FileWriter<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FileWriter").field("tally", &self.tally).finish_non_exhaustive()
    }
}

/// Files that are not part of the database yet; removed when dropped.
#[derive(Debug, Default)]
pub(crate) struct TempFiles {
    paths: Vec<(Family, PathBuf)>,
    keep: bool,
}

impl TempFiles {
    /// Makes all files part of the database; durable when it returns.
    pub(crate) fn ingest(&mut self, engine: &Engine) -> Result<(), StoreError> {
        for family in Family::ALL {
            let files: Vec<PathBuf> = self.paths.iter().filter(|(f, _)| *f == family).map(|(_, path)| path.clone()).collect();
            engine.ingest(family, files)?;
            self.paths.retain(|(f, _)| *f != family);
        }
        Ok(())
    }

    /// Leaves the files where they are, as a crash would.
    pub(crate) fn abandon(&mut self) {
        self.keep = true;
    }
}

impl Drop for TempFiles {
    fn drop(&mut self) {
        if !self.keep {
            for (_, path) in &self.paths {
                if let Err(error) = std::fs::remove_file(path) {
                    tracing::debug!(path = %path.display(), %error, "file was not ingested and could not be removed");
                }
            }
        }
    }
}
