//! Session tokens: everything that is to be known of a session, sealed, so that any node can verify one without a look-up and nothing is
//! written when a role is assumed.
//!
//! ```text
//! base64( version u8 (1) | key number u32le | salt (16 bytes) | nonce (12 bytes) | AES-256-GCM of JSON | tag (16 bytes) )
//! ```
//!
//! Each token has a key of its own, derived from the cluster's session key and the salt; the tag also covers all that stands before.

use crate::Secret;
use crate::id::{Id, IdKind};
use crate::text;
use model::Timestamp;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hmac::{Context, HMAC_SHA256, Key};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use zeroize::Zeroizing;

const VERSION: u8 = 1;
const SALT_BYTES: usize = 16;
const HEAD_BYTES: usize = 1 + 4 + SALT_BYTES + NONCE_LEN;
/// Characters of a token at most: what a head of a request has room for.
const TOKEN_CHARS_MAX: usize = 8_192;
/// Random bytes that sealing takes.
pub const SEAL_ENTROPY_BYTES: usize = SALT_BYTES + NONCE_LEN;

/// What a token holds.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Session {
    /// The session's access key.
    pub access_key_id: Id,
    /// Its secret, a text.
    #[serde(with = "secret_text")]
    pub secret: Secret,
    /// Name of the role.
    pub role: String,
    /// Id of the role, which another of its name does not have.
    pub role_id: Id,
    /// Name of the session.
    pub name: String,
    /// Whom an issuer vouched for, if one did.
    pub subject: Option<String>,
    /// Narrows what the role may: the text of an identity policy.
    pub policy: Option<String>,
    /// When it began.
    pub issued_ms: Timestamp,
    /// When it ends.
    pub expires_ms: Timestamp,
}

mod secret_text {
    use crate::Secret;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(secret: &Secret, serializer: S) -> Result<S::Ok, S::Error> {
        let text = std::str::from_utf8(secret.expose()).map_err(|_| serde::ser::Error::custom("a secret that is no text"))?;
        serializer.serialize_str(text)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Secret, D::Error> {
        String::deserialize(deserializer).map(|text| Secret::new(text.into_bytes()))
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { access_key_id, role, name, issued_ms, expires_ms, .. } = self;
        write!(f, "Session({access_key_id}, {role}/{name}, {issued_ms} to {expires_ms})")
    }
}

/// The cluster's session keys: the one of the highest number seals, all open.
#[derive(Default)]
pub struct SessionKeys(BTreeMap<u32, Key>);

impl fmt::Debug for SessionKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SessionKeys").field(&self.0.keys().collect::<Vec<_>>()).finish()
    }
}

/// There is no key to seal with, or what is to be sealed does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The cluster has no session key that is available here.
    #[error("there is no session key")]
    NoKey,
    /// The token would be too long.
    #[error("the session token would be too long")]
    TooLong,
}

impl SessionKeys {
    /// Takes keys by number.
    #[must_use]
    pub fn new<'a>(keys: impl IntoIterator<Item = (u32, &'a [u8; 32])>) -> Self {
        Self(keys.into_iter().map(|(number, key)| (number, Key::new(HMAC_SHA256, key))).collect())
    }

    /// Seals a session. `entropy` is random and used once.
    ///
    /// # Errors
    /// [`SealError`].
    pub fn seal(&self, session: &Session, entropy: [u8; SEAL_ENTROPY_BYTES]) -> Result<String, SealError> {
        let (number, key) = self.0.last_key_value().ok_or(SealError::NoKey)?;
        let mut out = vec![VERSION];
        out.extend_from_slice(&number.to_le_bytes());
        out.extend_from_slice(&entropy);
        let (salt, nonce) = entropy.split_at(SALT_BYTES);
        let mut body = Zeroizing::new(serde_json::to_vec(session).map_err(|_| SealError::TooLong)?);
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| SealError::TooLong)?;
        let tag = cipher(key, salt)
            .and_then(|cipher| cipher.seal_in_place_separate_tag(nonce, Aad::from(&out), &mut body).ok())
            .ok_or(SealError::TooLong)?;
        out.extend_from_slice(&body);
        out.extend_from_slice(tag.as_ref());
        let token = text::base64(&out);
        if token.len() > TOKEN_CHARS_MAX { Err(SealError::TooLong) } else { Ok(token) }
    }

    /// Opens a token; none if it is not one of this cluster's, or its key is gone. Says nothing of whether the session still lasts.
    #[must_use]
    pub fn open(&self, token: &str) -> Option<Session> {
        if token.len() > TOKEN_CHARS_MAX {
            return None;
        }
        let bytes = text::from_base64(token)?;
        let (head, body) = bytes.split_at_checked(HEAD_BYTES)?;
        let (&VERSION, rest) = head.split_first()? else { return None };
        let (number, entropy) = rest.split_first_chunk::<4>()?;
        let (salt, nonce) = entropy.split_at(SALT_BYTES);
        let key = self.0.get(&u32::from_le_bytes(*number))?;
        let mut body = Zeroizing::new(body.to_vec());
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let plain = cipher(key, salt)?.open_in_place(nonce, Aad::from(head), &mut body).ok()?;
        let session: Session = serde_json::from_slice(plain).ok()?;
        let is_formed = session.access_key_id.kind() == IdKind::SessionKey && session.role_id.kind() == IdKind::Role;
        is_formed.then_some(session)
    }
}

