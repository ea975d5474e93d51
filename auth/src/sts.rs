//! The security token service: temporary credentials for a web identity or for who may assume a role, and who one is.
//!
//! A request is a form, the answer XML, as AWS's clients speak them (`Version=2011-06-15`). Nothing is stored: a session is sealed into
//! its token ([`crate::session`]), and ends when the token does, its role goes or its role's sessions are revoked.

mod form;
mod grant;
mod jwt;
mod keys;
mod reply;

#[cfg(test)]
mod tests;

pub use form::{AssumeRole, AssumeRoleWithWebIdentity, FORM_BYTES_MAX, StsRequest};
pub use grant::{GRANT_ENTROPY_BYTES, Granted};
pub use jwt::{DEFAULT_AUDIENCE, Issuer, Issuers, TokenError, VerifiedToken};
pub use keys::{KeysError, PublicKeys};
pub use reply::{Reply, error_xml};

use crate::AuthError;

/// Why STS refuses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StsError {
    /// The credentials of a signed call are not accepted.
    #[error("{0}")]
    Auth(#[from] AuthError),
    /// The operation or the version is none of STS's that are served.
    #[error("Could not find operation {action} for version {version}")]
    InvalidAction {
        /// What was asked for.
        action: String,
        /// In which version.
        version: String,
    },
    /// A parameter is missing.
    #[error("The request must contain the parameter {name}")]
    MissingParameter {
        /// Which.
        name: &'static str,
    },
    /// A parameter is not understood, repeated or out of its bounds.
    #[error("Value of '{name}' failed to satisfy constraint: {constraint}")]
    Validation {
        /// Which.
        name: String,
        /// What it must be.
        constraint: &'static str,
    },
    /// The form is not one.
    #[error("The request is not a form of at most {max} bytes", max = FORM_BYTES_MAX)]
    NotForm,
    /// The session policy is not one.
    #[error("The session policy is malformed: {detail}")]
    MalformedPolicy {
        /// Where, and why.
        detail: String,
    },
    /// The web identity token is not accepted.
    #[error("{0}")]
    Token(#[from] TokenError),
    /// The one who asks may not assume the role, or there is no such role.
    #[error("Not authorized to perform {action}")]
    AccessDenied {
        /// What was asked for.
        action: &'static str,
    },
    /// The session's token would be longer than clients can send.
    #[error("Packed size of the session policy exceeds the limit")]
    PackedPolicyTooLarge,
    /// No session key is available here now.
    #[error("The service cannot issue session tokens now")]
    NoSessionKey,
}

impl StsError {
    /// AWS's code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Auth(error) => error.name().sts_code(),
            Self::InvalidAction { .. } => "InvalidAction",
            Self::MissingParameter { .. } => "MissingParameter",
            Self::Validation { .. } | Self::NotForm => "ValidationError",
            Self::MalformedPolicy { .. } => "MalformedPolicyDocument",
            Self::Token(error) => error.code(),
            Self::AccessDenied { .. } => "AccessDenied",
            Self::PackedPolicyTooLarge => "PackedPolicyTooLarge",
            Self::NoSessionKey => "InternalFailure",
        }
    }

    /// The HTTP status.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            Self::Auth(error) => error.status(),
            Self::Token(error) => error.status(),
            Self::AccessDenied { .. } => 403,
            Self::NoSessionKey => 500,
            Self::InvalidAction { .. }
            | Self::MissingParameter { .. }
            | Self::Validation { .. }
            | Self::NotForm
            | Self::MalformedPolicy { .. }
            | Self::PackedPolicyTooLarge => 400,
        }
    }
}
