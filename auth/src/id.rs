//! Ids that are given once: a prefix that tells the kind, and 80 random bits in base 32.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// Random bytes that an id takes.
pub const ID_ENTROPY_BYTES: usize = 10;
const DIGITS: usize = 16;
const PREFIX_BYTES: usize = 4;
const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// What an id names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IdKind {
    /// A user.
    User,
    /// A role.
    Role,
    /// An access key of a user.
    AccessKey,
    /// The access key of a session.
    SessionKey,
    /// An API token.
    Token,
}

const KINDS: [(&str, IdKind); 5] =
    [("AIDA", IdKind::User), ("AROA", IdKind::Role), ("AKIA", IdKind::AccessKey), ("ASIA", IdKind::SessionKey), ("APIT", IdKind::Token)];

/// An id. It is no secret, and no text that users choose can be one, so it may stand in logs.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id(String);

impl Id {
    /// Makes an id of random bytes from a cryptographic source.
    #[must_use]
    pub fn new(kind: IdKind, entropy: [u8; ID_ENTROPY_BYTES]) -> Self {
        let prefix = KINDS.iter().find(|(_, known)| *known == kind).map_or("", |(prefix, _)| prefix);
        Self(format!("{prefix}{}", base32(&entropy)))
    }

    /// Reads an id of any kind.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let is_id = text.len() == PREFIX_BYTES + DIGITS
            && text.bytes().skip(PREFIX_BYTES).all(|byte| ALPHABET.contains(&byte))
            && KINDS.iter().any(|(prefix, _)| text.starts_with(prefix));
        is_id.then(|| Self(text.to_owned()))
    }

    /// What it names.
    #[must_use]
    pub fn kind(&self) -> IdKind {
        KINDS.iter().find(|(prefix, _)| self.0.starts_with(prefix)).map_or(IdKind::User, |(_, kind)| *kind)
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for Id {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("not an id"))
    }
}

/// Base 32 of RFC 4648, without padding.
pub(crate) fn base32(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len().div_ceil(5) * 8);
    let (mut bits, mut count) = (0_u32, 0);
    let digit = |index: u32| char::from(ALPHABET[(index & 31) as usize]);
    for byte in bytes {
        bits = bits << 8 | u32::from(*byte);
        count += 8;
        while count >= 5 {
            count -= 5;
            out.push(digit(bits >> count));
        }
        bits &= (1 << count) - 1;
    }
    if count > 0 {
        out.push(digit(bits << (5 - count)));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn base_32_is_that_of_the_rfc() {
        for (bytes, text) in
            [("", ""), ("f", "MY"), ("fo", "MZXQ"), ("foo", "MZXW6"), ("foob", "MZXW6YQ"), ("fooba", "MZXW6YTB"), ("foobar", "MZXW6YTBOI")]
        {
            assert_eq!(base32(bytes.as_bytes()), text);
        }
    }

    #[test]
    fn secrets_and_names_are_no_ids() {
        for text in
            ["", "AKIA", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "akiaaaaaaaaaaaaaaaaa", "AKIAAAAAAAAAAAAAAAA1", "AXXXAAAAAAAAAAAAAAAA"]
        {
            assert_eq!(Id::parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn ids_are_read_back(entropy in any::<[u8; ID_ENTROPY_BYTES]>(), at in 0..KINDS.len()) {
            let id = Id::new(KINDS[at].1, entropy);
            prop_assert_eq!(id.kind(), KINDS[at].1);
            prop_assert_eq!(Id::parse(id.as_str()), Some(id.clone()));
            prop_assert_eq!(serde_json::from_str::<Id>(&serde_json::to_string(&id).unwrap()).unwrap(), id);
        }
    }
}
