//! Decides on every request: who sends it, and may they.

use super::subject::Subject;
use super::{Refusal, secrets};
use crate::config::{AuthConfig, Config};
use crate::http::asker::PeerAddress;
use crate::http::extract::{ReadLimits, read_body};
use crate::http::routes::{Endpoint, Route};
use crate::meta::MetaState;
use crate::node::Node;
use auth::directory::SealedSecret;
use auth::id::Id;
use auth::policy::{Environment, PolicyDocument, PolicyKind};
use auth::session::SessionKeys;
use auth::sigv4::{PathForm, Service, Settings, Verifier};
use auth::sts::Issuers;
use auth::{Credentials, Decision, Home, Principal, Question, Root, Secret, View, denial_message};
use axum::body::Body;
use axum::http::Request;
use axum::http::request::Parts;
use bytes::Bytes;
use model::limits::{CONTROL_BODY_BYTES_MAX, REQUEST_BODY_TIMEOUT};
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// Resource policies that are kept as they were read.
const POLICIES_MAX: usize = 1024;

/// What a request may do.
#[derive(Clone, Debug, Default)]
pub struct Granted {
    /// Who sends it; none where access is not controlled.
    pub principal: Option<Principal>,
}

/// The session keys of a directory, sealed and opened.
#[derive(Debug, Default)]
struct Sessions {
    sealed: BTreeMap<u32, SealedSecret>,
    opened: Arc<SessionKeys>,
}

/// A resource policy as it was read: its revision, and what it says if it says anything.
type Read = (String, Option<Arc<PolicyDocument>>);

/// Lets requests in, or refuses them.
#[derive(Debug)]
pub struct Gate {
    is_on: bool,
    home: Home,
    root: Option<Root>,
    issuers: Issuers,
    verifier: Verifier,
    sessions: Mutex<Sessions>,
    policies: Mutex<HashMap<String, Read>>,
}

