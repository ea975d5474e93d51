//! Who gets a session.

use super::StsError;
use super::form::{AssumeRole, AssumeRoleWithWebIdentity, StsRequest};
use super::jwt::Issuers;
use super::reply::Reply;
use crate::access::{Question, View};
use crate::action::Action;
use crate::arn::Resource;
use crate::directory::Role;
use crate::id::{ID_ENTROPY_BYTES, Id, IdKind};
use crate::policy::{Caller, Context, Denial, Environment, PolicyDocument, PolicyKind, Trust, evaluate_trust};
use crate::principal::{Identity, Principal};
use crate::secret::ACCESS_SECRET_BYTES;
use crate::session::{SEAL_ENTROPY_BYTES, SealError, Session};
use crate::{AuthError, Secret};

/// Random bytes that a session takes.
pub const GRANT_ENTROPY_BYTES: usize = ID_ENTROPY_BYTES + ACCESS_SECRET_BYTES + SEAL_ENTROPY_BYTES;
/// Seconds that a session lasts at most that another session asked for.
const CHAINED_MAX_S: u32 = 3_600;

/// A session that was granted.
#[derive(Clone, Debug)]
pub struct Granted {
    /// The session, its secret included.
    pub session: Session,
    /// Its token.
    pub token: Secret,
}

