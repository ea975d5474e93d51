//! Policies: the part of IAM's JSON that is read, and what it decides.
//!
//! | element | is |
//! |---|---|
//! | `Version` | `2012-10-17`, and nothing else |
//! | `Id`, `Sid` | names |
//! | `Effect` | `Allow`, `Deny` |
//! | `Action`, `NotAction` | patterns of actions; case does not matter |
//! | `Resource`, `NotResource` | patterns of ARNs; not in trust policies |
//! | `Principal` | in resource and trust policies only: `*`, `AWS`, in trust policies `Federated` |
//! | `Condition` | operators and keys, below; all must hold |
//!
//! | operators | compare |
//! |---|---|
//! | `StringEquals`, `StringNotEquals` | texts |
//! | `StringLike`, `StringNotLike` | texts with patterns |
//! | `IpAddress`, `NotIpAddress` | `aws:SourceIp` with networks |
//! | `Bool` | `aws:SecureTransport` |
//! | `DateLessThan`, `DateGreaterThan` | `aws:CurrentTime` with times |
//! | `Null` | whether a key is absent |
//! | `ForAllValues:String…`, `ForAnyValue:String…` | each value of a key |
//! | `…IfExists` | all but `Null`: holds where the key is absent |
//!
//! | keys | in |
//! |---|---|
//! | `aws:ResourceTag/k`, `aws:RequestTag/k`, `aws:TagKeys` | identity and resource policies |
//! | `aws:SourceIp`, `aws:SecureTransport`, `aws:CurrentTime`, `aws:PrincipalArn`, `aws:PrincipalTag/k` | all |
//! | `issuer:sub`, `issuer:aud`, `sts:ExternalId` | trust policies |
//! | `aps:LabelMatchers` | statements that allow: narrows reads to the series that one of the lists of matchers fits |
//! | `aps:RequiredLabels` | statements that allow: narrows writes to such series |
//!
//! The last two stand under `StringEquals`, each value a list such as `{team="a",env=~"dev|test"}`. They are there only for actions that can
//! be narrowed so ([`crate::Action::takes_label_matchers`], [`crate::Action::takes_required_labels`]): a statement with one allows no other action.
//! Several statements that allow add up, as everywhere in IAM; a session's policy takes away.
//!
//! What is not known is refused when a policy is written: a condition that was ignored would let in whom it should keep out.

mod condition;
mod context;
mod error;
mod evaluate;
mod glob;
mod json;
mod labels;
mod managed;
mod network;
mod parse;
mod principal;
mod print;

#[cfg(test)]
mod tests;

pub use condition::{Condition, Key, Operator, Quantifier, Test};
pub use context::{Caller, Environment, Tags, WebIdentity};
pub use error::{Place, PolicyError, PolicyFact};
pub use evaluate::{Decision, Denial, StatementName};
pub use glob::Glob;
pub use labels::{LabelScope, MatcherSet};
pub use managed::{MANAGED_PREFIX, managed, managed_names};

pub(crate) use context::Context;
pub(crate) use evaluate::{NamedPolicy, PolicySet, Trust, evaluate, evaluate_trust};

use crate::action::ActionSet;
use principal::Principals;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Bytes of a policy at most.
pub const POLICY_BYTES_MAX: usize = 20_480;
/// Statements of a policy at most.
pub const STATEMENTS_MAX: usize = 200;

/// What a policy is attached to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PolicyKind {
    /// A user, a group, a role; or a session, which it narrows.
    Identity,
    /// A workspace.
    Resource,
    /// A role: who may assume it.
    Trust,
}

/// Whether a statement allows or denies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It allows.
    Allow,
    /// It denies, whatever else allows.
    Deny,
}

/// A policy, read.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// What it is attached to.
    pub kind: PolicyKind,
    id: Option<String>,
    statements: Vec<Statement>,
}

#[derive(Clone, Debug, PartialEq)]
struct Statement {
    sid: Option<String>,
    effect: Effect,
    principals: Option<Principals>,
    actions: Actions,
    resources: Option<Resources>,
    conditions: Vec<Condition>,
}

#[derive(Clone, Debug, PartialEq)]
struct Actions {
    is_negated: bool,
    texts: Vec<String>,
    /// What the texts and the negation come to.
    set: ActionSet,
}

#[derive(Clone, Debug, PartialEq)]
struct Resources {
    is_negated: bool,
    globs: Vec<Glob>,
}

impl Resources {
    fn contain(&self, resource: &str) -> bool {
        self.globs.iter().any(|glob| glob.matches(resource)) != self.is_negated
    }
}

/// A policy as it was written, and as read. Stored as the text; reading a stored one that is not a policy fails.
#[derive(Clone, Debug, PartialEq)]
pub struct PolicyDocument {
    text: Arc<str>,
    policy: Arc<Policy>,
}

impl PolicyDocument {
    /// Reads a policy.
    ///
    /// # Errors
    /// What is not understood, and where.
    pub fn parse(kind: PolicyKind, text: &str) -> Result<Self, PolicyError> {
        Ok(Self { text: Arc::from(text), policy: Arc::new(Policy::parse(kind, text)?) })
    }

    /// The text, to the byte.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What it says.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.policy
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    kind: PolicyKind,
    text: String,
}

impl Serialize for PolicyDocument {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Stored { kind: self.policy.kind, text: self.text.to_string() }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for PolicyDocument {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let stored = Stored::deserialize(deserializer)?;
        Self::parse(stored.kind, &stored.text).map_err(serde::de::Error::custom)
    }
}
