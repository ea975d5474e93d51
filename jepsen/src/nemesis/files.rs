//! Faults of files: what a disk or a person may do to what a node stored. Only one node of a run suffers them.

use super::{Attempt, Fault, Heal, Injected, Lasts, Nemesis, NotInjected, Target};
use crate::dice::Dice;
use serde_json::{Value, json};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

const FLIPS_MAX: u64 = 8;
const TRUNCATE_MAX: u64 = 4096;
const CHUNK: u64 = 4096;
/// How long a node runs with damaged tables before it is started again.
const LIVE: Duration = Duration::from_secs(5);
/// How long a node with damaged files may take to serve or to refuse.
const DAMAGED_MAX: Duration = Duration::from_secs(30);

impl Nemesis {
    pub(super) async fn inject_files(self: &Arc<Self>, fault: Fault, dice: &mut Dice, _target: &Target) -> Attempt {
        let node = Dice::new(self.shared.workload.seed, u64::from_be_bytes(*b"damaged!")).index(self.cluster.specs().len());
        let victim = self.seize(node).await?;
        let live = fault == Fault::LiveBitFlip;
        let data = self.cluster.specs()[node].data.clone();
        if !live {
            self.cluster.kill(node).await;
        }
        let detail = match damage(&data, fault, dice) {
            Ok(Some(detail)) => detail,
            Ok(None) | Err(_) => {
                // Nothing stored yet, or a file that went away under our hands.
                self.release(victim).await;
                return Err(NotInjected::NotNow);
            }
        };
        self.cluster.note_damage(node);
        let nemesis = Arc::clone(self);
        let heal: Heal = Box::pin(async move {
            if live {
                // A start reads what running did not: what stands in its way must show while this is the only node that suffers.
                tokio::time::sleep(LIVE).await;
                nemesis.disturb(node, "killed");
                nemesis.cluster.kill(node).await;
            }
            nemesis.start(node).await;
            let mut wiped = Ok(());
            if !nemesis.wait_ready(node, DAMAGED_MAX).await {
                // Refused: what an operator does next is to start it with an empty disk.
                let how = json!({"node": node + 1, "log": nemesis.cluster.log_tail(node)});
                nemesis.record(nemesis.shared.history.now_us(), "DamageRefused", how);
                nemesis.cluster.kill(node).await;
                wiped = nemesis.cluster.empty_data(node);
                nemesis.start(node).await;
            }
            nemesis.bring_back(victim, fault).await;
            wiped
        });
        Ok(Injected { hit: vec![node], detail, lasts: Lasts::Procedure, heal })
    }
}

/// Damages one file below `data`; says which and how, none if there is nothing to damage.
fn damage(data: &Path, fault: Fault, dice: &mut Dice) -> io::Result<Option<Value>> {
    let mut found = Vec::new();
    collect(data, fault == Fault::LiveBitFlip, &mut found)?;
    found.sort();
    if found.is_empty() {
        return Ok(None);
    }
    let path = &found[dice.index(found.len())];
    let file = OpenOptions::new().read(true).write(true).open(path)?;
    let bytes = written(&file, path)?;
    if bytes == 0 {
        return Ok(None);
    }
    let how = match fault {
        Fault::Truncate => {
            let cut = dice.between(1, TRUNCATE_MAX).min(bytes);
            file.set_len(bytes - cut)?;
            json!({ "cut": cut })
        }
        Fault::ChunkCopy => {
            let (from, to) = (dice.below(bytes), dice.below(bytes));
            let mut chunk = vec![0; CHUNK.min(bytes - from.max(to)) as usize];
            file.read_exact_at(&mut chunk, from)?;
            file.write_all_at(&chunk, to)?;
            json!({ "from": from, "to": to, "bytes": chunk.len() })
        }
        _ => {
            let places: Vec<u64> = (0..dice.between(1, FLIPS_MAX)).map(|_| dice.below(bytes)).collect();
            for place in &places {
                let mut byte = [0];
                file.read_exact_at(&mut byte, *place)?;
                file.write_all_at(&[byte[0] ^ 1 << dice.below(8)], *place)?;
            }
            json!({ "flipped": places })
        }
    };
    file.sync_all()?;
    let name = path.strip_prefix(data).unwrap_or(path).to_string_lossy().into_owned();
    Ok(Some(json!({"file": name, "bytes": bytes, "how": how})))
}

/// Tables and logs of the databases; of a running node only tables, which it never writes again.
fn collect(directory: &Path, only_tables: bool, found: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, only_tables, found)?;
        } else if path.extension().is_some_and(|e| e == "sst" || e == "log" && !only_tables) {
            found.push(path);
        }
    }
    Ok(())
}

/// The length of what was written: logs are laid out ahead, and their rest is zero.
fn written(file: &File, path: &Path) -> io::Result<u64> {
    let mut end = file.metadata()?.len();
    if path.extension().is_some_and(|e| e == "sst") {
        return Ok(end);
    }
    let mut block = vec![0; 1 << 16];
    while end > 0 {
        let start = end.saturating_sub(block.len() as u64);
        let part = &mut block[..(end - start) as usize];
        file.read_exact_at(part, start)?;
        if let Some(last) = part.iter().rposition(|b| *b != 0) {
            return Ok(start + last as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damage_is_done_to_tables_and_logs_within_what_was_written() {
        let directory = tempfile::tempdir().unwrap();
        let data = directory.path();
        let mut dice = Dice::new(3, 3);
        std::fs::create_dir(data.join("db")).unwrap();
        std::fs::write(data.join("db/LOCK"), b"x").unwrap();
        assert_eq!(damage(data, Fault::BitFlip, &mut dice).unwrap(), None);
        let mut log = vec![7u8; 10_000];
        log.resize(1 << 20, 0);
        let path = data.join("db/000004.log");
        std::fs::write(&path, &log).unwrap();
        assert_eq!(damage(data, Fault::LiveBitFlip, &mut dice).unwrap(), None);

        assert!(damage(data, Fault::BitFlip, &mut dice).unwrap().is_some());
        let after = std::fs::read(&path).unwrap();
        assert!(after[..10_000] != log[..10_000] && after[10_000..] == log[10_000..]);
        let how = damage(data, Fault::Truncate, &mut dice).unwrap().unwrap();
        let left = std::fs::metadata(&path).unwrap().len();
        assert_eq!(left, 10_000 - how["how"]["cut"].as_u64().unwrap());
        std::fs::write(data.join("db/7.sst"), (0..9000u32).map(|n| n as u8).collect::<Vec<_>>()).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert!(damage(data, Fault::ChunkCopy, &mut dice).unwrap().is_some());
        assert_eq!(std::fs::metadata(data.join("db/7.sst")).unwrap().len(), 9000);
    }
}
