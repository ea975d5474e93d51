//! Opening what is stored, and beginning anew beside it where it cannot be read and other nodes have the same.

use super::AppError;
use crate::host::Host;
use raft::{LogEngine, RocksOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tsdb::db::{Db, DbOptions};

/// Opens log and chunks side by side: each reads files and a write-ahead log of its own.
///
/// A database that is damaged so that it does not open is set aside, if `others_answer`: what it held comes back from them. Without a log the
/// replicas count as lost, without chunks those whose log was purged do; both are replaced under other ids. Alone, the node does not start: its
/// disk is all there is.
pub(super) fn open<H: Host>(
    host: &H,
    log_folder: &Path,
    log: RocksOptions,
    chunks: &DbOptions,
    others_answer: bool,
) -> Result<(Arc<dyn LogEngine>, Db), AppError> {
    let open_log = || match host.open_log(log_folder, log) {
        Err(error) if others_answer && error.is_damage() => {
            set_aside(log_folder, &error)?;
            // An empty log has lost something, whatever others remember.
            Ok(host.open_log(log_folder, RocksOptions { synced_elsewhere: log.synced_elsewhere.max(1), ..log })?)
        }
        opened => Ok(opened?),
    };
    let open_chunks = || match Db::open(chunks.clone()) {
        Err(error) if others_answer && error.is_damage() => {
            set_aside(&chunks.path, &error)?;
            Ok(Db::open(chunks.clone())?)
        }
        opened => Ok(opened?),
    };
    if model::threads::are_inline() {
        return Ok((open_log()?, open_chunks()?));
    }
    std::thread::scope(|scope| {
        let db = scope.spawn(open_chunks);
        let engine: Result<_, AppError> = open_log();
        let db: Result<_, AppError> = db.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        Ok((engine?, db?))
    })
}

/// Renames a folder to `NAME.damaged`; one of that name from before goes.
fn set_aside(folder: &Path, why: &dyn std::error::Error) -> Result<(), AppError> {
    let aside = PathBuf::from(format!("{}.damaged", folder.display()));
    let moved = || -> io::Result<()> {
        if aside.exists() {
            std::fs::remove_dir_all(&aside)?;
        }
        std::fs::rename(folder, &aside)
    };
    moved().map_err(|source| AppError::Io { what: "damaged database", source })?;
    tracing::error!(error = %why, aside = %aside.display(), "a database is damaged and was set aside: its replicas come back from other nodes");
    Ok(())
}
