//! Secrets that the directory keeps: sealed with the key of the key file, as the keys of workspaces are. A cluster that does not encrypt
//! keeps them as they are.

use crate::keys::NodeKeys;
use auth::Secret;
use auth::directory::SealedSecret;
use auth::id::Id;
use auth::session::SessionKeys;
use std::collections::BTreeMap;
use zeroize::Zeroizing;

/// Seals the secret of an access key.
#[must_use]
pub fn seal(keys: &NodeKeys, id: &Id, secret: &Secret) -> SealedSecret {
    SealedSecret::new(keys.seal_secret(&purpose(id), secret.expose()))
}

/// Opens it; none if this node has not the key.
#[must_use]
pub fn unseal(keys: &NodeKeys, id: &Id, sealed: &SealedSecret) -> Option<Secret> {
    keys.open_secret(&purpose(id), sealed.as_bytes()).map(Secret::new)
}

/// The keys of session tokens that this node can open.
#[must_use]
pub fn sessions(keys: &NodeKeys, sealed: &BTreeMap<u32, SealedSecret>) -> SessionKeys {
    let open = |(number, sealed): (&u32, &SealedSecret)| {
        let key = Zeroizing::new(keys.open_secret(&session_purpose(*number), sealed.as_bytes())?);
        Some((*number, Zeroizing::new(<[u8; 32]>::try_from(key.as_slice()).ok()?)))
    };
    let opened: Vec<(u32, Zeroizing<[u8; 32]>)> = sealed.iter().filter_map(open).collect();
    SessionKeys::new(opened.iter().map(|(number, key)| (*number, &**key)))
}

/// Seals a key of session tokens.
#[must_use]
pub fn seal_session(keys: &NodeKeys, number: u32, key: &Secret) -> SealedSecret {
    SealedSecret::new(keys.seal_secret(&session_purpose(number), key.expose()))
}

fn purpose(id: &Id) -> String {
    format!("access key {}", id.as_str())
}

fn session_purpose(number: u32) -> String {
    format!("session key {number}")
}
