//! API tokens, `flotilla_<id>_<secret>`: sent as bearer tokens, stored as hashes.

use crate::Secret;
use crate::id::{Id, IdKind, base32};
use ring::digest::{Context, SHA256};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use subtle::ConstantTimeEq;

/// What every token begins with: scanners for leaked secrets find it.
pub const TOKEN_PREFIX: &str = "flotilla_";
/// Random bytes of a token's secret.
pub const TOKEN_SECRET_BYTES: usize = 32;
const SECRET_DIGITS: usize = 52;

/// A token in the clear.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiToken {
    /// Its id, which is no secret.
    pub id: Id,
    secret: Secret,
}

impl ApiToken {
    /// Makes a token of random bytes from a cryptographic source.
    #[must_use]
    pub fn new(id: Id, entropy: [u8; TOKEN_SECRET_BYTES]) -> Self {
        Self { id, secret: Secret::new(base32(&entropy).into_bytes()) }
    }

    /// Reads a token as it is sent.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (id, secret) = text.strip_prefix(TOKEN_PREFIX)?.split_once('_')?;
        let id = Id::parse(id).filter(|id| id.kind() == IdKind::Token)?;
        let is_secret = secret.len() == SECRET_DIGITS && secret.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit());
        is_secret.then(|| Self { id, secret: Secret::from(secret) })
    }

    /// The text, to be shown once.
    #[must_use]
    pub fn expose(&self) -> Secret {
        let parts: [&[u8]; 4] = [TOKEN_PREFIX.as_bytes(), self.id.as_str().as_bytes(), b"_", self.secret.expose()];
        Secret::new(parts.concat())
    }

    /// What is stored of it. One round of SHA-256 is enough: the secret has 256 random bits.
    #[must_use]
    pub fn hash(&self) -> TokenHash {
        let mut context = Context::new(&SHA256);
        context.update(b"flotilla token 1\0");
        context.update(self.id.as_str().as_bytes());
        context.update(self.secret.expose());
        let mut hash = [0; 32];
        hash.copy_from_slice(context.finish().as_ref());
        TokenHash(hash)
    }
}

/// What is stored of a token.
#[derive(Clone, Copy)]
pub struct TokenHash([u8; 32]);

impl TokenHash {
    /// Stands for the hash of a token that is not known; no token has it.
    pub(crate) const DECOY: Self = Self([0; 32]);
}

/// Takes the same time wherever they differ.
impl PartialEq for TokenHash {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for TokenHash {}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenHash")
    }
}

impl Serialize for TokenHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&crate::text::base64(&self.0))
    }
}

impl<'de> Deserialize<'de> for TokenHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = crate::text::from_base64(&String::deserialize(deserializer)?);
        bytes.and_then(|bytes| bytes.try_into().ok()).map(Self).ok_or_else(|| serde::de::Error::custom("not a hash of a token"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn token(byte: u8) -> ApiToken {
        ApiToken::new(Id::new(IdKind::Token, [byte; 10]), [byte; 32])
    }

    #[test]
    fn a_token_is_read_back_and_known_by_its_hash() {
        let text = token(7).expose();
        let text = std::str::from_utf8(text.expose()).unwrap();
        assert_eq!(text, "flotilla_APITA4DQOBYHA4DQOBYH_A4DQOBYHA4DQOBYHA4DQOBYHA4DQOBYHA4DQOBYHA4DQOBYHA4DQ");
        let read = ApiToken::parse(text).unwrap();
        assert_eq!(read, token(7));
        assert_eq!(read.hash(), token(7).hash());
        assert_ne!(read.hash(), token(8).hash());
        assert_ne!(ApiToken { id: token(8).id, ..read.clone() }.hash(), read.hash());
        let stored = serde_json::to_string(&read.hash()).unwrap();
        assert_eq!(serde_json::from_str::<TokenHash>(&stored).unwrap(), read.hash());
        assert_eq!(stored, r#""P6R9PPGSnIIjc8S833xwLpIwMwNzMMV2fZcn6OgNd/8=""#);
        for text in [&text[1..], &text[..text.len() - 1], &text.to_lowercase(), &text.replace("APIT", "AKIA"), "flotilla_", ""] {
            assert_eq!(ApiToken::parse(text), None, "{text}");
        }
    }

    #[test]
    fn nothing_prints_the_secret() {
        let printed = format!("{:?} {:?}", token(7), token(7).hash());
        assert_eq!(printed, "ApiToken { id: APITA4DQOBYHA4DQOBYH, secret: Secret } TokenHash");
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in ".{0,80}") {
            let _ = ApiToken::parse(&text);
            let _ = ApiToken::parse(&format!("{TOKEN_PREFIX}{text}"));
        }
    }
}
