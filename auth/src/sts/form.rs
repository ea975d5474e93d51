//! What is asked of STS.

use super::StsError;
use crate::Secret;
use crate::arn::Arn;
use crate::sigv4::{decode_part, query_pairs};
use std::collections::BTreeMap;
use zeroize::Zeroizing;

/// Bytes of a form at most.
pub const FORM_BYTES_MAX: usize = 65_536;
/// Parameters of a form at most.
const PARAMETERS_MAX: usize = 64;
const VERSION: &str = "2011-06-15";
const DURATION_DEFAULT_S: u32 = 3_600;
const DURATION_MIN_S: u32 = 900;
const DURATION_MAX_S: u32 = 43_200;

/// A request.
#[derive(Clone, Debug, PartialEq)]
pub enum StsRequest {
    /// Not signed: the web identity's token tells who asks.
    AssumeRoleWithWebIdentity(AssumeRoleWithWebIdentity),
    /// Signed.
    AssumeRole(AssumeRole),
    /// Signed.
    GetCallerIdentity,
}

/// Asks for a session of a role.
#[derive(Clone, Debug, PartialEq)]
pub struct AssumeRole {
    /// Which role.
    pub role: Arn,
    /// What the session is to be called.
    pub session_name: String,
    /// How long it is to last, in seconds.
    pub duration_s: u32,
    /// Text of a policy that narrows the role's.
    pub policy: Option<String>,
    /// What the role's trust policy may ask for.
    pub external_id: Option<String>,
}

/// Asks for a session of a role, for whom a token vouches.
#[derive(Clone, Debug, PartialEq)]
pub struct AssumeRoleWithWebIdentity {
    /// The role and the session; without an external id.
    pub session: AssumeRole,
    /// The token, without white space around it: clients send their files as they are.
    pub token: Secret,
}

/// The parameters of a form, each once.
struct Form(BTreeMap<String, Zeroizing<String>>);

impl StsRequest {
    /// Whether the request must be signed, for the service [`crate::sigv4::Service::Sts`].
    #[must_use]
    pub fn is_signed(&self) -> bool {
        !matches!(self, Self::AssumeRoleWithWebIdentity(_))
    }

    /// Reads a form: the body of a POST, or the query string of a presigned request, whose signature's parameters are skipped. A parameter
    /// that is not understood is refused: ignoring one could give more than was asked for.
    ///
    /// # Errors
    /// What is missing, unknown or out of bounds.
    pub fn parse(form: &[u8]) -> Result<Self, StsError> {
        let mut form = Form::parse(form)?;
        let action = form.take("Action").unwrap_or_default();
        let version = form.take("Version").unwrap_or_default();
        let request = match action.as_str() {
            _ if *version != VERSION => None,
            "GetCallerIdentity" => Some(Self::GetCallerIdentity),
            "AssumeRole" => {
                let external_id = form.take("ExternalId").map(|text| bounded("ExternalId", &text, 2..=1224)).transpose()?;
                Some(Self::AssumeRole(AssumeRole { external_id, ..form.session()? }))
            }
            "AssumeRoleWithWebIdentity" => {
                let token = form.take("WebIdentityToken").ok_or(StsError::MissingParameter { name: "WebIdentityToken" })?;
                let token = Secret::from(token.trim());
                if !(4..=20_000).contains(&token.expose().len()) {
                    return Err(invalid("WebIdentityToken", "Member must have length between 4 and 20000"));
                }
                Some(Self::AssumeRoleWithWebIdentity(AssumeRoleWithWebIdentity { session: form.session()?, token }))
            }
            _ => None,
        };
        let shown = |text: &str| text.chars().take(64).collect::<String>();
        let request = request.ok_or_else(|| StsError::InvalidAction { action: shown(&action), version: shown(&version) })?;
        match form.0.first_key_value() {
            Some((name, _)) => Err(invalid(&shown(name), "Parameter is not supported here")),
            None => Ok(request),
        }
    }
}

impl Form {
    fn parse(bytes: &[u8]) -> Result<Self, StsError> {
        let text = Some(bytes).filter(|bytes| bytes.len() <= FORM_BYTES_MAX).and_then(|bytes| std::str::from_utf8(bytes).ok());
        let mut parameters = BTreeMap::new();
        for (name, value) in query_pairs(text.ok_or(StsError::NotForm)?) {
            let name = String::from_utf8(decode_part(name)).map_err(|_| StsError::NotForm)?;
            let value = Zeroizing::new(String::from_utf8(decode_part(value)).map_err(|_| StsError::NotForm)?);
            if name.starts_with("X-Amz-") {
                continue;
            }
            if parameters.len() == PARAMETERS_MAX || parameters.insert(name, value).is_some() {
                return Err(StsError::NotForm);
            }
        }
        Ok(Self(parameters))
    }

    fn take(&mut self, name: &str) -> Option<Zeroizing<String>> {
        self.0.remove(name)
    }

    fn session(&mut self) -> Result<AssumeRole, StsError> {
        let mut required = |name| self.take(name).ok_or(StsError::MissingParameter { name });
        let (role, session_name) = (required("RoleArn")?, required("RoleSessionName")?);
        let role = role.parse().map_err(|_| invalid("RoleArn", "Member must be an ARN"))?;
        let session_name = bounded("RoleSessionName", &session_name, 2..=64)?;
        if !session_name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_+=,.@-".contains(&byte)) {
            return Err(invalid("RoleSessionName", "Member must satisfy regular expression pattern: [\\w+=,.@-]*"));
        }
        let duration_s = match self.take("DurationSeconds") {
            None => DURATION_DEFAULT_S,
            Some(text) => {
                let seconds = Some(&text).filter(|text| text.len() <= 6 && text.bytes().all(|byte| byte.is_ascii_digit()));
                let seconds = seconds.and_then(|text| text.parse().ok());
                seconds
                    .filter(|seconds| (DURATION_MIN_S..=DURATION_MAX_S).contains(seconds))
                    .ok_or_else(|| invalid("DurationSeconds", "Member must have value between 900 and 43200"))?
            }
        };
        let policy = self.take("Policy").map(|text| bounded("Policy", &text, 1..=2048)).transpose()?;
        Ok(AssumeRole { role, session_name, duration_s, policy, external_id: None })
    }
}

fn invalid(name: &str, constraint: &'static str) -> StsError {
    StsError::Validation { name: name.to_owned(), constraint }
}

fn bounded(name: &str, text: &str, bytes: std::ops::RangeInclusive<usize>) -> Result<String, StsError> {
    if bytes.contains(&text.len()) { Ok(text.to_owned()) } else { Err(invalid(name, "Member must have a length within its bounds")) }
}
