//! The keys of this node's values: the key file, the keys of boots, the keys of workspaces.
//!
//! `keys.json` in the data directory names the key of the key file and holds the wrapped keys of every boot whose log may still be there,
//! oldest first. Keys of workspaces are kept, wrapped, by the meta group. A data directory is founded with or without a key file and stays
//! so.

use crate::metrics;
use model::seal::{DataKey, KEY_BYTES, KeyError, KeyProvider, Seal, StoreKeys, WRAP_NONCE_BYTES};
use model::{StoreId, WorkspaceId};
use parking_lot::Mutex;
use rand::RngExt;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

const FILE: &str = "keys.json";
const VERSION: u32 = 1;
/// What a secret of the meta group's state begins with: it follows as it is, or wrapped.
const PLAIN: u8 = 0;
const SEALED: u8 = 1;

/// Why a data directory's keys cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The key file does not hold a key.
    #[error("key file {path}: {source}")]
    KeyFile {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: KeyError,
    },
    /// The directory is encrypted and no key file was named.
    #[error("the data directory is encrypted: name its key file with --storage.encryption-key-file")]
    KeyFileMissing,
    /// The directory holds data that were written without a key.
    #[error("the data directory was written without encryption: a key file can only be named for an empty one")]
    NotEncrypted,
    /// The directory belongs to another key.
    #[error("the data directory is encrypted with key {expected}, the key file holds {found}")]
    WrongKey {
        /// The key that the directory names.
        expected: String,
        /// The key in the file.
        found: String,
    },
    /// A wrapped key does not open.
    #[error("{path}: {source}")]
    Wrapped {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: KeyError,
    },
    /// The file is not what this binary writes.
    #[error("{path} is malformed: {detail}")]
    Malformed {
        /// Which file.
        path: PathBuf,
        /// Why.
        detail: String,
    },
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    version: u32,
    key_id: String,
    boots: Vec<Boot>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Boot {
    /// Random number of 64 bits, hexadecimal.
    boot: String,
    wrapped: String,
}

impl Boot {
    fn number(&self) -> Option<u64> {
        u64::from_str_radix(&self.boot, 16).ok()
    }
}

/// The keys of an open data directory.
#[derive(Debug)]
pub struct NodeKeys {
    provider: Option<KeyProvider>,
    /// Seals and opens with these keys.
    pub seal: Seal,
    data: PathBuf,
    locked: Mutex<BTreeSet<WorkspaceId>>,
}

impl NodeKeys {
    /// Checks that the key file and the data directory belong together. Touches nothing; call it before anything else does.
    ///
    /// # Errors
    /// See [`KeysError`].
    pub fn check(data: &Path, key_file: Option<&Path>) -> Result<(), KeysError> {
        open_provider(data, key_file).map(drop)
    }

    /// Opens the keys of a data directory and mints this boot's, which is durable when this returns.
    ///
    /// # Errors
    /// See [`KeysError`].
    pub fn open(data: &Path, key_file: Option<&Path>, store: StoreId) -> Result<Self, KeysError> {
        let data = data.to_owned();
        let Some((provider, mut stored)) = open_provider(&data, key_file)? else {
            return Ok(Self { provider: None, seal: Seal::identity(), data, locked: Mutex::default() });
        };
        let path = data.join(FILE);
        let boot: u64 = rand::rng().random();
        let key = random_key();
        stored.boots.push(Boot { boot: format!("{boot:016x}"), wrapped: provider.wrap(&boot_purpose(store, boot), &key, random_nonce()) });
        let mut boots = BTreeMap::new();
        for known in &stored.boots {
            let number = known.number().ok_or_else(|| malformed(&path, "boot"))?;
            let key = provider
                .unwrap(&boot_purpose(store, number), &known.wrapped)
                .map_err(|source| KeysError::Wrapped { path: path.clone(), source })?;
            boots.insert(number, key);
        }
        write(&data, &stored)?;
        Ok(Self { seal: Seal::encrypting(StoreKeys { store, boot, boots }), provider: Some(provider), data, locked: Mutex::default() })
    }

    /// Removes the keys of boots before the oldest in use; `in_use` is what an opened log says, which is then on disk for good.
    /// Answers how many are left.
    ///
    /// # Errors
    /// The file cannot be replaced; the old one stays.
    pub fn retire_boots(&self, in_use: &BTreeSet<u64>) -> Result<usize, KeysError> {
        if self.provider.is_none() {
            return Ok(0);
        }
        let mut stored = read(&self.data)?.ok_or_else(|| malformed(&self.data.join(FILE), "missing"))?;
        let own = stored.boots.len().saturating_sub(1);
        let oldest = stored.boots.iter().position(|boot| boot.number().is_none_or(|number| in_use.contains(&number))).unwrap_or(own);
        if oldest > 0 {
            stored.boots.drain(..oldest.min(own));
            write(&self.data, &stored)?;
        }
        Ok(stored.boots.len())
    }

    /// Makes the key of a new workspace, wrapped; none without a key file.
    #[must_use]
    pub fn new_workspace_key(&self, workspace: &str) -> Option<String> {
        let provider = self.provider.as_ref()?;
        Some(provider.wrap(&workspace_purpose(workspace), &random_key(), random_nonce()))
    }

