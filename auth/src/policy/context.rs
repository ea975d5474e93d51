//! What is known of a request when its permission is asked for.

use super::condition::Key;
use crate::action::Action;
use model::Timestamp;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Names and values given by users.
pub type Tags = BTreeMap<String, String>;

/// A web identity, after its token was validated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebIdentity {
    /// The issuer without its scheme, as policies write it.
    pub issuer: String,
    /// Whom it vouches for.
    pub subject: String,
    /// For whom it was issued.
    pub audiences: Vec<String>,
}

/// Who asks, as policies see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The account that it belongs to.
    pub account: String,
    /// The ARN: of the session, where there is one.
    pub arn: String,
    /// The lasting ARN: of the role, where there is a session.
    pub principal_arn: String,
    /// The lasting identity's tags.
    pub tags: Tags,
}

/// What surrounds a request, as the server knows it.
#[derive(Clone, Copy, Debug)]
pub struct Environment<'a> {
    /// The server's time.
    pub now_ms: Timestamp,
    /// The sender's address; none if it is not known, as through a proxy that does not tell.
    pub source_ip: Option<IpAddr>,
    /// Whether the request came over TLS.
    pub is_tls: bool,
    /// Tags of what the action is done to.
    pub resource_tags: &'a Tags,
    /// Tags that the request brings.
    pub request_tags: &'a Tags,
    /// Names of tags that the request takes away.
    pub removed_tags: &'a [String],
}

impl Environment<'_> {
    /// A request without tags.
    #[must_use]
    pub fn at(now_ms: Timestamp, source_ip: Option<IpAddr>, is_tls: bool) -> Self {
        static NO_TAGS: Tags = Tags::new();
        Self { now_ms, source_ip, is_tls, resource_tags: &NO_TAGS, request_tags: &NO_TAGS, removed_tags: &[] }
    }
}

/// Everything that conditions can ask for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Context<'a> {
    pub(crate) action: Action,
    pub(crate) environment: &'a Environment<'a>,
    /// None for one who only has a web identity yet.
    pub(crate) caller: Option<&'a Caller>,
    pub(crate) web_identity: Option<&'a WebIdentity>,
    pub(crate) external_id: Option<&'a str>,
}

/// What a key holds.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Found<'a> {
    Text(&'a str),
    Texts(Vec<&'a str>),
    Address(IpAddr),
    Bool(bool),
    Time(Timestamp),
}

impl Context<'_> {
    /// What a key holds; none if it is absent.
    pub(super) fn find<'s>(&'s self, key: &Key) -> Option<Found<'s>> {
        let tag = |tags: &'s Tags, name: &str| tags.get(name).map(|value| Found::Text(value));
        let environment = self.environment;
        match key {
            Key::ResourceTag(name) => tag(environment.resource_tags, name),
            Key::RequestTag(name) => tag(environment.request_tags, name),
            Key::PrincipalTag(name) => tag(&self.caller?.tags, name),
            Key::TagKeys => {
                let names: Vec<&str> = environment.request_tags.keys().chain(environment.removed_tags).map(String::as_str).collect();
                (!names.is_empty()).then_some(Found::Texts(names))
            }
            Key::SourceIp => environment.source_ip.map(Found::Address),
            Key::SecureTransport => Some(Found::Bool(environment.is_tls)),
            Key::CurrentTime => Some(Found::Time(environment.now_ms)),
            Key::PrincipalArn => self.caller.map(|caller| Found::Text(&caller.principal_arn)),
            Key::Subject(issuer) => self.web_identity.filter(|id| id.issuer == *issuer).map(|id| Found::Text(&id.subject)),
            Key::Audience(issuer) => {
                let identity = self.web_identity.filter(|id| id.issuer == *issuer)?;
                Some(Found::Texts(identity.audiences.iter().map(String::as_str).collect()))
            }
            Key::ExternalId => self.external_id.map(Found::Text),
            Key::LabelMatchers => self.action.takes_label_matchers().then_some(Found::Bool(true)),
            Key::RequiredLabels => self.action.takes_required_labels().then_some(Found::Bool(true)),
        }
    }
}