impl Gate {
    /// Takes the settings of a node.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        let AuthConfig { is_on, root, may_root_write, issuer } = config.auth.clone();
        let (region, account) = (config.aws.region.clone(), config.aws.account_id.clone());
        Self {
            is_on,
            home: Home { region, account, ..Home::default() },
            root: root.map(|root| Root {
                access_key_id: root.access_key,
                secret: Secret::from(root.secret_key.expose()),
                may_write: may_root_write,
            }),
            issuers: Issuers::new(issuer),
            verifier: Verifier::new(Settings::default()),
            sessions: Mutex::default(),
            policies: Mutex::default(),
        }
    }

    /// What all names begin with.
    #[must_use]
    pub fn home(&self) -> &Home {
        &self.home
    }

    /// Whether requests must tell who sends them.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.is_on
    }

    /// Whose web identities are trusted, as far as roles do.
    #[must_use]
    pub fn issuers(&self) -> &Issuers {
        &self.issuers
    }

    /// Decides on a request before it is served. Where a signature covers the body it is read here, within the route's bound, and given
    /// back whole.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub async fn admit(
        &self,
        node: &Node,
        route: &Route,
        path: &HashMap<String, String>,
        request: Request<Body>,
    ) -> Result<(Granted, Request<Body>), Refusal> {
        let Some(action) = route.action.filter(|_| self.is_on) else { return Ok((Granted::default(), request)) };
        let (head, body) = request.into_parts();
        let headers = headers_of(&head);
        let credentials = Credentials::parse(&signed_request(&head, &headers, b"")).map_err(Refusal::Credentials)?;
        let must_read = matches!(credentials, Credentials::Signed(_)) || matches!(route.endpoint, Endpoint::Control(_));
        let (bytes, body) = if must_read {
            let bytes = read_body(&head.headers, body, limits(route)).await.map_err(Refusal::Body)?;
            (bytes.clone(), Body::from(bytes))
        } else {
            (Bytes::new(), body)
        };
        let meta = node.meta.get();
        let principal = self.authenticate(node, &meta, &signed_request(&head, &headers, &bytes), &credentials, Service::Aps)?;
        let control_body: &[u8] = if matches!(route.endpoint, Endpoint::Control(_)) { &bytes } else { b"" };
        let subject = Subject::of(action, route, path, &head, control_body, &self.home).tagged(&meta);
        self.decide(node, &meta, &principal, &subject, &head)?;
        drop(headers);
        Ok((Granted { principal: Some(principal) }, Request::from_parts(head, body)))
    }

    /// Who sends a request whose head and body are given.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub fn identify(&self, node: &Node, meta: &MetaState, head: &Parts, body: &[u8], service: Service) -> Result<Principal, Refusal> {
        let headers = headers_of(head);
        let request = signed_request(head, &headers, body);
        let credentials = Credentials::parse(&request).map_err(Refusal::Credentials)?;
        self.authenticate(node, meta, &request, &credentials, service)
    }

    fn authenticate(
        &self,
        node: &Node,
        meta: &MetaState,
        request: &auth::Request<'_>,
        credentials: &Credentials,
        service: Service,
    ) -> Result<Principal, Refusal> {
        let now_ms = node.clock.now_ms();
        let authenticated = self.with_view(node, meta, |view| view.authenticate(&self.verifier, request, credentials, service, now_ms));
        let authenticated = authenticated.map_err(Refusal::Credentials)?;
        // The router reads the path as it was sent.
        if authenticated.path_form != PathForm::Raw {
            return Err(Refusal::PathForm);
        }
        Ok(authenticated.principal)
    }

    fn decide(&self, node: &Node, meta: &MetaState, principal: &Principal, subject: &Subject, head: &Parts) -> Result<(), Refusal> {
        let policy = subject.workspace.as_ref().and_then(|id| self.resource_policy(meta, id));
        let source_ip = head.extensions.get::<PeerAddress>().map(|peer| peer.0.ip());
        let environment = Environment {
            resource_tags: &subject.resource_tags,
            request_tags: &subject.request_tags,
            removed_tags: &subject.removed_tags,
            ..Environment::at(node.clock.now_ms(), source_ip, false)
        };
        let question =
            Question { action: subject.action, resource: &subject.resource, resource_policy: policy.as_deref(), environment: &environment };
        let decision = self.with_view(node, meta, |view| view.authorise(principal, &question));
        if is_whole(&decision) {
            return Ok(());
        }
        Err(Refusal::Denied(denial_message(principal, &self.home, subject.action, &subject.resource)))
    }

    /// Asks what is known of principals now.
    pub(super) fn with_view<T>(&self, node: &Node, meta: &MetaState, ask: impl FnOnce(&View<'_>) -> T) -> T {
        let sessions = self.sessions(node, meta);
        let unseal = |id: &Id, sealed: &SealedSecret| secrets::unseal(&node.keys, id, sealed);
        ask(&View { home: &self.home, directory: &meta.directory, root: self.root.as_ref(), sessions: &sessions, unseal: &unseal })
    }

    fn sessions(&self, node: &Node, meta: &MetaState) -> Arc<SessionKeys> {
        let mut known = self.sessions.lock();
        if known.sealed != meta.directory.session_keys {
            known.sealed = meta.directory.session_keys.clone();
            known.opened = Arc::new(secrets::sessions(&node.keys, &known.sealed));
        }
        Arc::clone(&known.opened)
    }

    /// The resource policy of a workspace, read once for each of its revisions. One that says nothing that is understood allows nothing.
    fn resource_policy(&self, meta: &MetaState, id: &str) -> Option<Arc<PolicyDocument>> {
        let policy = meta.workspaces.get(id)?.service.policy.as_ref()?;
        let mut known = self.policies.lock();
        if let Some((revision, read)) = known.get(id)
            && *revision == policy.revision
        {
            return read.clone();
        }
        if known.len() >= POLICIES_MAX {
            known.clear();
        }
        let read = PolicyDocument::parse(PolicyKind::Resource, &policy.document).ok().map(Arc::new);
        known.insert(id.to_owned(), (policy.revision.clone(), read.clone()));
        read
    }
}

/// Whether everything that was asked for may be done. A decision for some series only is not served: nothing here cuts a request down.
fn is_whole(decision: &Decision) -> bool {
    use auth::policy::LabelScope::All;
    decision.is_allowed() && decision.label_matchers == All && decision.required_labels == All
}

fn limits(route: &Route) -> ReadLimits {
    match route.endpoint {
        Endpoint::RemoteWrite => ReadLimits::REMOTE_WRITE,
        Endpoint::Control(_) => ReadLimits { bytes: CONTROL_BODY_BYTES_MAX, time: REQUEST_BODY_TIMEOUT },
        _ => ReadLimits::FORM,
    }
}

fn headers_of(head: &Parts) -> Vec<(&str, &[u8])> {
    head.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect()
}

fn signed_request<'a>(head: &'a Parts, headers: &'a [(&'a str, &'a [u8])], body: &'a [u8]) -> auth::Request<'a> {
    auth::Request {
        method: head.method.as_str(),
        path: head.uri.path(),
        query: head.uri.query().unwrap_or(""),
        authority: head.uri.authority().map(axum::http::uri::Authority::as_str),
        headers,
        body,
        is_tls: false,
    }
}
