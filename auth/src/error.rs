//! Why a request is not let in, under the names that AMP's clients know.

use model::Timestamp;

/// AMP's name of an error of access: what stands in `x-amzn-ErrorType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ErrorName {
    /// Nothing tells who asks.
    MissingAuthenticationToken,
    /// What tells who asks is not complete or not well formed.
    IncompleteSignature,
    /// The signature, its time or its scope is wrong.
    InvalidSignature,
    /// Nobody is known under this key or token.
    UnrecognizedClient,
    /// The session or token is over.
    ExpiredToken,
    /// Who asks is known and may not.
    AccessDenied,
    /// The server cannot tell now; trying again may help.
    InternalServer,
}

impl ErrorName {
    /// The name as AMP's control and data plane send it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::MissingAuthenticationToken => "MissingAuthenticationTokenException",
            Self::IncompleteSignature => "IncompleteSignature",
            Self::InvalidSignature => "InvalidSignatureException",
            Self::UnrecognizedClient => "UnrecognizedClientException",
            Self::ExpiredToken => "ExpiredTokenException",
            Self::AccessDenied => "AccessDeniedException",
            Self::InternalServer => "InternalServerException",
        }
    }

    /// The code that STS, which speaks AWS's older protocol, sends for the same fact.
    #[must_use]
    pub fn sts_code(self) -> &'static str {
        match self {
            Self::MissingAuthenticationToken => "MissingAuthenticationToken",
            Self::IncompleteSignature => "IncompleteSignature",
            Self::InvalidSignature => "SignatureDoesNotMatch",
            Self::UnrecognizedClient => "InvalidClientTokenId",
            Self::ExpiredToken => "ExpiredToken",
            Self::AccessDenied => "AccessDenied",
            Self::InternalServer => "InternalFailure",
        }
    }

    /// The HTTP status.
    #[must_use]
    pub fn status(self) -> u16 {
        match self {
            Self::IncompleteSignature => 400,
            Self::InternalServer => 500,
            Self::MissingAuthenticationToken
            | Self::InvalidSignature
            | Self::UnrecognizedClient
            | Self::ExpiredToken
            | Self::AccessDenied => 403,
        }
    }
}

/// Why a request's credentials are not accepted. The text is for the sender and holds nothing that the sender did not send.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// There are none.
    #[error("Missing Authentication Token")]
    NoCredentials,
    /// There are several, so that it is not clear which count.
    #[error("Credentials must be given once, either in the Authorization header or in the query string")]
    SeveralCredentials,
    /// The scheme of the `Authorization` header is none of ours.
    #[error("Authorization header must be of scheme AWS4-HMAC-SHA256, Bearer or Basic")]
    UnknownScheme,
    /// A part of the credentials is missing.
    #[error("Authorization requires {part}")]
    Missing {
        /// Which part.
        part: &'static str,
    },
    /// A part of the credentials, or of what is signed, cannot be read.
    #[error("{part} is not well formed")]
    Malformed {
        /// Which part.
        part: &'static str,
    },
    /// The signature is for another service.
    #[error("Credential should be scoped to correct service: '{expected}'")]
    Service {
        /// Which it should be.
        expected: &'static str,
    },
    /// The signature is for a region that is not served here.
    #[error("Credential should be scoped to a valid region")]
    Region,
    /// The scope is of another day than the request.
    #[error("Date in Credential scope does not match the day of X-Amz-Date")]
    ScopeDate,
    /// A header must be among the signed ones.
    #[error("Header '{name}' must be signed")]
    NotSigned {
        /// Which.
        name: String,
    },
    /// A header is said to be signed, and is not there.
    #[error("Signed header '{name}' is missing")]
    SignedMissing {
        /// Which.
        name: String,
    },
    /// The request was signed too long ago.
    #[error(
        "Signature expired: the request's time is {at_ms} and the server's {now_ms}, in milliseconds; at most {allowed_ms} may lie between"
    )]
    Expired {
        /// When it was signed.
        at_ms: Timestamp,
        /// When it came.
        now_ms: Timestamp,
        /// How far they may be apart.
        allowed_ms: i64,
    },
    /// The request is signed for a later time.
    #[error(
        "Signature not yet current: the request's time is {at_ms} and the server's {now_ms}, in milliseconds; at most {allowed_ms} may lie between"
    )]
    NotYetCurrent {
        /// When it was signed.
        at_ms: Timestamp,
        /// When it came.
        now_ms: Timestamp,
        /// How far they may be apart.
        allowed_ms: i64,
    },
    /// The body is not the one whose hash was sent.
    #[error("The provided 'x-amz-content-sha256' header does not match what was computed")]
    PayloadHash,
    /// The body is not covered by the signature, which is not allowed here.
    #[error("Unsigned payloads are not accepted")]
    UnsignedPayload,
    /// The body is signed in chunks.
    #[error("Payloads signed in chunks are not accepted")]
    StreamingPayload,
    /// The signature is not the one that the secret gives.
    #[error(
        "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method."
    )]
    WrongSignature,
    /// Nobody is known under the key or token, or the password is wrong.
    #[error("The security token included in the request is invalid.")]
    Unrecognized,
    /// The session or token is over, or was revoked.
    #[error("The security token included in the request is expired")]
    TokenExpired,
    /// The key is known, and its secret cannot be unsealed here now.
    #[error("The secret of the access key is not available")]
    SecretUnavailable,
}

impl AuthError {
    /// Under which of AMP's names it is told.
    #[must_use]
    pub fn name(&self) -> ErrorName {
        match self {
            Self::NoCredentials => ErrorName::MissingAuthenticationToken,
            Self::SeveralCredentials | Self::UnknownScheme | Self::Missing { .. } | Self::Malformed { .. } => {
                ErrorName::IncompleteSignature
            }
            Self::Service { .. }
            | Self::Region
            | Self::ScopeDate
            | Self::NotSigned { .. }
            | Self::SignedMissing { .. }
            | Self::Expired { .. }
            | Self::NotYetCurrent { .. }
            | Self::PayloadHash
            | Self::UnsignedPayload
            | Self::StreamingPayload
            | Self::WrongSignature => ErrorName::InvalidSignature,
            Self::Unrecognized => ErrorName::UnrecognizedClient,
            Self::TokenExpired => ErrorName::ExpiredToken,
            Self::SecretUnavailable => ErrorName::InternalServer,
        }
    }

    /// The HTTP status.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.name().status()
    }
}
