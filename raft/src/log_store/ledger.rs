//! The ledger: a small file that remembers how far the log was once synced.
//!
//! RocksDB's point-in-time recovery stops silently at a damaged record, which also drops the acknowledged ones behind it. A log that ends
//! before the ledger's number has lost acknowledged records, and none of the replicas it held then may vote: see [`super::loss`].
//!
//! Form: `magic [8] | sequence number u64le | crc32c u32le`. Written beside and renamed over, synced with its directory.

use crate::error::OpenError;
use parking_lot::{Condvar, Mutex};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

const FILE: &str = "LEDGER";
const MAGIC: &[u8; 8] = b"FLOTLEDG";
const LENGTH: usize = 20;
const INTERVAL: Duration = Duration::from_millis(100);

/// Reads the ledger of `directory`; `None` if there is none.
pub(super) fn read(directory: &Path) -> Result<Option<u64>, OpenError> {
    let path = directory.join(FILE);
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(OpenError::File { path, source }),
    };
    parse(&bytes).map(Some).map_err(|reason| OpenError::LedgerDamaged { path, reason })
}

fn parse(bytes: &[u8]) -> Result<u64, &'static str> {
    let bytes: &[u8; LENGTH] = bytes.try_into().map_err(|_| "wrong length")?;
    let (body, crc) = bytes.split_last_chunk::<4>().ok_or("wrong length")?;
    if crc32c::crc32c(body) != u32::from_le_bytes(*crc) {
        return Err("checksum differs");
    }
    let number = body.strip_prefix(MAGIC).ok_or("wrong magic")?;
    let number: [u8; 8] = number.try_into().map_err(|_| "wrong length")?;
    Ok(u64::from_le_bytes(number))
}

/// Replaces the ledger, durably.
pub(super) fn write(directory: &Path, sequence: u64) -> io::Result<()> {
    let mut bytes = Vec::with_capacity(LENGTH);
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&sequence.to_le_bytes());
    bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
    replace_file(directory, FILE, &bytes)
}

/// Replaces a file, atomically and durably.
pub(super) fn replace_file(directory: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let fresh = directory.join(format!("{name}.new"));
    let mut file = File::create(&fresh)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&fresh, directory.join(name))?;
    File::open(directory)?.sync_all()
}

#[derive(Debug, Default)]
struct State {
    synced: u64,
    written: u64,
    stopped: bool,
    failed: Option<io::ErrorKind>,
}

/// Keeps the ledger behind the log by at most [`INTERVAL`] and one write, beside the writer thread.
#[derive(Debug)]
pub(super) struct Ledger {
    shared: Arc<(Mutex<State>, Condvar)>,
    thread: Option<JoinHandle<()>>,
}

impl Ledger {
    /// Starts from `sequence`, which the ledger holds already.
    pub(super) fn start(directory: PathBuf, sequence: u64) -> io::Result<Self> {
        let shared = Arc::new((Mutex::new(State { synced: sequence, written: sequence, ..State::default() }), Condvar::new()));
        #[allow(clippy::disallowed_methods, reason = "a thread that blocks; no simulation keeps a ledger")]
        let thread = std::thread::Builder::new().name("raft-ledger".to_owned()).spawn({
            let shared = Arc::clone(&shared);
            move || run(&directory, &shared)
        })?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Takes note that everything up to `sequence` is synced.
    ///
    /// # Errors
    /// An earlier write of the ledger failed.
    pub(super) fn synced(&self, sequence: u64) -> io::Result<()> {
        let (state, changed) = &*self.shared;
        let mut state = state.lock();
        if let Some(kind) = state.failed {
            return Err(io::Error::new(kind, "the ledger could not be written"));
        }
        state.synced = state.synced.max(sequence);
        changed.notify_one();
        Ok(())
    }
}

impl Ledger {
    /// The number that is synced at least.
    pub(super) fn number(&self) -> u64 {
        self.shared.0.lock().synced
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        let (state, changed) = &*self.shared;
        state.lock().stopped = true;
        changed.notify_one();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn run(directory: &Path, shared: &(Mutex<State>, Condvar)) {
    let (state, changed) = shared;
    let mut guard = state.lock();
    loop {
        while guard.synced == guard.written && !guard.stopped {
            changed.wait(&mut guard);
        }
        if guard.synced == guard.written {
            return;
        }
        let sequence = guard.synced;
        match parking_lot::MutexGuard::unlocked(&mut guard, || write(directory, sequence)) {
            Ok(()) => guard.written = sequence,
            Err(error) => {
                guard.failed = Some(error.kind());
                return;
            }
        }
        if !guard.stopped {
            changed.wait_while_for(&mut guard, |state| !state.stopped, INTERVAL);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn number_comes_back_and_a_flipped_bit_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(read(directory.path()).unwrap(), None);
        write(directory.path(), 77).unwrap();
        assert_eq!(read(directory.path()).unwrap(), Some(77));
        let path = directory.path().join(FILE);
        let mut bytes = fs::read(&path).unwrap();
        bytes[9] ^= 1;
        fs::write(&path, bytes).unwrap();
        assert!(matches!(read(directory.path()), Err(OpenError::LedgerDamaged { reason: "checksum differs", .. })));
    }

    #[test]
    fn last_number_is_on_disk_once_the_ledger_is_dropped() {
        let directory = tempfile::tempdir().unwrap();
        write(directory.path(), 0).unwrap();
        let ledger = Ledger::start(directory.path().to_owned(), 0).unwrap();
        for number in 1..=50 {
            ledger.synced(number).unwrap();
        }
        drop(ledger);
        assert_eq!(read(directory.path()).unwrap(), Some(50));
    }
}
