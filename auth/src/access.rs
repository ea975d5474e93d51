//! The two questions: who asks, and may they.

#[cfg(test)]
mod tests;

use crate::action::Action;
use crate::arn::{Home, Resource};
use crate::credentials::Credentials;
use crate::directory::{Directory, SealedSecret};
use crate::id::{Id, IdKind};
use crate::policy::{Caller, Context, Decision, Denial, Environment, NamedPolicy, PolicyDocument, PolicyKind, PolicySet, Tags, evaluate};
use crate::principal::{Credential, Identity, Principal};
use crate::session::{Session, SessionKeys};
use crate::sigv4::{KeySource, PathForm, Service, Signed, Verifier};
use crate::token::{ApiToken, TokenHash};
use crate::{AuthError, Request, Secret};
use model::Timestamp;
use ring::digest::{SHA256, digest};
use std::fmt;

/// Names of policies that are not in the directory, in decisions.
const RESOURCE_POLICY: &str = "resource policy";
const SESSION_POLICY: &str = "session policy";

/// The one who set the cluster up: from a file or the environment, never from the directory.
#[derive(Clone, Debug)]
pub struct Root {
    /// Its access key.
    pub access_key_id: String,
    /// The key's secret.
    pub secret: Secret,
    /// Whether it may write samples. It should not: writers need no more than the right to write.
    pub may_write: bool,
}

/// What is known of principals at the time of a request.
#[derive(Clone, Copy)]
pub struct View<'a> {
    /// What all names begin with.
    pub home: &'a Home,
    /// Users, roles, groups, keys, tokens, policies.
    pub directory: &'a Directory,
    /// The root, if there is one.
    pub root: Option<&'a Root>,
    /// The session keys of the directory, unsealed.
    pub sessions: &'a SessionKeys,
    /// Unseals the secret of an access key; none if that is not possible here now.
    pub unseal: &'a (dyn Fn(&Id, &SealedSecret) -> Option<Secret> + Sync),
}

impl fmt::Debug for View<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("View").field("home", &self.home).finish_non_exhaustive()
    }
}

/// Who asks, and how that was said.
#[derive(Clone, Debug, PartialEq)]
pub struct Authenticated {
    /// Who.
    pub principal: Principal,
    /// The form of the path that was signed; [`PathForm::Raw`] where nothing was signed.
    pub path_form: PathForm,
}

/// What is to be decided.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// What is to be done.
    pub action: Action,
    /// To what.
    pub resource: &'a Resource,
    /// The resource policy of the workspace, if it has one.
    pub resource_policy: Option<&'a PolicyDocument>,
    /// What surrounds the request.
    pub environment: &'a Environment<'a>,
}

/// A secret that a request may have been signed with.
struct Candidate<'a> {
    origin: [u8; 32],
    secret: Box<dyn Fn() -> Option<Secret> + 'a>,
    principal: Option<Principal>,
}

