//! Who this data directory is: a small file, written before anything that depends on it.

use rand::RngExt;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

const FILE: &str = "identity.json";
const VERSION: u32 = 1;

/// The identity of one data directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    version: u32,
    /// Names the disk: minted when the directory was empty, lost with it.
    pub incarnation: String,
    /// Given when the node founded or joined a cluster.
    pub membership: Option<Membership>,
}

/// The place of a store in its cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Membership {
    /// The store's id.
    pub store_id: u64,
    /// Known from the first applied meta entry, or from the cluster that was joined.
    pub cluster_id: Option<String>,
    /// Address and incarnation of every founder as this node saw them when it founded; empty if it joined.
    pub founders: BTreeMap<String, String>,
    /// Where the other nodes answered last: whom a start asks what they remember of this disk.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub peers: BTreeSet<String>,
}

/// Why an identity could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The file system said no.
    #[error("identity file {path}: {source}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is not an identity.
    #[error("identity file {path} is malformed: {detail}")]
    Malformed {
        /// Which file.
        path: PathBuf,
        /// Why.
        detail: String,
    },
    /// The file was written by a binary that knows more.
    #[error("identity file {path} has unknown version {version}")]
    Version {
        /// Which file.
        path: PathBuf,
        /// Its version.
        version: u32,
    },
}

impl Identity {
    /// Reads the identity of `dir`, minting and storing one if the directory has none.
    ///
    /// # Errors
    /// The directory cannot be used, or the file is not what this binary writes.
    pub fn open(dir: &Path) -> Result<Self, IdentityError> {
        let path = dir.join(FILE);
        match fs::read(&path) {
            Ok(bytes) => {
                let identity: Self =
                    serde_json::from_slice(&bytes).map_err(|e| IdentityError::Malformed { path: path.clone(), detail: e.to_string() })?;
                if identity.version != VERSION {
                    return Err(IdentityError::Version { path, version: identity.version });
                }
                Ok(identity)
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                let identity = Self { version: VERSION, incarnation: random_hex(), membership: None };
                identity.store(dir)?;
                Ok(identity)
            }
            Err(source) => Err(IdentityError::Io { path, source }),
        }
    }

    /// Replaces the file; durable when this returns.
    ///
    /// # Errors
    /// The file system refused; the old file stays.
    pub fn store(&self, dir: &Path) -> Result<(), IdentityError> {
        let path = dir.join(FILE);
        let write = || -> io::Result<()> {
            let temporary = dir.join(format!("{FILE}.new"));
            let mut file = File::create(&temporary)?;
            serde_json::to_writer_pretty(&mut file, self)?;
            file.write_all(b"\n")?;
            file.sync_all()?;
            fs::rename(&temporary, &path)?;
            File::open(dir)?.sync_all()
        };
        write().map_err(|source| IdentityError::Io { path: path.clone(), source })
    }
}

/// 128 random bits as text: incarnations, cluster ids, request ids.
#[must_use]
pub fn random_hex() -> String {
    format!("{:032x}", rand::rng().random::<u128>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c12_an_identity_survives_restart_and_is_lost_with_the_disk() {
        let dir = tempfile::tempdir().unwrap();
        let mut identity = Identity::open(dir.path()).unwrap();
        assert_eq!(identity.membership, None);
        identity.membership = Some(Membership { store_id: 2, cluster_id: None, founders: BTreeMap::new(), peers: BTreeSet::new() });
        identity.store(dir.path()).unwrap();
        assert_eq!(Identity::open(dir.path()).unwrap(), identity);
        fs::remove_file(dir.path().join(FILE)).unwrap();
        assert_ne!(Identity::open(dir.path()).unwrap().incarnation, identity.incarnation);
    }

    #[test]
    fn a_foreign_file_is_refused_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(FILE), "{}").unwrap();
        assert!(matches!(Identity::open(dir.path()), Err(IdentityError::Malformed { .. })));
        fs::write(dir.path().join(FILE), r#"{"version":9,"incarnation":"a","membership":null}"#).unwrap();
        assert!(matches!(Identity::open(dir.path()), Err(IdentityError::Version { version: 9, .. })));
    }
}
