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
//! Errors have AMP's names and statuses ([`AuthError::name`], [`AuthError::status`]); a denial is
//! [`ErrorName::AccessDenied`] with [`denial_message`]. Requests of STS go to [`sts`].
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
