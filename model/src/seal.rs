//! The one pair of functions through which every value of both databases goes, Raft payloads included.
//!
//! Without keys every value keeps its bytes behind a version byte. With keys it is AES-256-GCM:
//!
//! ```text
//! version u8 (1) | store varint | boot u64le | counter varint | ciphertext | tag (16 bytes)
//! ```
//!
//! The key is derived from a data key, the store and the boot that sealed the value; the nonce is a counter of the boot. So a nonce
//! repeats only if a random boot number of 64 bits does. The tag also covers the header and the whole [`SealContext`].

mod key;

#[cfg(test)]
mod tests;

pub use key::{DataKey, KEY_BYTES, KeyError, KeyProvider, WRAP_NONCE_BYTES};

use crate::ids::{ShardId, StoreId, WorkspaceId};
use parking_lot::RwLock;
use ring::aead::{Aad, LessSafeKey, NONCE_LEN, Nonce};
use ring::hmac;
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const IDENTITY: u8 = 0;
const AES_256_GCM_V1: u8 = 1;
/// Derived keys that are kept for each data key; more stores and boots than that are derived again when met.
const DERIVED_MAX: usize = 256;

/// Whose key seals a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SealClass<'a> {
    /// Nobody's: records of the node and state of the meta group, which opening everything else begins with.
    Readable,
    /// The store's: the log, under a key of each boot.
    Store,
    /// The workspace's: everything of its shards.
    Workspace(&'a WorkspaceId),
}

/// What a sealed value is bound to: moving it elsewhere must not open.
#[derive(Clone, Copy, Debug)]
pub struct SealContext<'a> {
    /// Column family that holds the value.
    pub column_family: &'static str,
    /// Cluster-wide shard, not the node-local number.
    pub shard: ShardId,
    /// Key without its node-local prefix, so that snapshots and moves can re-key.
    pub key: &'a [u8],
    /// Whose key seals it.
    pub class: SealClass<'a>,
}

/// Why a value could not be sealed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The workspace's key is not here.
    #[error("the key of workspace {0} is not available")]
    NoKey(WorkspaceId),
    /// The value is too large for the cipher, or every nonce is used up.
    #[error("the cipher refused the value")]
    Cipher,
}

/// Why a stored value could not be opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// The value has no version byte.
    #[error("sealed value is empty")]
    Empty,
    /// The value was written by a binary that knows more, or without keys where there must be some, or the reverse.
    #[error("sealed value has unexpected version {0}")]
    UnknownVersion(u8),
    /// The header ends early.
    #[error("sealed value has a damaged header")]
    Header,
    /// The workspace's key is not here.
    #[error("the key of workspace {0} is not available")]
    NoKey(WorkspaceId),
    /// The log's key of that boot is not here.
    #[error("the key of boot {0:016x} is not available")]
    NoBoot(u64),
    /// The value, or the place it was found at, is not what was sealed.
    #[error("sealed value does not belong here or is damaged")]
    Refused,
}

/// What a store brings to seal with.
#[derive(Clone, Debug)]
pub struct StoreKeys {
    /// The store.
    pub store: StoreId,
    /// Random number of this boot.
    pub boot: u64,
    /// Keys of the boots whose log may still be there, this boot's included.
    pub boots: BTreeMap<u64, DataKey>,
}

/// Seals and opens stored values; clones share their keys.
#[derive(Clone, Default)]
pub struct Seal(Arc<Inner>);

#[derive(Default)]
struct Inner {
    keys: Option<Keys>,
    /// Keys of workspaces; none where a workspace has a key that this node cannot get.
    workspaces: RwLock<HashMap<WorkspaceId, Option<Arc<KeyRing>>>>,
}

struct Keys {
    store: StoreId,
    boot: u64,
    counter: AtomicU64,
    boots: BTreeMap<u64, KeyRing>,
}

/// A data key and what was derived from it.
struct KeyRing {
    data: DataKey,
    own: LessSafeKey,
    hashes: hmac::Key,
    others: RwLock<HashMap<(u64, u64), LessSafeKey>>,
}

impl KeyRing {
    fn new(data: DataKey, store: StoreId, boot: u64) -> Self {
        let hashes = hmac::Key::new(hmac::HMAC_SHA256, &*data.derive(&[b"label hashes"]));
        Self { own: derive(&data, store.0, boot), hashes, others: RwLock::default(), data }
    }
}

fn derive(data: &DataKey, store: u64, boot: u64) -> LessSafeKey {
    key::cipher(&data.derive(&[b"values", &store.to_le_bytes(), &boot.to_le_bytes()]))
}

impl fmt::Debug for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seal").field("encrypts", &self.encrypts()).finish_non_exhaustive()
    }
}

impl Seal {
    /// Makes the sealer that keeps values readable.
    #[must_use]
    pub fn identity() -> Self {
        Self::default()
    }

