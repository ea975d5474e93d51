//! What a request says of its signature: in the `Authorization` header, or in the query string of a presigned request.

use super::canonical::{decode_part, query_pairs};
use super::{ALGORITHM, Service, Settings, time};
use crate::{AuthError, Request};
use model::Timestamp;

/// Signed headers at most: more than any client sends, and few enough to look each up by a walk over all.
const SIGNED_HEADERS_MAX: usize = 100;
/// Seconds that a presigned request may be valid for at most.
const PRESIGNED_SECONDS_MAX: i64 = 604_800;
const SIGNATURE_DIGITS: usize = 64;

/// Where the signature stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// In the `Authorization` header.
    Header,
    /// In the query string.
    Presigned {
        /// For how long it is valid, in milliseconds.
        lifetime_ms: i64,
    },
}

/// A request's signature, read and not yet verified.
#[derive(Clone, Debug)]
pub struct Signed {
    /// Whose key it claims to be made with.
    pub access_key_id: String,
    /// The session token that came with it.
    pub session_token: Option<String>,
    /// When it was made, in milliseconds.
    pub at_ms: Timestamp,
    /// Where it stands.
    pub form: Form,
    pub(super) date: String,
    pub(super) region: String,
    pub(super) service: String,
    pub(super) amz_date: String,
    pub(super) signed_headers: Vec<String>,
    /// Lower-case hexadecimal digits, of the right number.
    pub(super) signature: String,
}

/// The texts that both forms bring.
struct Parts<'a> {
    credential: &'a str,
    signed_headers: &'a str,
    signature: &'a str,
    amz_date: &'a str,
    session_token: Option<&'a str>,
    form: Form,
}

impl Signed {
    /// Whether the query string is that of a presigned request, well formed or not.
    #[must_use]
    pub fn is_presigned(query: &str) -> bool {
        query_pairs(query).any(|(name, _)| matches!(name, "X-Amz-Algorithm" | "X-Amz-Credential" | "X-Amz-Signature"))
    }

    /// Reads the signature in an `Authorization` header, given what follows the algorithm's name.
    ///
    /// # Errors
    /// A part is missing, repeated or malformed, or a header that must be signed is not.
    pub fn parse_header(request: &Request<'_>, parameters: &str) -> Result<Self, AuthError> {
        let (mut credential, mut signed_headers, mut signature) = (None, None, None);
        for parameter in parameters.split(',') {
            let (name, value) = parameter.trim().split_once('=').ok_or(AuthError::Malformed { part: "Authorization header" })?;
            let place = match name {
                "Credential" => &mut credential,
                "SignedHeaders" => &mut signed_headers,
                "Signature" => &mut signature,
                _ => return Err(AuthError::Malformed { part: "Authorization header" }),
            };
            if place.replace(value).is_some() {
                return Err(AuthError::Malformed { part: "Authorization header" });
            }
        }
        let header = |name, part| request.single(name).map_err(|_| AuthError::Malformed { part });
        Self::from_parts(
            request,
            Parts {
                credential: credential.ok_or(AuthError::Missing { part: "'Credential' parameter" })?,
                signed_headers: signed_headers.ok_or(AuthError::Missing { part: "'SignedHeaders' parameter" })?,
                signature: signature.ok_or(AuthError::Missing { part: "'Signature' parameter" })?,
                amz_date: header("x-amz-date", "X-Amz-Date")?.ok_or(AuthError::Missing { part: "'X-Amz-Date' header" })?,
                session_token: header("x-amz-security-token", "X-Amz-Security-Token")?,
                form: Form::Header,
            },
        )
    }