    /// Seals a short secret of the meta group's state; without a key file it stays as it is.
    #[must_use]
    pub fn seal_secret(&self, purpose: &str, secret: &[u8]) -> Vec<u8> {
        match &self.provider {
            Some(provider) => [&[SEALED], provider.wrap_bytes(purpose, secret, random_nonce()).as_bytes()].concat(),
            None => [&[PLAIN], secret].concat(),
        }
    }

    /// Opens it; none without the key.
    #[must_use]
    pub fn open_secret(&self, purpose: &str, sealed: &[u8]) -> Option<Vec<u8>> {
        match (sealed.split_first()?, &self.provider) {
            ((&PLAIN, secret), _) => Some(secret.to_vec()),
            ((&SEALED, wrapped), Some(provider)) => Some(provider.unwrap_bytes(purpose, std::str::from_utf8(wrapped).ok()?).ok()?.to_vec()),
            _ => None,
        }
    }

    /// Makes values of a workspace readable and writable, or sees to it that they are neither. Answers whether they are.
    #[must_use]
    pub fn take_workspace(&self, workspace: &WorkspaceId, wrapped: Option<&str>) -> bool {
        let is_open = self.open_workspace(workspace, wrapped);
        let mut locked = self.locked.lock();
        if is_open {
            locked.remove(workspace);
        } else {
            self.seal.lock_workspace(workspace.clone());
            if locked.insert(workspace.clone()) {
                tracing::error!(%workspace, "the workspace's key is not available: its replicas here write no checkpoints and keep their log");
            }
        }
        metrics::set_workspaces_without_key(locked.len());
        is_open
    }

    fn open_workspace(&self, workspace: &WorkspaceId, wrapped: Option<&str>) -> bool {
        if wrapped.is_some() == self.provider.is_some() && self.seal.serves_workspace(workspace) {
            return true;
        }
        match (&self.provider, wrapped) {
            (None, None) => true,
            (Some(provider), Some(wrapped)) => match provider.unwrap(&workspace_purpose(workspace.as_str()), wrapped) {
                Ok(key) => {
                    self.seal.add_workspace(workspace.clone(), key);
                    true
                }
                Err(_) => false,
            },
            _ => false,
        }
    }

    /// Forgets the key of a workspace that has nothing here any more.
    pub fn forget_workspace(&self, workspace: &WorkspaceId) {
        self.seal.forget_workspace(workspace);
        let mut locked = self.locked.lock();
        locked.remove(workspace);
        metrics::set_workspaces_without_key(locked.len());
    }
}

/// The provider and what the directory has; nothing for a directory without encryption.
fn open_provider(data: &Path, key_file: Option<&Path>) -> Result<Option<(KeyProvider, Stored)>, KeysError> {
    let stored = read(data)?;
    let Some(path) = key_file else {
        return if stored.is_some() { Err(KeysError::KeyFileMissing) } else { Ok(None) };
    };
    let text = fs::read_to_string(path).map_err(|source| KeysError::Io { path: path.to_owned(), source })?;
    let provider = KeyProvider::from_text(&text).map_err(|source| KeysError::KeyFile { path: path.to_owned(), source })?;
    let stored = match stored {
        Some(stored) => stored,
        None if data.join("raftdb").exists() || data.join("chunkdb").exists() => return Err(KeysError::NotEncrypted),
        None => Stored { version: VERSION, key_id: provider.id(), boots: Vec::new() },
    };
    if stored.key_id != provider.id() {
        return Err(KeysError::WrongKey { expected: stored.key_id, found: provider.id() });
    }
    Ok(Some((provider, stored)))
}

fn boot_purpose(store: StoreId, boot: u64) -> String {
    format!("log of store {} boot {boot:016x}", store.0)
}

fn workspace_purpose(workspace: &str) -> String {
    format!("workspace {workspace}")
}

fn random_key() -> DataKey {
    DataKey::new(rand::rng().random::<[u8; KEY_BYTES]>())
}

fn random_nonce() -> [u8; WRAP_NONCE_BYTES] {
    rand::rng().random()
}

fn malformed(path: &Path, detail: &str) -> KeysError {
    KeysError::Malformed { path: path.to_owned(), detail: detail.to_owned() }
}

fn read(data: &Path) -> Result<Option<Stored>, KeysError> {
    let path = data.join(FILE);
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(KeysError::Io { path, source }),
    };
    let stored: Stored = serde_json::from_slice(&bytes).map_err(|error| malformed(&path, &error.to_string()))?;
    if stored.version != VERSION {
        return Err(malformed(&path, &format!("unknown version {}", stored.version)));
    }
    Ok(Some(stored))
}

/// Replaces the file; durable when this returns.
fn write(data: &Path, stored: &Stored) -> Result<(), KeysError> {
    let path = data.join(FILE);
    let replace = || -> io::Result<()> {
        let temporary = data.join(format!("{FILE}.new"));
        let mut file = File::create(&temporary)?;
        serde_json::to_writer_pretty(&mut file, stored)?;
        file.write_all(b"\n")?;
        file.sync_all()?;
        fs::rename(&temporary, &path)?;
        File::open(data)?.sync_all()
    };
    replace().map_err(|source| KeysError::Io { path: path.clone(), source })
}

#[cfg(test)]
mod tests;
