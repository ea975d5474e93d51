//! What commands do. Everything is checked before anything changes.

use super::Directory;
use super::command::{Command, Entity, Fact, Holder, Outcome};
use super::limits::{self, check_description, check_name, check_sealed, check_session, check_tags, room};
use super::record::{AccessKey, Attached, Group, Role, SealedSecret, TokenRecord, User};
use crate::id::{Id, IdKind};
use crate::policy::{MANAGED_PREFIX, PolicyDocument, PolicyKind, managed};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

impl Directory {
    /// Applies a command.
    ///
    /// # Errors
    /// The fact for which nothing changed.
    pub fn apply(&mut self, command: Command) -> Result<Outcome, Fact> {
        match command {
            Command::CreateUser { name, id, tags, now_ms } => {
                let (groups, attached) = Default::default();
                self.create_user(name, User { id, created_ms: now_ms, tags, groups, attached })
            }
            Command::DeleteUser { name } => Ok(self.delete_user(&name)),
            Command::CreateAccessKey { user, id, sealed, now_ms } => {
                self.create_key(id, AccessKey { user, sealed, is_active: true, created_ms: now_ms })
            }
            Command::SetAccessKeyActive { id, is_active } => {
                let key = self.keys.get_mut(&id).ok_or_else(|| not_found(Entity::AccessKey, id.as_str()))?;
                Ok(set(&mut key.is_active, is_active))
            }
            Command::DeleteAccessKey { id } => Ok(outcome(self.keys.remove(&id).is_some())),
            Command::CreateToken { user, id, hash, description, policy, expires_ms, now_ms } => {
                let policy = policy.map(|text| read_policy(PolicyKind::Identity, &text)).transpose()?;
                self.create_token(id, TokenRecord { user, hash, description, policy, expires_ms, created_ms: now_ms })
            }
            Command::DeleteToken { id } => Ok(outcome(self.tokens.remove(&id).is_some())),
            Command::CreateGroup { name, now_ms } => {
                check_name(Entity::Group, &name)?;
                let group = Group { created_ms: now_ms, attached: Attached::default() };
                create(&mut self.groups, Entity::Group, limits::GROUPS_MAX, name, group, |_, _| true)
            }
            Command::DeleteGroup { name } => {
                for user in self.users.values_mut() {
                    user.groups.remove(&name);
                }
                Ok(outcome(self.groups.remove(&name).is_some()))
            }
            Command::AddToGroup { group, user } => self.add_to_group(group, &user),
            Command::RemoveFromGroup { group, user } => Ok(outcome(self.user(&user)?.groups.remove(&group))),
            Command::CreateRole { name, id, trust, session_max_s, tags, now_ms } => {
                let trust = read_policy(PolicyKind::Trust, &trust)?;
                let attached = Attached::default();
                self.create_role(name, Role { id, created_ms: now_ms, trust, session_max_s, not_before_ms: 0, tags, attached })
            }
            Command::UpdateTrust { role, trust } => {
                let trust = read_policy(PolicyKind::Trust, &trust)?;
                let old = self.role(&role)?.trust.text().len();
                self.check_text_room(trust.text(), old)?;
                Ok(set(&mut self.role(&role)?.trust, trust))
            }
            Command::RevokeSessions { role, not_before_ms } => {
                let role = self.role(&role)?;
                let latest = role.not_before_ms.max(not_before_ms);
                Ok(set(&mut role.not_before_ms, latest))
            }
            Command::DeleteRole { name } => Ok(outcome(self.roles.remove(&name).is_some())),
            Command::SetTags { holder, tags } => self.set_tags(&holder, tags),
            Command::PutPolicy { name, document } => self.put_policy(name, &document),
            Command::DeletePolicy { name } => self.delete_policy(&name),
            Command::AttachPolicy { holder, policy } => self.attach(&holder, &policy),
            Command::DetachPolicy { holder, policy } => Ok(outcome(self.attached(&holder)?.policies.remove(plain_name(&policy)))),
            Command::PutInlinePolicy { holder, name, document } => self.put_inline(&holder, name, &document),
            Command::DeleteInlinePolicy { holder, name } => Ok(outcome(self.attached(&holder)?.inline.remove(&name).is_some())),
            Command::AddSessionKey { id, sealed } => self.add_session_key(id, sealed),
        }
    }

    fn user(&mut self, name: &str) -> Result<&mut User, Fact> {
        self.users.get_mut(name).ok_or_else(|| not_found(Entity::User, name))
    }

    fn role(&mut self, name: &str) -> Result<&mut Role, Fact> {
        self.roles.get_mut(name).ok_or_else(|| not_found(Entity::Role, name))
    }

