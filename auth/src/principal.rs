//! Who asks, once that is certain.

use crate::arn::{Arn, Home};
use crate::id::Id;
use crate::policy::PolicyDocument;
use model::Timestamp;
use std::fmt;

/// A lasting identity, or a session of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// The one who set the cluster up.
    Root,
    /// A user.
    User {
        /// Its name.
        name: String,
        /// Its id.
        id: Id,
    },
    /// A session of a role.
    Session {
        /// The role's name.
        role: String,
        /// The role's id.
        role_id: Id,
        /// The session's name.
        name: String,
    },
}

/// By what the identity was shown. It tells no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credential {
    /// The root's access key.
    RootKey,
    /// An access key, of a user or a session.
    AccessKey(Id),
    /// An API token.
    Token(Id),
}

impl Credential {
    /// The id, which the root's key does not have.
    #[must_use]
    pub fn id(&self) -> Option<&Id> {
        match self {
            Self::RootKey => None,
            Self::AccessKey(id) | Self::Token(id) => Some(id),
        }
    }
}

impl fmt::Display for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id().map_or("root", Id::as_str))
    }
}

/// Who asks.
#[derive(Clone, Debug, PartialEq)]
pub struct Principal {
    /// Which identity.
    pub identity: Identity,
    /// By what it was shown.
    pub credential: Credential,
    /// Narrows what the identity may.
    pub session_policy: Option<PolicyDocument>,
    /// When the session or the token ends, if it does.
    pub expires_ms: Option<Timestamp>,
}

impl Principal {
    /// Its name: of the session, where there is one.
    #[must_use]
    pub fn arn(&self, home: &Home) -> Arn {
        match &self.identity {
            Identity::Root => home.root(),
            Identity::User { name, .. } => home.user(name),
            Identity::Session { role, name, .. } => home.assumed_role(role, name),
        }
    }

    /// The id that `GetCallerIdentity` tells.
    #[must_use]
    pub fn user_id(&self, home: &Home) -> String {
        match &self.identity {
            Identity::Root => home.account.clone(),
            Identity::User { id, .. } => id.to_string(),
            Identity::Session { role_id, name, .. } => format!("{role_id}:{name}"),
        }
    }
}
