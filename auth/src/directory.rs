//! Principals and their policies, as plain data that is replicated.
//!
//! A directory changes by [`Command`]s alone. [`Directory::apply`] is a function of the directory and the command: there is no clock, no
//! randomness and no order of a hash map in it, ids and times are in the command. What it reads of policies depends on the binary, so
//! whoever teaches it a new element must hold that back until all nodes know it.
//!
//! Secrets of access keys must be had in the clear to verify a signature, so they are stored sealed by the caller; secrets of API tokens
//! are stored as hashes.

mod apply;
mod command;
mod limits;
mod record;

#[cfg(test)]
mod tests;

pub use command::{Command, Entity, Fact, Holder, Outcome};
pub use limits::*;
pub use record::{AccessKey, Attached, Group, Role, SEALED_BYTES_MAX, SealedSecret, TokenRecord, User};

use crate::id::Id;
use crate::policy::{NamedPolicy, Policy, PolicyDocument, managed};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Everyone and everything that can be allowed something.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Directory {
    /// Users by name.
    pub users: BTreeMap<String, User>,
    /// Groups by name.
    pub groups: BTreeMap<String, Group>,
    /// Roles by name.
    pub roles: BTreeMap<String, Role>,
    /// Policies by name; the managed ones are not among them.
    pub policies: BTreeMap<String, PolicyDocument>,
    /// Access keys by id.
    pub keys: BTreeMap<Id, AccessKey>,
    /// API tokens by id.
    pub tokens: BTreeMap<Id, TokenRecord>,
    /// Keys of session tokens by number: the highest seals, all open.
    pub session_keys: BTreeMap<u32, SealedSecret>,
}

impl Directory {
    /// The policy of that name, managed or not.
    #[must_use]
    pub fn policy(&self, name: &str) -> Option<&PolicyDocument> {
        self.policies.get(name).or_else(|| managed(name))
    }

    /// The access keys of a user. Costs a walk over all keys.
    pub fn keys_of<'a>(&'a self, user: &'a str) -> impl Iterator<Item = (&'a Id, &'a AccessKey)> {
        self.keys.iter().filter(move |(_, key)| key.user == user)
    }

    /// The API tokens of a user. Costs a walk over all tokens.
    pub fn tokens_of<'a>(&'a self, user: &'a str) -> impl Iterator<Item = (&'a Id, &'a TokenRecord)> {
        self.tokens.iter().filter(move |(_, token)| token.user == user)
    }

    /// The names of the users in a group. Costs a walk over all users.
    pub fn members<'a>(&'a self, group: &'a str) -> impl Iterator<Item = &'a str> {
        self.users.iter().filter(move |(_, user)| user.groups.contains(group)).map(|(name, _)| name.as_str())
    }

    /// The policies of a user and of its groups.
    pub(crate) fn policies_of_user<'a>(&'a self, user: &'a User) -> Vec<NamedPolicy<'a>> {
        let groups = user.groups.iter().filter_map(|name| self.groups.get(name)).map(|group| &group.attached);
        std::iter::once(&user.attached).chain(groups).flat_map(|attached| self.policies_of(attached)).collect()
    }

    /// The policies that are attached to something.
    pub(crate) fn policies_of<'a>(&'a self, attached: &'a Attached) -> impl Iterator<Item = NamedPolicy<'a>> {
        let by_name = attached.policies.iter().filter_map(|name| Some((name.as_str(), self.policy(name)?.policy())));
        by_name.chain(attached.inline.iter().map(|(name, document)| -> (&str, &Policy) { (name, document.policy()) }))
    }
}
