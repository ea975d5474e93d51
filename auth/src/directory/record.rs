//! The records of a directory.

use crate::id::Id;
use crate::policy::{PolicyDocument, Tags};
use crate::text;
use crate::token::TokenHash;
use model::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Bytes of a sealed secret at most.
pub const SEALED_BYTES_MAX: usize = 512;

/// A secret that the caller sealed: opaque here, never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct SealedSecret(Vec<u8>);

impl SealedSecret {
    /// Takes what the caller's cipher gave.
    #[must_use]
    pub fn new(sealed: Vec<u8>) -> Self {
        Self(sealed)
    }

    /// The bytes, for the caller's cipher.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for SealedSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealedSecret({} bytes)", self.0.len())
    }
}

impl Serialize for SealedSecret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&text::base64(&self.0))
    }
}

impl<'de> Deserialize<'de> for SealedSecret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = text::from_base64(&String::deserialize(deserializer)?);
        bytes.map(Self).ok_or_else(|| serde::de::Error::custom("not a sealed secret"))
    }
}

/// The policies of a user, a group or a role.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attached {
    /// Names of policies of the directory and of managed ones.
    pub policies: BTreeSet<String>,
    /// Policies of its own, by name.
    pub inline: BTreeMap<String, PolicyDocument>,
}

/// Someone, or something, with a lasting identity.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct User {
    /// Never given twice, other than the name.
    pub id: Id,
    /// When it was created.
    pub created_ms: Timestamp,
    /// Names and values for people and conditions.
    pub tags: Tags,
    /// The groups it is in.
    pub groups: BTreeSet<String>,
    /// Its policies.
    pub attached: Attached,
}

/// Users with policies in common.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Group {
    /// When it was created.
    pub created_ms: Timestamp,
    /// Its policies.
    pub attached: Attached,
}

/// An identity that others take on for a while.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Role {
    /// Never given twice: sessions of a role that was deleted do not belong to one that has its name.
    pub id: Id,
    /// When it was created.
    pub created_ms: Timestamp,
    /// Who may take it on.
    pub trust: PolicyDocument,
    /// Seconds that a session may last at most.
    pub session_max_s: u32,
    /// Sessions that began earlier are over.
    pub not_before_ms: Timestamp,
    /// Names and values for people and conditions.
    pub tags: Tags,
    /// Its policies.
    pub attached: Attached,
}

/// An access key of a user.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccessKey {
    /// Whose.
    pub user: String,
    /// Its secret.
    pub sealed: SealedSecret,
    /// Whether it may be used.
    pub is_active: bool,
    /// When it was created.
    pub created_ms: Timestamp,
}

/// An API token of a user.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenRecord {
    /// Whose.
    pub user: String,
    /// What is known of its secret.
    pub hash: TokenHash,
    /// For people.
    pub description: String,
    /// Narrows what the user may, if it is there.
    pub policy: Option<PolicyDocument>,
    /// When it ends, if it does.
    pub expires_ms: Option<Timestamp>,
    /// When it was created.
    pub created_ms: Timestamp,
}