impl View<'_> {
    /// Answers a request. `principal` is who signed it; none where it needs no signature ([`StsRequest::is_signed`]). `entropy` is random
    /// and used once.
    ///
    /// # Errors
    /// [`StsError`].
    pub fn answer(
        &self,
        issuers: &Issuers,
        request: &StsRequest,
        principal: Option<&Principal>,
        environment: &Environment<'_>,
        entropy: [u8; GRANT_ENTROPY_BYTES],
    ) -> Result<Reply, StsError> {
        match (request, principal) {
            (StsRequest::AssumeRoleWithWebIdentity(request), _) => {
                self.assume_role_with_web_identity(issuers, request, environment, entropy)
            }
            (_, None) => Err(StsError::Auth(AuthError::NoCredentials)),
            (StsRequest::AssumeRole(request), Some(principal)) => self.assume_role(principal, request, environment, entropy),
            (StsRequest::GetCallerIdentity, Some(principal)) => Ok(self.caller_identity(principal)),
        }
    }

    /// Grants a session of a role to a web identity whose token its trust policy trusts. `entropy` is random and used once.
    ///
    /// # Errors
    /// The token is not accepted, the role does not trust it or does not exist, or the request is not one that can be granted.
    pub fn assume_role_with_web_identity(
        &self,
        issuers: &Issuers,
        request: &AssumeRoleWithWebIdentity,
        environment: &Environment<'_>,
        entropy: [u8; GRANT_ENTROPY_BYTES],
    ) -> Result<Reply, StsError> {
        let denied = StsError::AccessDenied { action: Action::AssumeRoleWithWebIdentity.as_str() };
        let token = std::str::from_utf8(request.token.expose()).map_err(|_| super::TokenError::Malformed)?;
        let verified = issuers.verify(token, environment.now_ms)?;
        let (name, role) = self.role(&request.session).ok_or_else(|| denied.clone())?;
        let action = Action::AssumeRoleWithWebIdentity;
        let context = Context { action, environment, caller: None, web_identity: Some(&verified.identity), external_id: None };
        if evaluate_trust(role.trust.policy(), &context) != Trust::Granted {
            return Err(denied);
        }
        let (audience, subject) = (verified.audience, verified.identity.subject);
        let granted = self.grant((name, role), &request.session, Some(subject.clone()), environment, entropy)?;
        Ok(Reply::AssumeRoleWithWebIdentity { granted, subject, audience, provider: verified.identity.issuer })
    }

    /// Grants a session of a role to a principal whom its trust policy trusts. `entropy` is random and used once.
    ///
    /// # Errors
    /// As [`View::assume_role_with_web_identity`].
    pub fn assume_role(
        &self,
        principal: &Principal,
        request: &AssumeRole,
        environment: &Environment<'_>,
        entropy: [u8; GRANT_ENTROPY_BYTES],
    ) -> Result<Reply, StsError> {
        let denied = StsError::AccessDenied { action: Action::AssumeRole.as_str() };
        let (name, role) = self.role(request).ok_or_else(|| denied.clone())?;
        let resource = Resource::Named(self.home.role(name));
        let question = Question { action: Action::AssumeRole, resource: &resource, resource_policy: None, environment };
        let own = self.authorise(principal, &question);
        let caller = self.caller(principal).ok_or_else(|| denied.clone())?;
        let external_id = request.external_id.as_deref();
        let context = Context { action: Action::AssumeRole, environment, caller: Some(&caller), web_identity: None, external_id };
        // A role that names someone itself needs no permission of theirs, but neither a denial nor a narrowed session is passed by.
        let is_granted = match evaluate_trust(role.trust.policy(), &context) {
            Trust::Refused => false,
            Trust::IfAllowed => own.is_allowed(),
            Trust::Granted if principal.session_policy.is_some() => own.is_allowed(),
            Trust::Granted => own.denial != Some(Denial::Explicit),
        };
        if !is_granted {
            return Err(denied);
        }
        if matches!(principal.identity, Identity::Session { .. }) && request.duration_s > CHAINED_MAX_S {
            return Err(too_long("The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining"));
        }
        let granted = self.grant((name, role), request, None, environment, entropy)?;
        Ok(Reply::AssumeRole { granted })
    }

    /// Tells who asks.
    #[must_use]
    pub fn caller_identity(&self, principal: &Principal) -> Reply {
        Reply::GetCallerIdentity {
            arn: principal.arn(self.home),
            user_id: principal.user_id(self.home),
            account: self.home.account.clone(),
        }
    }

    fn role<'s>(&'s self, request: &AssumeRole) -> Option<(&'s str, &'s Role)> {
        let (name, role) = self.directory.roles.get_key_value(self.home.role_of(&request.role)?)?;
        Some((name, role))
    }

    fn caller(&self, principal: &Principal) -> Option<Caller> {
        let arn = principal.arn(self.home).to_string();
        let account = self.home.account.clone();
        let (principal_arn, tags) = match &principal.identity {
            Identity::Root => (arn.clone(), Default::default()),
            Identity::User { name, .. } => (arn.clone(), self.directory.users.get(name)?.tags.clone()),
            Identity::Session { role, .. } => (self.home.role(role).to_string(), self.directory.roles.get(role)?.tags.clone()),
        };
        Some(Caller { account, arn, principal_arn, tags })
    }

    fn grant(
        &self,
        (name, role): (&str, &Role),
        request: &AssumeRole,
        subject: Option<String>,
        environment: &Environment<'_>,
        entropy: [u8; GRANT_ENTROPY_BYTES],
    ) -> Result<Granted, StsError> {
        if request.duration_s > role.session_max_s {
            return Err(too_long("The requested DurationSeconds exceeds the MaxSessionDuration set for this role"));
        }
        if let Some(text) = &request.policy {
            PolicyDocument::parse(PolicyKind::Identity, text).map_err(|error| StsError::MalformedPolicy { detail: error.to_string() })?;
        }
        let (mut id, mut secret, mut seal) = ([0; ID_ENTROPY_BYTES], [0; ACCESS_SECRET_BYTES], [0; SEAL_ENTROPY_BYTES]);
        let (first, rest) = entropy.split_at(ID_ENTROPY_BYTES);
        let (second, last) = rest.split_at(ACCESS_SECRET_BYTES);
        id.copy_from_slice(first);
        secret.copy_from_slice(second);
        seal.copy_from_slice(last);
        let session = Session {
            access_key_id: Id::new(IdKind::SessionKey, id),
            secret: Secret::access_key(secret),
            role: name.to_owned(),
            role_id: role.id.clone(),
            name: request.session_name.clone(),
            subject,
            policy: request.policy.clone(),
            issued_ms: environment.now_ms,
            expires_ms: environment.now_ms.saturating_add(i64::from(request.duration_s) * 1000),
        };
        let token = self.sessions.seal(&session, seal).map_err(|error| match error {
            SealError::NoKey => StsError::NoSessionKey,
            SealError::TooLong => StsError::PackedPolicyTooLarge,
        })?;
        Ok(Granted { session, token: Secret::new(token.into_bytes()) })
    }
}

fn too_long(constraint: &'static str) -> StsError {
    StsError::Validation { name: "DurationSeconds".to_owned(), constraint }
}