    /// Reads the signature in the query string of a presigned request.
    ///
    /// # Errors
    /// As [`Signed::parse_header`].
    pub fn parse_presigned(request: &Request<'_>) -> Result<Self, AuthError> {
        const NAMES: [&str; 7] = [
            "X-Amz-Algorithm",
            "X-Amz-Credential",
            "X-Amz-Date",
            "X-Amz-Expires",
            "X-Amz-SignedHeaders",
            "X-Amz-Signature",
            "X-Amz-Security-Token",
        ];
        let mut found: [Option<String>; 7] = Default::default();
        for (name, value) in query_pairs(request.query) {
            let Some(at) = NAMES.iter().position(|known| *known == name) else { continue };
            let value = String::from_utf8(decode_part(value)).map_err(|_| AuthError::Malformed { part: NAMES[at] })?;
            if found[at].replace(value).is_some() {
                return Err(AuthError::Malformed { part: NAMES[at] });
            }
        }
        let part = |at: usize| found[at].as_deref().ok_or(AuthError::Missing { part: NAMES[at] });
        if part(0)? != ALGORITHM {
            return Err(AuthError::Malformed { part: NAMES[0] });
        }
        let is_number = |text: &&str| text.len() <= 6 && text.bytes().all(|byte| byte.is_ascii_digit());
        let seconds = Some(part(3)?).filter(is_number).and_then(|text| text.parse::<i64>().ok());
        let seconds =
            seconds.filter(|seconds| (1..=PRESIGNED_SECONDS_MAX).contains(seconds)).ok_or(AuthError::Malformed { part: NAMES[3] })?;
        let form = Form::Presigned { lifetime_ms: seconds * 1000 };
        let parts = Parts {
            credential: part(1)?,
            signed_headers: part(4)?,
            signature: part(5)?,
            amz_date: part(2)?,
            session_token: found[6].as_deref(),
            form,
        };
        Self::from_parts(request, parts)
    }

    fn from_parts(request: &Request<'_>, parts: Parts<'_>) -> Result<Self, AuthError> {
        let scope: Vec<&str> = parts.credential.splitn(6, '/').collect();
        let [access_key_id, date, region, service, "aws4_request"] = scope[..] else {
            return Err(AuthError::Malformed { part: "Credential" });
        };
        if access_key_id.is_empty() || date.len() != 8 || !date.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(AuthError::Malformed { part: "Credential" });
        }
        let at_ms = time::parse(parts.amz_date).ok_or(AuthError::Malformed { part: "X-Amz-Date" })?;
        let is_hex = parts.signature.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if parts.signature.len() != SIGNATURE_DIGITS || !is_hex {
            return Err(AuthError::Malformed { part: "Signature" });
        }
        let signed_headers = signed_headers(parts.signed_headers)?;
        check_signed(request, &signed_headers, parts.form)?;
        Ok(Self {
            access_key_id: access_key_id.to_owned(),
            session_token: parts.session_token.map(str::to_owned),
            at_ms,
            form: parts.form,
            date: date.to_owned(),
            region: region.to_owned(),
            service: service.to_owned(),
            amz_date: parts.amz_date.to_owned(),
            signed_headers,
            signature: parts.signature.to_owned(),
        })
    }

    /// Checks what the signature is for.
    ///
    /// # Errors
    /// Another service, a region that is not served, or another day than the request's.
    pub fn check_scope(&self, service: Service, settings: &Settings) -> Result<(), AuthError> {
        if self.service != service.as_str() {
            return Err(AuthError::Service { expected: service.as_str() });
        }
        let is_served = |regions: &std::collections::BTreeSet<String>| self.region.is_empty() || regions.contains(&self.region);
        if !settings.regions.as_ref().is_none_or(is_served) {
            return Err(AuthError::Region);
        }
        if !self.amz_date.starts_with(&self.date) {
            return Err(AuthError::ScopeDate);
        }
        Ok(())
    }
}

/// Splits a list of header names: in lower case, each once.
fn signed_headers(list: &str) -> Result<Vec<String>, AuthError> {
    let malformed = AuthError::Malformed { part: "SignedHeaders" };
    let is_token = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"!#$%&'*+-.^_`|~".contains(&byte);
    let mut names: Vec<String> = Vec::new();
    for name in list.split(';') {
        let is_new = names.len() < SIGNED_HEADERS_MAX && !names.iter().any(|have| have == name);
        if name.is_empty() || !name.bytes().all(is_token) || !is_new {
            return Err(malformed);
        }
        names.push(name.to_owned());
    }
    Ok(names)
}

/// Whether everything is signed that could change what a request means.
fn check_signed(request: &Request<'_>, signed: &[String], form: Form) -> Result<(), AuthError> {
    let time = if form == Form::Header { Some("x-amz-date") } else { None };
    let present = request.headers.iter().map(|(name, _)| *name).filter(|name| name.starts_with("x-amz-"));
    for name in ["host"].into_iter().chain(time).chain(present) {
        if !signed.iter().any(|have| have == name) {
            return Err(AuthError::NotSigned { name: name.to_owned() });
        }
    }
    Ok(())
}
