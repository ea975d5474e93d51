//! Tokens of web identities: JSON Web Tokens (RFC 7519) of issuers that are configured, and of no other.

use super::keys::{Algorithm, PublicKeys};
use crate::policy::WebIdentity;
use crate::text;
use model::Timestamp;
use serde::Deserialize;
use std::collections::BTreeMap;

/// Characters of a token at most.
const TOKEN_CHARS_MAX: usize = 20_000;
/// How far the issuer's clock and ours may be apart, in milliseconds.
const LEEWAY_MS: f64 = 60_000.0;
const SUBJECT_BYTES_MAX: usize = 1_024;
/// The audience of tokens that are meant for STS.
pub const DEFAULT_AUDIENCE: &str = "sts.amazonaws.com";

/// Why a token is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It is not a token.
    #[error("The ID Token provided is not a valid JWT")]
    Malformed,
    /// Its algorithm is not accepted, or it demands what is not understood here.
    #[error("Token signature algorithm is not supported")]
    Algorithm,
    /// Its issuer is not configured.
    #[error("No OpenIDConnect provider found in your account for the issuer of the token")]
    UnknownIssuer,
    /// The issuer's keys are not known yet.
    #[error("The keys of the issuer {issuer} are not available")]
    NoKeys {
        /// Whose.
        issuer: String,
    },
    /// The issuer has no such key. Its keys may have changed since they were read.
    #[error("Couldn't retrieve verification key from your identity provider {issuer}")]
    UnknownKey {
        /// Whose.
        issuer: String,
    },
    /// The signature does not fit.
    #[error("Token signature invalid")]
    Signature,
    /// It is for someone else.
    #[error("Incorrect token audience")]
    Audience,
    /// It has ended.
    #[error("Token expired")]
    Expired,
    /// It has not begun, or was issued in the future.
    #[error("Token is not valid yet")]
    NotYet,
}

impl TokenError {
    /// AWS's code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Malformed | Self::Algorithm | Self::UnknownIssuer | Self::UnknownKey { .. } | Self::Signature | Self::Audience => {
                "InvalidIdentityToken"
            }
            Self::NoKeys { .. } => "IDPCommunicationError",
            Self::Expired => "ExpiredTokenException",
            Self::NotYet => "IDPRejectedClaim",
        }
    }

    /// The HTTP status.
    #[must_use]
    pub fn status(&self) -> u16 {
        if *self == Self::NotYet { 403 } else { 400 }
    }
}

/// An issuer of web identities.
#[derive(Clone, Debug)]
pub struct Issuer {
    /// What tokens must say in `iss`, to the letter.
    pub url: String,
    /// For whom tokens may be issued.
    pub audiences: Vec<String>,
    /// Its keys; none until they are read.
    pub keys: Option<PublicKeys>,
}

/// The issuers that are configured.
#[derive(Clone, Debug, Default)]
pub struct Issuers(BTreeMap<String, Issuer>);

/// A token that was verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedToken {
    /// Whom it vouches for.
    pub identity: WebIdentity,
    /// The one of its audiences that is accepted.
    pub audience: String,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    /// Extensions that must be understood: none is.
    crit: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    aud: Audiences,
    exp: f64,
    nbf: Option<f64>,
    iat: Option<f64>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audiences {
    One(String),
    Many(Vec<String>),
}

impl Audiences {
    fn into_vec(self) -> Vec<String> {
        match self {
            Self::One(audience) => vec![audience],
            Self::Many(audiences) => audiences,
        }
    }
}

fn json<T: for<'d> Deserialize<'d>>(part: &str) -> Result<T, TokenError> {
    let bytes = text::from_base64_url(part).ok_or(TokenError::Malformed)?;
    serde_json::from_slice(&bytes).map_err(|_| TokenError::Malformed)
}

impl Issuers {
    /// Takes issuers; of several with one URL the last counts.
    #[must_use]
    pub fn new(issuers: impl IntoIterator<Item = Issuer>) -> Self {
        Self(issuers.into_iter().map(|issuer| (issuer.url.clone(), issuer)).collect())
    }

    /// Verifies a token. Costs its length and one signature.
    ///
    /// # Errors
    /// What is wrong with it. [`TokenError::UnknownKey`] may go away when the issuer's keys are read again.
    pub fn verify(&self, token: &str, now_ms: Timestamp) -> Result<VerifiedToken, TokenError> {
        let token = token.trim();
        if token.len() > TOKEN_CHARS_MAX {
            return Err(TokenError::Malformed);
        }
        let (message, signature) = token.rsplit_once('.').ok_or(TokenError::Malformed)?;
        let (header, claims) = message.split_once('.').filter(|(_, claims)| !claims.contains('.')).ok_or(TokenError::Malformed)?;
        let header: Header = json(header)?;
        let algorithm = Algorithm::parse(&header.alg).filter(|_| header.crit.is_none()).ok_or(TokenError::Algorithm)?;
        let signature = text::from_base64_url(signature).ok_or(TokenError::Malformed)?;
        let claims: Claims = json(claims)?;
        let issuer = self.0.get(&claims.iss).ok_or(TokenError::UnknownIssuer)?;
        let keys = issuer.keys.as_ref().ok_or_else(|| TokenError::NoKeys { issuer: issuer.url.clone() })?;
        match keys.verify(header.kid.as_deref(), algorithm, message.as_bytes(), &signature) {
            None => return Err(TokenError::UnknownKey { issuer: issuer.url.clone() }),
            Some(false) => return Err(TokenError::Signature),
            Some(true) => {}
        }
        claims.check_times(now_ms)?;
        claims.accepted(issuer)
    }
}

impl Claims {
    fn check_times(&self, now_ms: Timestamp) -> Result<(), TokenError> {
        let now_ms = now_ms as f64;
        let is_ended = now_ms >= self.exp * 1000.0 + LEEWAY_MS;
        // A time that is no number compares with nothing, so it is asked for what must hold.
        if !self.exp.is_finite() || is_ended {
            return Err(TokenError::Expired);
        }
        let has_begun = |seconds: Option<f64>| seconds.is_none_or(|seconds| seconds * 1000.0 <= now_ms + LEEWAY_MS);
        if has_begun(self.nbf) && has_begun(self.iat) { Ok(()) } else { Err(TokenError::NotYet) }
    }

    fn accepted(self, issuer: &Issuer) -> Result<VerifiedToken, TokenError> {
        if self.sub.is_empty() || self.sub.len() > SUBJECT_BYTES_MAX {
            return Err(TokenError::Malformed);
        }
        let audiences = self.aud.into_vec();
        let audience = audiences.iter().find(|audience| issuer.audiences.contains(audience)).cloned().ok_or(TokenError::Audience)?;
        let url = issuer.url.as_str();
        let name = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://")).unwrap_or(url).to_owned();
        Ok(VerifiedToken { identity: WebIdentity { issuer: name, subject: self.sub, audiences }, audience })
    }
}
