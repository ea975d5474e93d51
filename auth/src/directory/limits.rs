//! How much a directory holds, and of which form its names are.

use super::command::{Entity, Fact};
use super::record::SealedSecret;
use crate::policy::Tags;

/// Users at most.
pub const USERS_MAX: usize = 5_000;
/// Groups at most.
pub const GROUPS_MAX: usize = 500;
/// Roles at most.
pub const ROLES_MAX: usize = 1_000;
/// Policies with names of their own at most.
pub const POLICIES_MAX: usize = 1_500;
/// API tokens of all users at most.
pub const TOKENS_MAX: usize = 10_000;
/// Bytes of the texts of all policies at most.
pub const POLICY_TEXT_BYTES_MAX: usize = 8 << 20;
/// Access keys of a user, usable or not, at most.
pub const KEYS_OF_USER_MAX: usize = 2;
/// API tokens of a user at most.
pub const TOKENS_OF_USER_MAX: usize = 50;
/// Groups of a user at most.
pub const GROUPS_OF_USER_MAX: usize = 10;
/// Attached policies of one holder at most.
pub const ATTACHED_MAX: usize = 20;
/// Policies that belong to one holder alone at most.
pub const INLINE_MAX: usize = 10;
/// Keys that open session tokens; the newest seals them.
pub const SESSION_KEYS_MAX: usize = 3;
/// Tags of one holder at most.
pub const TAGS_MAX: usize = 50;
/// Seconds that a session lasts at least.
pub const SESSION_MIN_S: u32 = 900;
/// Seconds that a session may last at most.
pub const SESSION_MAX_S: u32 = 43_200;

const NAME_BYTES_MAX: usize = 64;
const POLICY_NAME_BYTES_MAX: usize = 128;
const TAG_NAME_CHARS_MAX: usize = 128;
const TAG_VALUE_CHARS_MAX: usize = 256;
const DESCRIPTION_BYTES_MAX: usize = 256;

fn is_name(name: &str, max: usize) -> bool {
    (1..=max).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_+=,.@-".contains(&byte))
}

fn formed(entity: Entity, is_formed: bool) -> Result<(), Fact> {
    if is_formed { Ok(()) } else { Err(Fact::Malformed { entity }) }
}

/// Whether there is room for one more.
pub(super) fn room(entity: Entity, count: usize, max: usize) -> Result<(), Fact> {
    if count < max { Ok(()) } else { Err(Fact::Full { entity, max: max as u64 }) }
}

pub(super) fn check_name(entity: Entity, name: &str) -> Result<(), Fact> {
    let max = if entity == Entity::Policy { POLICY_NAME_BYTES_MAX } else { NAME_BYTES_MAX };
    formed(entity, is_name(name, max))
}

pub(super) fn check_tags(tags: &Tags) -> Result<(), Fact> {
    room(Entity::Tag, tags.len().saturating_sub(1), TAGS_MAX)?;
    let is_tag = |(name, value): (&String, &String)| {
        (1..=TAG_NAME_CHARS_MAX).contains(&name.chars().count())
            && value.chars().count() <= TAG_VALUE_CHARS_MAX
            && !name.to_ascii_lowercase().starts_with("aws:")
            && !name.chars().chain(value.chars()).any(char::is_control)
    };
    formed(Entity::Tag, tags.iter().all(is_tag))
}

pub(super) fn check_sealed(sealed: &SealedSecret) -> Result<(), Fact> {
    formed(Entity::Secret, (1..=super::record::SEALED_BYTES_MAX).contains(&sealed.as_bytes().len()))
}

pub(super) fn check_description(text: &str) -> Result<(), Fact> {
    formed(Entity::Description, text.len() <= DESCRIPTION_BYTES_MAX && !text.chars().any(char::is_control))
}

pub(super) fn check_session(seconds: u32) -> Result<(), Fact> {
    formed(Entity::SessionDuration, (SESSION_MIN_S..=SESSION_MAX_S).contains(&seconds))
}
