//! What a log is known to have lost, remembered for as long as the log lives.
//!
//! The ledger can tell only once that the log ended too early: what is written afterwards moves the log's end past its number. So the
//! loss is noted in a file of its own before anything else is written.
//!
//! Form: `magic [8] | latest u64le | ledger u64le | replica u64le… | crc32c u32le`.

use super::ledger::replace_file;
use crate::error::OpenError;
use model::ReplicaId;
use std::collections::BTreeSet;
use std::path::Path;
use std::{fs, io};

const FILE: &str = "LOSS";
const MAGIC: &[u8; 8] = b"FLOTLOSS";

/// Acknowledged records that a log no longer holds. Which replicas they belonged to cannot be told, so all that were here are lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLoss {
    /// Last number found, as [`super::LogEngine::synced`] counts.
    pub latest: u64,
    /// Last number known to have been synced.
    pub ledger: u64,
    /// The replicas of which something was found. One whose every record was lost is not among them.
    pub replicas: BTreeSet<ReplicaId>,
}

/// The loss noted in `directory`, if any.
pub(super) fn read(directory: &Path) -> Result<Option<LogLoss>, OpenError> {
    let path = directory.join(FILE);
    match fs::read(&path) {
        Ok(bytes) => parse(&bytes).map(Some).ok_or(OpenError::LossDamaged { path }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(OpenError::File { path, source }),
    }
}

fn parse(bytes: &[u8]) -> Option<LogLoss> {
    let (body, crc) = bytes.split_last_chunk::<4>()?;
    if crc32c::crc32c(body) != u32::from_le_bytes(*crc) {
        return None;
    }
    let (words, []) = body.strip_prefix(MAGIC)?.as_chunks::<8>() else { return None };
    let mut words = words.iter().copied().map(u64::from_le_bytes);
    Some(LogLoss { latest: words.next()?, ledger: words.next()?, replicas: words.map(ReplicaId).collect() })
}

/// Notes a loss beside those noted before, durably.
pub(super) fn note(directory: &Path, former: Option<LogLoss>, mut loss: LogLoss) -> io::Result<LogLoss> {
    loss.replicas.extend(former.into_iter().flat_map(|former| former.replicas));
    let mut bytes = MAGIC.to_vec();
    let words = [loss.latest, loss.ledger].into_iter().chain(loss.replicas.iter().map(|replica| replica.0));
    bytes.extend(words.flat_map(u64::to_le_bytes));
    bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
    replace_file(directory, FILE, &bytes)?;
    Ok(loss)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_add_up_and_a_flipped_bit_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(read(directory.path()).unwrap(), None);
        let first = LogLoss { latest: 5, ledger: 9, replicas: [ReplicaId(1), ReplicaId(1024)].into() };
        assert_eq!(note(directory.path(), None, first.clone()).unwrap(), first);
        assert_eq!(read(directory.path()).unwrap(), Some(first.clone()));
        let second = LogLoss { latest: 20, ledger: 21, replicas: [ReplicaId(1025)].into() };
        note(directory.path(), Some(first), second).unwrap();
        let both = LogLoss { latest: 20, ledger: 21, replicas: [ReplicaId(1), ReplicaId(1024), ReplicaId(1025)].into() };
        assert_eq!(read(directory.path()).unwrap(), Some(both));
        let path = directory.path().join(FILE);
        let mut bytes = fs::read(&path).unwrap();
        bytes[20] ^= 1;
        fs::write(&path, bytes).unwrap();
        assert!(matches!(read(directory.path()), Err(OpenError::LossDamaged { .. })));
    }
}
