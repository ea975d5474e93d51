//! Commands that change a directory.

use super::record::SealedSecret;
use crate::id::Id;
use crate::policy::Tags;
use crate::token::TokenHash;
use model::Timestamp;
use serde::{Deserialize, Serialize};

/// What has policies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "name", rename_all = "snake_case")]
pub enum Holder {
    /// A user.
    User(String),
    /// A group.
    Group(String),
    /// A role.
    Role(String),
}

/// A change. Repeating one that was applied changes nothing and is not an error, so that it can be proposed again when its answer was
/// lost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Command {
    /// Creates a user.
    CreateUser {
        /// Its name.
        name: String,
        /// Random, minted by the proposer.
        id: Id,
        /// Names and values.
        tags: Tags,
        /// Cluster time of the proposer.
        now_ms: Timestamp,
    },
    /// Deletes a user with its keys and tokens.
    DeleteUser {
        /// Which.
        name: String,
    },
    /// Creates an access key. A user has two at most, so that one can be replaced while the other is in use.
    CreateAccessKey {
        /// Whose.
        user: String,
        /// Random, minted by the proposer.
        id: Id,
        /// Its secret, sealed by the proposer.
        sealed: SealedSecret,
        /// Cluster time of the proposer.
        now_ms: Timestamp,
    },
    /// Makes an access key usable, or unusable.
    SetAccessKeyActive {
        /// Which.
        id: Id,
        /// Whether it may be used.
        is_active: bool,
    },
    /// Deletes an access key.
    DeleteAccessKey {
        /// Which.
        id: Id,
    },
    /// Creates an API token.
    CreateToken {
        /// Whose.
        user: String,
        /// Random, minted by the proposer.
        id: Id,
        /// Hash of its secret.
        hash: TokenHash,
        /// For people.
        description: String,
        /// Narrows what the user may: the text of an identity policy.
        policy: Option<String>,
        /// When it ends, if it does.
        expires_ms: Option<Timestamp>,
        /// Cluster time of the proposer.
        now_ms: Timestamp,
    },
    /// Deletes an API token.
    DeleteToken {
        /// Which.
        id: Id,
    },
    /// Creates a group.
    CreateGroup {
        /// Its name.
        name: String,
        /// Cluster time of the proposer.
        now_ms: Timestamp,
    },
    /// Deletes a group.
    DeleteGroup {
        /// Which.
        name: String,
    },
    /// Puts a user into a group.
    AddToGroup {
        /// Which group.
        group: String,
        /// Which user.
        user: String,
    },
    /// Takes a user out of a group.
    RemoveFromGroup {
        /// Which group.
        group: String,
        /// Which user.
        user: String,
    },
    /// Creates a role.
    CreateRole {
        /// Its name.
        name: String,
        /// Random, minted by the proposer.
        id: Id,
        /// Text of its trust policy.
        trust: String,
        /// Seconds that a session may last at most, 900 to 43 200.
        session_max_s: u32,
        /// Names and values.
        tags: Tags,
        /// Cluster time of the proposer.
        now_ms: Timestamp,
    },
    /// Replaces a role's trust policy.
    UpdateTrust {
        /// Which role.
        role: String,
        /// Text of its trust policy.
        trust: String,
    },
    /// Ends all sessions of a role that began before a time.
    RevokeSessions {
        /// Which role.
        role: String,
        /// The time; never goes back.
        not_before_ms: Timestamp,
    },
    /// Deletes a role, which ends its sessions.
    DeleteRole {
        /// Which.
        name: String,
    },
    /// Replaces the tags of a user or a role.
    SetTags {
        /// Whose; not a group's.
        holder: Holder,
        /// Names and values.
        tags: Tags,
    },
    /// Creates or replaces a policy.
    PutPolicy {
        /// Its name; not a managed policy's.
        name: String,
        /// Its text.
        document: String,
    },
    /// Deletes a policy that is attached to nothing.
    DeletePolicy {
        /// Which.
        name: String,
    },
    /// Attaches a policy.
    AttachPolicy {
        /// To what.
        holder: Holder,
        /// Name of a policy, or of a managed one.
        policy: String,
    },
    /// Detaches a policy.
    DetachPolicy {
        /// From what.
        holder: Holder,
        /// Which policy.
        policy: String,
    },
    /// Creates or replaces a policy that belongs to its holder alone.
    PutInlinePolicy {
        /// Whose.
        holder: Holder,
        /// Its name there.
        name: String,
        /// Its text.
        document: String,
    },
    /// Deletes such a policy.
    DeleteInlinePolicy {
        /// Whose.
        holder: Holder,
        /// Its name there.
        name: String,
    },
    /// Adds a key that session tokens are sealed under from now on; the two before it still open what they have sealed.
    AddSessionKey {
        /// Its number: above all others.
        id: u32,
        /// The key, 32 random bytes, sealed by the proposer.
        sealed: SealedSecret,
    },
}

/// What became of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It changed the directory.
    Changed,
    /// The directory was so already.
    Unchanged,
}

/// What a name or an id names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum Entity {
    User,
    Group,
    Role,
    AccessKey,
    Token,
    Policy,
    SessionKey,
    Tag,
    Description,
    Secret,
    SessionDuration,
}

/// Why a command changed nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(tag = "fact", rename_all = "snake_case", deny_unknown_fields)]
pub enum Fact {
    /// There is no such thing.
    #[error("{entity:?} {name} does not exist")]
    NotFound {
        /// What kind of thing.
        entity: Entity,
        /// Its name.
        name: String,
    },
    /// There is another one of that name or id.
    #[error("{entity:?} {name} exists")]
    Exists {
        /// What kind of thing.
        entity: Entity,
        /// Its name.
        name: String,
    },
    /// There are as many as there may be.
    #[error("there may be {max} of {entity:?} at most")]
    Full {
        /// Of what.
        entity: Entity,
        /// How many, or how many bytes.
        max: u64,
    },
    /// A name, an id or a value has not the form that it must have.
    #[error("{entity:?} is not well formed")]
    Malformed {
        /// What.
        entity: Entity,
    },
    /// A policy is still attached.
    #[error("policy {name} is attached")]
    Attached {
        /// Which.
        name: String,
    },
    /// The text of a policy is not one.
    #[error("policy: {place}: {detail}")]
    Policy {
        /// Where.
        place: String,
        /// What is wrong there.
        detail: String,
    },
}
