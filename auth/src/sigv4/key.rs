//! Signing keys: derived by four HMACs, and kept for the next request of the same client.

use super::Signed;
use crate::Secret;
use model::lru::ByteLru;
use parking_lot::Mutex;
use ring::hmac::{HMAC_SHA256, Key, sign};
use zeroize::Zeroizing;

/// What a kept key takes besides its texts, roughly: the key's two hash states, the map's and the order's entries.
const ENTRY_BYTES: u64 = 400;

/// Derives the key that signs for a day, a region and a service.
pub(super) fn derive(secret: &Secret, date: &str, region: &str, service: &str) -> Key {
    let mut first = Zeroizing::new(b"AWS4".to_vec());
    first.extend_from_slice(secret.expose());
    let mut key = Key::new(HMAC_SHA256, &first);
    for part in [date, region, service, "aws4_request"] {
        key = Key::new(HMAC_SHA256, sign(&key, part.as_bytes()).as_ref());
    }
    key
}

/// Derived keys, bounded in bytes.
#[derive(Debug)]
pub(super) struct KeyCache(Mutex<ByteLru<Scope, Entry>>);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Scope {
    access_key_id: String,
    date: String,
    region: String,
    service: String,
}

impl Scope {
    fn of(signed: &Signed) -> Self {
        let Signed { access_key_id, date, region, service, .. } = signed;
        Self { access_key_id: access_key_id.clone(), date: date.clone(), region: region.clone(), service: service.clone() }
    }
}

#[derive(Debug)]
struct Entry {
    /// Of which secret it was derived: a key id can get another one.
    origin: [u8; 32],
    key: Key,
}

impl KeyCache {
    pub(super) fn new(bytes_max: u64) -> Self {
        Self(Mutex::new(ByteLru::new(bytes_max)))
    }

    /// The kept key of the request's scope, if it was derived from the same secret.
    pub(super) fn get(&self, signed: &Signed, origin: &[u8; 32]) -> Option<Key> {
        let mut keys = self.0.lock();
        keys.get(&Scope::of(signed)).filter(|entry| entry.origin == *origin).map(|entry| entry.key.clone())
    }

    /// Keeps a key. Only ones that have verified a request: what strangers send must not drive out others.
    pub(super) fn insert(&self, signed: &Signed, origin: [u8; 32], key: Key) {
        let scope = Scope::of(signed);
        let bytes = scope.access_key_id.len() + scope.date.len() + scope.region.len() + scope.service.len();
        self.0.lock().insert(scope, Entry { origin, key }, bytes as u64 + ENTRY_BYTES);
    }

    #[cfg(test)]
    pub(super) fn bytes(&self) -> u64 {
        self.0.lock().bytes()
    }
}