    fn attached(&mut self, holder: &Holder) -> Result<&mut Attached, Fact> {
        match holder {
            Holder::User(name) => Ok(&mut self.user(name)?.attached),
            Holder::Role(name) => Ok(&mut self.role(name)?.attached),
            Holder::Group(name) => {
                let group = self.groups.get_mut(name).ok_or_else(|| not_found(Entity::Group, name))?;
                Ok(&mut group.attached)
            }
        }
    }

    fn create_user(&mut self, name: String, user: User) -> Result<Outcome, Fact> {
        check_name(Entity::User, &name)?;
        check_id(Entity::User, &user.id, IdKind::User)?;
        check_tags(&user.tags)?;
        create(&mut self.users, Entity::User, limits::USERS_MAX, name, user, |have, new| have.id == new.id)
    }

    fn delete_user(&mut self, name: &str) -> Outcome {
        self.keys.retain(|_, key| key.user != name);
        self.tokens.retain(|_, token| token.user != name);
        outcome(self.users.remove(name).is_some())
    }

    fn create_key(&mut self, id: Id, key: AccessKey) -> Result<Outcome, Fact> {
        check_id(Entity::AccessKey, &id, IdKind::AccessKey)?;
        check_sealed(&key.sealed)?;
        self.user(&key.user)?;
        if !self.keys.contains_key(&id) {
            room(Entity::AccessKey, self.keys_of(&key.user).count(), limits::KEYS_OF_USER_MAX)?;
        }
        let max = limits::USERS_MAX * limits::KEYS_OF_USER_MAX;
        create(&mut self.keys, Entity::AccessKey, max, id, key, |have, new| have.user == new.user && have.sealed == new.sealed)
    }

    fn create_token(&mut self, id: Id, token: TokenRecord) -> Result<Outcome, Fact> {
        check_id(Entity::Token, &id, IdKind::Token)?;
        check_description(&token.description)?;
        self.user(&token.user)?;
        if !self.tokens.contains_key(&id) {
            room(Entity::Token, self.tokens_of(&token.user).count(), limits::TOKENS_OF_USER_MAX)?;
            self.check_text_room(token.policy.as_ref().map_or("", PolicyDocument::text), 0)?;
        }
        create(&mut self.tokens, Entity::Token, limits::TOKENS_MAX, id, token, |have, new| have.user == new.user && have.hash == new.hash)
    }

    fn add_to_group(&mut self, group: String, user: &str) -> Result<Outcome, Fact> {
        if !self.groups.contains_key(&group) {
            return Err(not_found(Entity::Group, &group));
        }
        let user = self.user(user)?;
        if user.groups.contains(&group) {
            return Ok(Outcome::Unchanged);
        }
        room(Entity::Group, user.groups.len(), limits::GROUPS_OF_USER_MAX)?;
        Ok(outcome(user.groups.insert(group)))
    }

    fn create_role(&mut self, name: String, role: Role) -> Result<Outcome, Fact> {
        check_name(Entity::Role, &name)?;
        check_id(Entity::Role, &role.id, IdKind::Role)?;
        check_session(role.session_max_s)?;
        check_tags(&role.tags)?;
        if !self.roles.contains_key(&name) {
            self.check_text_room(role.trust.text(), 0)?;
        }
        create(&mut self.roles, Entity::Role, limits::ROLES_MAX, name, role, |have, new| have.id == new.id)
    }

    fn set_tags(&mut self, holder: &Holder, tags: BTreeMap<String, String>) -> Result<Outcome, Fact> {
        check_tags(&tags)?;
        match holder {
            Holder::User(name) => Ok(set(&mut self.user(name)?.tags, tags)),
            Holder::Role(name) => Ok(set(&mut self.role(name)?.tags, tags)),
            Holder::Group(_) => Err(Fact::Malformed { entity: Entity::Tag }),
        }
    }

    fn put_policy(&mut self, name: String, text: &str) -> Result<Outcome, Fact> {
        check_name(Entity::Policy, &name)?;
        if managed(&name).is_some() {
            return Err(Fact::Exists { entity: Entity::Policy, name });
        }
        let document = read_policy(PolicyKind::Identity, text)?;
        let old = self.policies.get(&name).map_or(0, |document| document.text().len());
        self.check_text_room(text, old)?;
        if !self.policies.contains_key(&name) {
            room(Entity::Policy, self.policies.len(), limits::POLICIES_MAX)?;
        }
        Ok(put(&mut self.policies, name, document))
    }

    fn delete_policy(&mut self, name: &str) -> Result<Outcome, Fact> {
        if self.all_attached().any(|attached| attached.policies.contains(name)) {
            return Err(Fact::Attached { name: name.to_owned() });
        }
        Ok(outcome(self.policies.remove(name).is_some()))
    }