impl View<'_> {
    /// Verifies a request's credentials. Costs one pass of SHA-256 over the body of a signed request, and no more than a few hashes of
    /// short texts otherwise. What is refused costs the same whether its key is known or not.
    ///
    /// # Errors
    /// What is wrong with the credentials.
    pub fn authenticate(
        &self,
        verifier: &Verifier,
        request: &Request<'_>,
        credentials: &Credentials,
        service: Service,
        now_ms: Timestamp,
    ) -> Result<Authenticated, AuthError> {
        let unsigned = |principal| Authenticated { principal, path_form: PathForm::Raw };
        let authenticated = match credentials {
            Credentials::Bearer(token) => unsigned(self.token(token)?),
            Credentials::Basic { access_key_id, secret } => unsigned(self.basic(access_key_id, secret)?),
            Credentials::Signed(signed) => self.signed(verifier, request, signed, service, now_ms)?,
        };
        if authenticated.principal.expires_ms.is_some_and(|expires_ms| expires_ms <= now_ms) {
            return Err(AuthError::TokenExpired);
        }
        Ok(authenticated)
    }

    fn token(&self, token: &ApiToken) -> Result<Principal, AuthError> {
        let record = self.directory.tokens.get(&token.id);
        let is_right = token.hash() == record.map_or(TokenHash::DECOY, |record| record.hash);
        let record = record.filter(|_| is_right).ok_or(AuthError::Unrecognized)?;
        let user = self.directory.users.get(&record.user).ok_or(AuthError::Unrecognized)?;
        Ok(Principal {
            identity: Identity::User { name: record.user.clone(), id: user.id.clone() },
            credential: Credential::Token(token.id.clone()),
            session_policy: record.policy.clone(),
            expires_ms: record.expires_ms,
        })
    }

    fn basic(&self, access_key_id: &str, secret: &Secret) -> Result<Principal, AuthError> {
        let candidate = self.candidate(access_key_id, None);
        let expected = (candidate.secret)();
        // Hashes are compared, so that not even the length of the secret shows.
        let hash = |secret: &[u8]| Secret::new(digest(&SHA256, secret).as_ref().to_vec());
        let is_right = hash(secret.expose()) == hash(expected.as_ref().map_or(&[], Secret::expose));
        match (candidate.principal, expected) {
            (Some(_), None) => Err(AuthError::SecretUnavailable),
            (Some(principal), Some(_)) if is_right => Ok(principal),
            _ => Err(AuthError::Unrecognized),
        }
    }

    fn signed(
        &self,
        verifier: &Verifier,
        request: &Request<'_>,
        signed: &Signed,
        service: Service,
        now_ms: Timestamp,
    ) -> Result<Authenticated, AuthError> {
        let session = signed.session_token.as_ref().map(|token| self.sessions.open(token));
        let candidate = self.candidate(&signed.access_key_id, session.as_ref().map(Option::as_ref));
        let source = KeySource { origin: candidate.origin, secret: &*candidate.secret, is_known: candidate.principal.is_some() };
        let path_form = verifier.verify(signed, request, service, &source, now_ms)?;
        let principal = candidate.principal.ok_or(AuthError::Unrecognized)?;
        if let Some(Some(session)) = &session {
            let role = self.directory.roles.get(&session.role).ok_or(AuthError::Unrecognized)?;
            if session.issued_ms < role.not_before_ms {
                return Err(AuthError::TokenExpired);
            }
        }
        Ok(Authenticated { principal, path_form })
    }

    /// The secret of a key, and whose it is. With a session token, the key must be the session's. A key that is not known gets a decoy.
    fn candidate<'s>(&'s self, access_key_id: &str, session: Option<Option<&'s Session>>) -> Candidate<'s> {
        if let Some(session) = session {
            return session.and_then(|session| self.of_session(access_key_id, session)).unwrap_or_else(|| self.decoy());
        }
        if let Some(root) = self.root.filter(|root| root.access_key_id == access_key_id) {
            let principal = Principal { identity: Identity::Root, credential: Credential::RootKey, session_policy: None, expires_ms: None };
            return Candidate {
                origin: origin(root.secret.expose()),
                secret: Box::new(|| Some(root.secret.clone())),
                principal: Some(principal),
            };
        }
        self.of_user(access_key_id).unwrap_or_else(|| self.decoy())
    }

    fn of_user(&self, access_key_id: &str) -> Option<Candidate<'_>> {
        let id = Id::parse(access_key_id).filter(|id| id.kind() == IdKind::AccessKey)?;
        let (id, key) = self.directory.keys.get_key_value(&id).filter(|(_, key)| key.is_active)?;
        let user = self.directory.users.get(&key.user)?;
        let principal = Principal {
            identity: Identity::User { name: key.user.clone(), id: user.id.clone() },
            credential: Credential::AccessKey(id.clone()),
            session_policy: None,
            expires_ms: None,
        };
        let secret = Box::new(move || (self.unseal)(id, &key.sealed));
        Some(Candidate { origin: origin(key.sealed.as_bytes()), secret, principal: Some(principal) })
    }

    fn of_session<'s>(&'s self, access_key_id: &str, session: &'s Session) -> Option<Candidate<'s>> {
        let role = self.directory.roles.get(&session.role).filter(|role| role.id == session.role_id)?;
        if session.access_key_id.as_str() != access_key_id {
            return None;
        }
        let session_policy = match &session.policy {
            Some(text) => Some(PolicyDocument::parse(PolicyKind::Identity, text).ok()?),
            None => None,
        };
        let principal = Principal {
            identity: Identity::Session { role: session.role.clone(), role_id: role.id.clone(), name: session.name.clone() },
            credential: Credential::AccessKey(session.access_key_id.clone()),
            session_policy,
            expires_ms: Some(session.expires_ms),
        };
        let secret = Box::new(|| Some(session.secret.clone()));
        Some(Candidate { origin: origin(session.secret.expose()), secret, principal: Some(principal) })
    }

    /// Unseals as much as a key that is known would have.
    fn decoy(&self) -> Candidate<'_> {
        let sealed = self.directory.keys.first_key_value();
        let secret = Box::new(move || sealed.and_then(|(id, key)| (self.unseal)(id, &key.sealed)));
        Candidate { origin: origin(sealed.map_or(&[], |(_, key)| key.sealed.as_bytes())), secret, principal: None }
    }

    /// Decides whether a principal may do something. Costs a look at every statement of its policies.
    #[must_use]
    pub fn authorise(&self, principal: &Principal, question: &Question<'_>) -> Decision {
        let action = question.action;
        if action == Action::GetCallerIdentity {
            return Decision::allowed();
        }
        let arn = principal.arn(self.home).to_string();
        let resource_policy = question.resource_policy.map(|document| (RESOURCE_POLICY, document.policy()));
        let session = principal.session_policy.as_ref().map(|document| (SESSION_POLICY, document.policy()));
        let known = match &principal.identity {
            Identity::Root => Some((arn.clone(), Tags::new(), root_policies())),
            Identity::User { name, id } => self
                .directory
                .users
                .get(name)
                .filter(|user| user.id == *id)
                .map(|user| (arn.clone(), user.tags.clone(), self.directory.policies_of_user(user))),
            Identity::Session { role, role_id, .. } => {
                self.directory.roles.get(role).filter(|found| found.id == *role_id).map(|found| {
                    (self.home.role(role).to_string(), found.tags.clone(), self.directory.policies_of(&found.attached).collect())
                })
            }
        };
        // Gone since it was authenticated.
        let Some((principal_arn, tags, identity)) = known else { return Decision::denied(Denial::NotAllowed, None) };
        if principal.identity == Identity::Root && action.writes_samples() && !self.root.is_some_and(|root| root.may_write) {
            return Decision::denied(Denial::RootMustNotWrite, None);
        }
        let caller = Caller { account: self.home.account.clone(), arn, principal_arn, tags };
        let context = Context { action, environment: question.environment, caller: Some(&caller), web_identity: None, external_id: None };
        let policies = PolicySet { identity: &identity, resource: resource_policy, session };
        evaluate(&policies, &context, &question.resource.to_string())
    }
}

/// The root may everything, but what a resource policy denies it.
fn root_policies() -> Vec<NamedPolicy<'static>> {
    static ALL: std::sync::LazyLock<PolicyDocument> = std::sync::LazyLock::new(|| {
        let text = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}"#;
        PolicyDocument::parse(PolicyKind::Identity, text).expect("a policy: a test reads it")
    });
    vec![("root", ALL.policy())]
}

/// Names a secret without telling it.
fn origin(secret: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest(&SHA256, secret).as_ref());
    out
}

/// What is told to one who may not: the same whether the resource exists or not.
#[must_use]
pub fn denial_message(principal: &Principal, home: &Home, action: Action, resource: &Resource) -> String {
    format!("User: {} is not authorized to perform: {action} on resource: {resource}", principal.arn(home))
}