fn cipher(key: &Key, salt: &[u8]) -> Option<LessSafeKey> {
    let mut context = Context::with_key(key);
    context.update(b"flotilla session 1\0");
    context.update(salt);
    UnboundKey::new(&AES_256_GCM, context.sign().as_ref()).ok().map(LessSafeKey::new)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn session() -> Session {
        Session {
            access_key_id: Id::new(IdKind::SessionKey, [1; 10]),
            secret: Secret::from("secret"),
            role: "r".into(),
            role_id: Id::new(IdKind::Role, [2; 10]),
            name: "s".into(),
            subject: Some("sub".into()),
            policy: None,
            issued_ms: 1,
            expires_ms: 2,
        }
    }

    #[test]
    fn keys_are_rotated() {
        let (old, both, new) =
            (SessionKeys::new([(1, &[1; 32])]), SessionKeys::new([(1, &[1; 32]), (2, &[2; 32])]), SessionKeys::new([(2, &[2; 32])]));
        let by_old = old.seal(&session(), [3; 28]).unwrap();
        let by_new = both.seal(&session(), [3; 28]).unwrap();
        assert_eq!(both.open(&by_old), Some(session()));
        assert_eq!(both.open(&by_new), Some(session()));
        assert_eq!(new.open(&by_new), Some(session()));
        assert_eq!(new.open(&by_old), None);
        assert_eq!(old.open(&by_new), None);
        assert_eq!(SessionKeys::new([(1, &[9; 32])]).open(&by_old), None);
        assert_eq!(SessionKeys::default().seal(&session(), [3; 28]), Err(SealError::NoKey));
    }

    #[test]
    fn a_token_has_golden_bytes_and_tells_nothing() {
        let keys = SessionKeys::new([(7, &[1; 32])]);
        let token = keys.seal(&session(), [3; 28]).unwrap();
        assert_eq!(token, include_str!("../tests/data/session_token.golden").trim_end());
        assert!(token.starts_with("AQcAAAADAwMD"));
        assert_eq!(format!("{:?} {keys:?}", session()), "Session(ASIAAEAQCAIBAEAQCAIB, r/s, 1 to 2) SessionKeys([7])");
        let long = Session { policy: Some("x".repeat(7_000)), ..session() };
        assert_eq!(keys.seal(&long, [3; 28]), Err(SealError::TooLong));
    }

    #[test]
    fn no_bit_of_a_token_can_be_changed() {
        let keys = SessionKeys::new([(0, &[1; 32]), (1, &[1; 32])]);
        let bytes = text::from_base64(&keys.seal(&session(), [3; 28]).unwrap()).unwrap();
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut changed = bytes.clone();
                changed[at] ^= 1 << bit;
                assert_eq!(keys.open(&text::base64(&changed)), None, "byte {at}");
            }
            assert_eq!(keys.open(&text::base64(&bytes[..at])), None);
        }
    }

    proptest! {
        #[test]
        fn sessions_are_read_back(name in ".{0,20}", policy in prop::option::of(".{0,40}"), entropy in any::<[u8; 28]>(), key in any::<[u8; 32]>()) {
            let session = Session { name, policy, ..session() };
            let keys = SessionKeys::new([(5, &key)]);
            prop_assert_eq!(keys.open(&keys.seal(&session, entropy).unwrap()), Some(session));
        }

        #[test]
        fn arbitrary_tokens_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..80), token in ".{0,40}") {
            let keys = SessionKeys::new([(0x0101_0101, &[1; 32])]);
            prop_assert_eq!(keys.open(&token), None);
            prop_assert_eq!(keys.open(&text::base64(&[&[1, 1, 1, 1, 1], bytes.as_slice()].concat())), None);
        }
    }
}