    fn attach(&mut self, holder: &Holder, policy: &str) -> Result<Outcome, Fact> {
        let name = plain_name(policy);
        if self.policy(name).is_none() {
            return Err(not_found(Entity::Policy, policy));
        }
        let attached = self.attached(holder)?;
        if attached.policies.contains(name) {
            return Ok(Outcome::Unchanged);
        }
        room(Entity::Policy, attached.policies.len(), limits::ATTACHED_MAX)?;
        Ok(outcome(attached.policies.insert(name.to_owned())))
    }

    fn put_inline(&mut self, holder: &Holder, name: String, text: &str) -> Result<Outcome, Fact> {
        check_name(Entity::Policy, &name)?;
        let document = read_policy(PolicyKind::Identity, text)?;
        let attached = self.attached(holder)?;
        let old = attached.inline.get(&name).map(|document| document.text().len());
        if old.is_none() {
            room(Entity::Policy, attached.inline.len(), limits::INLINE_MAX)?;
        }
        self.check_text_room(text, old.unwrap_or(0))?;
        Ok(put(&mut self.attached(holder)?.inline, name, document))
    }

    fn add_session_key(&mut self, id: u32, sealed: SealedSecret) -> Result<Outcome, Fact> {
        check_sealed(&sealed)?;
        let exists = || Fact::Exists { entity: Entity::SessionKey, name: id.to_string() };
        match self.session_keys.last_key_value() {
            Some((newest, have)) if *newest == id && *have == sealed => return Ok(Outcome::Unchanged),
            Some((newest, _)) if *newest >= id => return Err(exists()),
            _ => {}
        }
        self.session_keys.insert(id, sealed);
        while self.session_keys.len() > limits::SESSION_KEYS_MAX {
            self.session_keys.pop_first();
        }
        Ok(Outcome::Changed)
    }

    fn all_attached(&self) -> impl Iterator<Item = &Attached> {
        let users = self.users.values().map(|user| &user.attached);
        let groups = self.groups.values().map(|group| &group.attached);
        users.chain(groups).chain(self.roles.values().map(|role| &role.attached))
    }

    /// Whether all texts of policies still fit with `text` in the place of one of `old` bytes. Costs a walk over all.
    fn check_text_room(&self, text: &str, old: usize) -> Result<(), Fact> {
        let inline = self.all_attached().flat_map(|attached| attached.inline.values());
        let tokens = self.tokens.values().filter_map(|token| token.policy.as_ref());
        let documents = self.policies.values().chain(inline).chain(tokens).chain(self.roles.values().map(|role| &role.trust));
        let bytes: usize = documents.map(|document| document.text().len()).sum();
        let max = limits::POLICY_TEXT_BYTES_MAX;
        if bytes - old + text.len() <= max { Ok(()) } else { Err(Fact::Full { entity: Entity::Policy, max: max as u64 }) }
    }
}

/// A managed policy may be named by its ARN.
fn plain_name(policy: &str) -> &str {
    policy.strip_prefix(MANAGED_PREFIX).unwrap_or(policy)
}

fn read_policy(kind: PolicyKind, text: &str) -> Result<PolicyDocument, Fact> {
    PolicyDocument::parse(kind, text).map_err(|error| Fact::Policy { place: error.place.to_string(), detail: error.fact.to_string() })
}

fn not_found(entity: Entity, name: &str) -> Fact {
    Fact::NotFound { entity, name: name.to_owned() }
}

fn check_id(entity: Entity, id: &Id, kind: IdKind) -> Result<(), Fact> {
    if id.kind() == kind { Ok(()) } else { Err(Fact::Malformed { entity }) }
}

fn outcome(has_changed: bool) -> Outcome {
    if has_changed { Outcome::Changed } else { Outcome::Unchanged }
}

fn set<T: PartialEq>(place: &mut T, value: T) -> Outcome {
    let has_changed = *place != value;
    *place = value;
    outcome(has_changed)
}

fn put(map: &mut BTreeMap<String, PolicyDocument>, name: String, document: PolicyDocument) -> Outcome {
    let old = map.insert(name, document.clone());
    outcome(old.as_ref() != Some(&document))
}

/// Adds a record, unless one of its name is there already: then it must be the same.
fn create<K: Ord + ToString, V>(
    map: &mut BTreeMap<K, V>,
    entity: Entity,
    max: usize,
    name: K,
    value: V,
    is_same: impl FnOnce(&V, &V) -> bool,
) -> Result<Outcome, Fact> {
    let count = map.len();
    match map.entry(name) {
        Entry::Occupied(have) if is_same(have.get(), &value) => Ok(Outcome::Unchanged),
        Entry::Occupied(have) => Err(Fact::Exists { entity, name: have.key().to_string() }),
        Entry::Vacant(place) => {
            room(entity, count, max)?;
            place.insert(value);
            Ok(Outcome::Changed)
        }
    }
}