    /// Makes the sealer that encrypts. `keys.boot` must be fresh and random: it keeps nonces apart.
    #[must_use]
    pub fn encrypting(keys: StoreKeys) -> Self {
        let StoreKeys { store, boot, boots } = keys;
        let boots = boots.into_iter().map(|(number, data)| (number, KeyRing::new(data, store, number))).collect();
        Self(Arc::new(Inner { keys: Some(Keys { store, boot, counter: AtomicU64::new(0), boots }), workspaces: RwLock::default() }))
    }

    /// Whether values are encrypted.
    #[must_use]
    pub fn encrypts(&self) -> bool {
        self.0.keys.is_some()
    }

    /// Takes a workspace's data key. Values of a workspace whose key is not known are neither sealed nor opened.
    pub fn add_workspace(&self, workspace: WorkspaceId, key: DataKey) {
        let ring = self.0.keys.as_ref().map(|keys| Arc::new(KeyRing::new(key, keys.store, keys.boot)));
        self.0.workspaces.write().insert(workspace, ring);
    }

    /// Notes that a workspace has a key which this node cannot get: nothing of it may be written in the clear instead.
    pub fn lock_workspace(&self, workspace: WorkspaceId) {
        self.0.workspaces.write().insert(workspace, None);
    }

    /// Forgets the key of a workspace that is no more.
    pub fn forget_workspace(&self, workspace: &WorkspaceId) {
        self.0.workspaces.write().remove(workspace);
    }

    /// Whether values of the workspace can be sealed and opened.
    #[must_use]
    pub fn serves_workspace(&self, workspace: &WorkspaceId) -> bool {
        self.workspace(workspace).is_ok()
    }

    /// The workspace's keys; `None` keeps its values readable.
    fn workspace(&self, id: &WorkspaceId) -> Result<Option<Arc<KeyRing>>, ()> {
        match (self.0.workspaces.read().get(id), self.encrypts()) {
            (Some(Some(ring)), true) => Ok(Some(Arc::clone(ring))),
            (None, false) => Ok(None),
            _ => Err(()),
        }
    }

    /// Hides a hash of labels that becomes part of a key on disk: without the workspace's key nobody can try labels out.
    ///
    /// # Errors
    /// [`SealError::NoKey`].
    pub fn label_hash(&self, class: SealClass<'_>, hash: u128) -> Result<u128, SealError> {
        let SealClass::Workspace(id) = class else { return Ok(hash) };
        let Some(ring) = self.workspace(id).map_err(|()| SealError::NoKey(id.clone()))? else { return Ok(hash) };
        let tag = hmac::sign(&ring.hashes, &hash.to_le_bytes());
        let (bytes, _) = tag.as_ref().split_first_chunk::<16>().ok_or(SealError::Cipher)?;
        Ok(u128::from_le_bytes(*bytes))
    }

    /// Appends the sealed form of `value` to `out`.
    ///
    /// # Errors
    /// The key is not available; `out` is then as it was.
    pub fn seal(&self, context: SealContext<'_>, value: &[u8], out: &mut Vec<u8>) -> Result<(), SealError> {
        let shared;
        let ring = match (context.class, &self.0.keys) {
            (SealClass::Store, Some(keys)) => Some(keys.boots.get(&keys.boot).ok_or(SealError::Cipher)?),
            (SealClass::Readable, _) | (SealClass::Store, None) => None,
            (SealClass::Workspace(id), _) => {
                shared = self.workspace(id).map_err(|()| SealError::NoKey(id.clone()))?;
                shared.as_deref()
            }
        };
        let (Some(ring), Some(keys)) = (ring, &self.0.keys) else {
            out.reserve(value.len() + 1);
            out.push(IDENTITY);
            out.extend_from_slice(value);
            return Ok(());
        };
        let counter = keys.counter.fetch_add(1, Ordering::Relaxed);
        let begin = out.len();
        out.reserve(value.len() + 48);
        out.push(AES_256_GCM_V1);
        put_varint(out, keys.store.0);
        out.extend_from_slice(&keys.boot.to_le_bytes());
        put_varint(out, counter);
        let associated = associated_data(&out[begin..], context);
        let text = out.len();
        out.extend_from_slice(value);
        match ring.own.seal_in_place_separate_tag(nonce(counter), Aad::from(associated), &mut out[text..]) {
            Ok(tag) => {
                out.extend_from_slice(tag.as_ref());
                Ok(())
            }
            Err(_) => {
                out.truncate(begin);
                Err(SealError::Cipher)
            }
        }
    }

