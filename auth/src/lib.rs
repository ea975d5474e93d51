//! Who asks, and may they: Flotilla's access control as a pure library.
//!
//! It knows no network, no clock and no source of randomness: requests, times and entropy are arguments, and what is stored is data that
//! the caller replicates and seals. Nothing here waits.
//!
//! ```text
//! Request -> Credentials::parse -> View::authenticate -> Principal -> View::authorise -> Decision
//!                                    |  Directory, Root, SessionKeys, unseal
//!                                    +- sigv4::Verifier (signatures, kept signing keys)
//! ```
//!
//! A node that serves requests
//! 1. reads the whole body (bounded) and makes a [`Request`] of what came, before it decodes or normalises anything;
//! 2. reads the credentials ([`Credentials::parse`]);
//! 3. verifies them against a [`View`] of the directory ([`View::authenticate`]), and refuses a path that was signed in another form than it
//!    routes by ([`sigv4::PathForm`]);
//! 4. asks whether the principal may do the route's [`Action`] to a [`Resource`] ([`View::authorise`]); the [`Decision`] tells
//!    whether, by which statement, which label matchers are to be forced into every selector and which labels a writer must carry;
//! 5. only then looks at the body, and writes an [`audit::Record`] where one is due.
//!
//! ```
//! use auth::policy::{Environment, LabelScope};
//! use auth::sigv4::{PathForm, Service, Settings, Verifier};
//! use auth::{Action, Credentials, Directory, Home, Question, Request, Resource, Root, Secret, View, denial_message, session::SessionKeys};
//!
//! // Kept by the node: the verifier, the settings, what the meta group holds.
//! let verifier = Verifier::new(Settings::default());
//! let (home, directory, sessions) = (Home::default(), Directory::default(), SessionKeys::default());
//! let root = Root { access_key_id: "admin".into(), secret: Secret::from("secret"), may_write: false };
//! let unseal = |_: &auth::id::Id, sealed: &auth::directory::SealedSecret| Some(Secret::new(sealed.as_bytes().to_vec()));
//! let view = View { home: &home, directory: &directory, root: Some(&root), sessions: &sessions, unseal: &unseal };
//!
//! // For each request.
//! let headers: [(&str, &[u8]); 2] = [("host", b"localhost"), ("authorization", b"Basic YWRtaW46c2VjcmV0")];
//! let path = "/workspaces/ws-1/api/v1/query";
//! let request = Request { method: "GET", path, query: "query=up", authority: None, headers: &headers, body: b"", is_tls: true };
//! let now_ms = 1_767_225_600_000;
//! let credentials = Credentials::parse(&request)?;
//! let found = view.authenticate(&verifier, &request, &credentials, Service::Aps, now_ms)?;
//! assert_eq!(found.path_form, PathForm::Raw);
//! let (action, resource) = (Action::QueryMetrics, Resource::from(home.workspace("ws-1")));
//! let environment = Environment::at(now_ms, None, request.is_tls);
//! let question = Question { action, resource: &resource, resource_policy: None, environment: &environment };
//! let decision = view.authorise(&found.principal, &question);
//! assert!(decision.is_allowed(), "{}", denial_message(&found.principal, &home, action, &resource));
//! assert_eq!(decision.label_matchers, LabelScope::All);
//! # Ok::<(), auth::AuthError>(())
//! ```
//!
//! Errors have AMP's names and statuses ([`AuthError::name`], [`AuthError::status`]); a denial is
//! [`ErrorName::AccessDenied`] with [`denial_message`]. A request of STS is a form ([`sts::StsRequest::parse`]); where it must be signed it is
//! verified as above for [`sigv4::Service::Sts`], and [`View::answer`] answers it.
//!
//! | module | does |
//! |---|---|
//! | [`access`] | the two questions, on a view of what is known |
//! | [`action`], [`arn`], [`id`] | what can be asked, what it is done to, names that are given once |
//! | [`credentials`], [`request`] | what a request brings |
//! | [`sigv4`] | signatures |
//! | [`token`], [`session`] | API tokens, session tokens |
//! | [`codec`] | the encoding of what is replicated |
//! | [`directory`] | principals and policies as replicated data, and the commands that change them |
//! | [`policy`] | the subset of IAM's policies, and what it decides |
//! | [`sts`] | temporary credentials: requests, web identities, replies |
//! | [`audit`] | the audit record |
//!
//! When you add an action, add it to the node's table of routes; when you change a record of [`directory`] or what [`session`] seals, raise
//! its version. What [`policy`] understands is part of what `apply` does: hold an extension back until all nodes know it.

pub mod access;
pub mod action;
pub mod arn;
pub mod audit;
pub mod codec;
pub mod credentials;
pub mod directory;
pub mod error;
pub mod id;
pub mod policy;
pub mod principal;
pub mod request;
pub mod secret;
pub mod session;
pub mod sigv4;
pub mod sts;
mod text;
pub mod token;

pub use access::{Authenticated, Question, Root, View, denial_message};
pub use action::Action;
pub use arn::{Arn, Home, Resource};
pub use credentials::Credentials;
pub use directory::Directory;
pub use error::{AuthError, ErrorName};
pub use policy::Decision;
pub use principal::Principal;
pub use request::Request;
pub use secret::Secret;