    /// Opens what [`Seal::seal`] wrote under the same context, here or on another store with the same workspace key.
    ///
    /// # Errors
    /// The value is damaged, was sealed elsewhere or with a key that is not here, or is of a version this binary does not know. A store
    /// that encrypts takes no readable value in place of a sealed one.
    pub fn open<'v>(&self, context: SealContext<'_>, sealed: &'v [u8]) -> Result<Cow<'v, [u8]>, OpenError> {
        let (&version, rest) = sealed.split_first().ok_or(OpenError::Empty)?;
        let is_plain = match context.class {
            SealClass::Readable => true,
            SealClass::Store => !self.encrypts(),
            SealClass::Workspace(id) => self.workspace(id).map_err(|()| OpenError::NoKey(id.clone()))?.is_none(),
        };
        match (version, is_plain) {
            (IDENTITY, true) => return Ok(Cow::Borrowed(rest)),
            (AES_256_GCM_V1, false) => {}
            _ => return Err(OpenError::UnknownVersion(version)),
        }
        let header = Header::read(sealed).ok_or(OpenError::Header)?;
        let (head, body) = sealed.split_at(header.bytes);
        let aad = associated_data(head, context);
        let plain = match (context.class, &self.0.keys) {
            (SealClass::Store, Some(keys)) => {
                let ring = keys.boots.get(&header.boot).ok_or(OpenError::NoBoot(header.boot))?;
                if header.store != keys.store.0 {
                    return Err(OpenError::Refused);
                }
                decrypt(&ring.own, header.counter, &aad, body)
            }
            (SealClass::Workspace(id), Some(keys)) => {
                let ring = self.workspace(id).ok().flatten().ok_or_else(|| OpenError::NoKey(id.clone()))?;
                if (header.store, header.boot) == (keys.store.0, keys.boot) {
                    decrypt(&ring.own, header.counter, &aad, body)
                } else {
                    let key = ring.others.read().get(&(header.store, header.boot)).cloned();
                    let fresh = key.is_none();
                    let key = key.unwrap_or_else(|| derive(&ring.data, header.store, header.boot));
                    let plain = decrypt(&key, header.counter, &aad, body);
                    // Only what opened something is kept: damaged headers must not push others out.
                    if fresh && plain.is_some() {
                        let mut others = ring.others.write();
                        if others.len() >= DERIVED_MAX {
                            others.clear();
                        }
                        others.insert((header.store, header.boot), key);
                    }
                    plain
                }
            }
            _ => None,
        };
        plain.map(Cow::Owned).ok_or(OpenError::Refused)
    }
}

/// The boot that sealed a value; none if it is not encrypted.
#[must_use]
pub fn boot_of(sealed: &[u8]) -> Option<u64> {
    (sealed.first() == Some(&AES_256_GCM_V1)).then(|| Header::read(sealed))?.map(|header| header.boot)
}

fn decrypt(key: &LessSafeKey, counter: u64, aad: &[u8], body: &[u8]) -> Option<Vec<u8>> {
    let mut plain = body.to_vec();
    let length = key.open_in_place(nonce(counter), Aad::from(aad), &mut plain).ok()?.len();
    plain.truncate(length);
    Some(plain)
}

fn nonce(counter: u64) -> Nonce {
    let mut bytes = [0; NONCE_LEN];
    bytes[NONCE_LEN - 8..].copy_from_slice(&counter.to_be_bytes());
    Nonce::assume_unique_for_key(bytes)
}

/// Everything a value is bound to, each part with its length so that none runs into the next.
fn associated_data(header: &[u8], context: SealContext<'_>) -> Vec<u8> {
    let (class, workspace) = match context.class {
        SealClass::Readable => (0, ""),
        SealClass::Store => (1, ""),
        SealClass::Workspace(id) => (2, id.as_str()),
    };
    let mut out = Vec::with_capacity(96);
    out.push(class);
    out.extend_from_slice(&context.shard.0.to_le_bytes());
    for part in [header, workspace.as_bytes(), context.column_family.as_bytes(), context.key] {
        out.extend_from_slice(&(part.len() as u64).to_le_bytes());
        out.extend_from_slice(part);
    }
    out
}

struct Header {
    store: u64,
    boot: u64,
    counter: u64,
    bytes: usize,
}

impl Header {
    fn read(sealed: &[u8]) -> Option<Self> {
        let (store, rest) = take_varint(sealed.get(1..)?)?;
        let (boot, rest) = rest.split_first_chunk::<8>()?;
        let (counter, rest) = take_varint(rest)?;
        Some(Self { store, boot: u64::from_le_bytes(*boot), counter, bytes: sealed.len() - rest.len() })
    }
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push((value & 0x7f) as u8);
}

fn take_varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0_u64;
    for (at, byte) in bytes.iter().take(10).enumerate() {
        let part = u64::from(byte & 0x7f);
        let shifted = part << (7 * at);
        if shifted >> (7 * at) != part {
            return None;
        }
        value |= shifted;
        if byte & 0x80 == 0 {
            return Some((value, bytes.get(at + 1..)?));
        }
    }
    None
}
