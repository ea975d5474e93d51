//! From text to a policy, strictly.

use super::condition::{self, KeySet};
use super::error::{Place, PolicyError, PolicyFact};
use super::glob::Glob;
use super::json::{self, Json};
use super::principal::Principals;
use super::{Actions, Effect, POLICY_BYTES_MAX, Policy, PolicyKind, Resources, STATEMENTS_MAX, Statement};
use crate::action::{Action, ActionSet};
use crate::arn::Arn;

const VERSION: &str = "2012-10-17";
/// Actions, or resources, of a statement at most.
const LIST_MAX: usize = 256;
const NAME_BYTES_MAX: usize = 128;
/// Services whose actions are all known here.
const SERVICES: [&str; 3] = ["aps", "flotilla", "sts"];

impl Policy {
    /// Reads a policy. Costs about the length of the text; what is read is bounded by [`POLICY_BYTES_MAX`].
    ///
    /// # Errors
    /// What is not understood, and where.
    pub fn parse(kind: PolicyKind, text: &str) -> Result<Self, PolicyError> {
        let root = Place::default();
        if text.len() > POLICY_BYTES_MAX {
            return Err(root.error(PolicyFact::TooLarge { bytes: text.len(), max: POLICY_BYTES_MAX }));
        }
        let json = json::parse(text)?;
        let (mut has_version, mut id, mut statements) = (false, None, None);
        for (name, value) in json.object(&root)? {
            let place = root.member(name);
            match name.as_str() {
                "Version" if value.text(&place)? == VERSION => has_version = true,
                "Version" => return Err(place.expected("\"2012-10-17\"")),
                "Id" => id = Some(short_text(value, &place)?.to_owned()),
                "Statement" => statements = Some(Self::statements(kind, value, &place)?),
                _ => return Err(place.error(PolicyFact::UnknownElement)),
            }
        }
        if !has_version {
            return Err(root.member("Version").error(PolicyFact::Missing));
        }
        let statements = statements.ok_or_else(|| root.member("Statement").error(PolicyFact::Missing))?;
        Ok(Self { kind, id, statements })
    }

    /// Checks that a resource policy is about one workspace and nothing else, which AMP demands when it is written.
    ///
    /// # Errors
    /// Where it is about something else.
    pub fn check_workspace(&self, workspace: &Arn) -> Result<(), PolicyError> {
        let workspace = workspace.to_string();
        let statements = Place::default().member("Statement");
        for (at, statement) in self.statements.iter().enumerate() {
            let is_other = |resources: &Resources| resources.is_negated || resources.globs.iter().any(|glob| glob.as_str() != workspace);
            if statement.resources.as_ref().is_none_or(is_other) {
                return Err(statements.element(at).member("Resource").expected("the ARN of the workspace"));
            }
            if let Some(action) = statement.actions.set.iter().find(|action| !action.honours_resource_policy()) {
                // A pattern may reach further; naming an action that does not count would promise what does not hold.
                if statement.actions.texts.iter().any(|text| text.eq_ignore_ascii_case(action.as_str())) {
                    return Err(statements.element(at).member("Action").error(PolicyFact::UnknownAction));
                }
            }
        }
        Ok(())
    }

    fn statements(kind: PolicyKind, json: &Json, place: &Place) -> Result<Vec<Statement>, PolicyError> {
        let is_list = matches!(json, Json::List(_));
        let mut statements: Vec<Statement> = Vec::new();
        for (at, json) in json.one_or_more(place, STATEMENTS_MAX)?.iter().enumerate() {
            let place = if is_list { place.element(at) } else { place.clone() };
            let statement = Statement::parse(kind, json, &place)?;
            if statement.sid.is_some() && statements.iter().any(|have| have.sid == statement.sid) {
                return Err(place.member("Sid").error(PolicyFact::Twice));
            }
            statements.push(statement);
        }
        Ok(statements)
    }
}

impl Statement {
    fn parse(kind: PolicyKind, json: &Json, place: &Place) -> Result<Self, PolicyError> {
        let (mut sid, mut effect, mut principals, mut conditions) = (None, None, None, Vec::new());
        let (mut actions, mut resources) = (None, None);
        for (name, value) in json.object(place)? {
            let at = place.member(name);
            match name.as_str() {
                "Sid" => sid = Some(short_text(value, &at)?.to_owned()),
                "Effect" => {
                    effect = Some(match value.text(&at)? {
                        "Allow" => Effect::Allow,
                        "Deny" => Effect::Deny,
                        _ => return Err(at.expected("\"Allow\" or \"Deny\"")),
                    });
                }
                "Principal" if kind != PolicyKind::Identity => principals = Some(Principals::parse(value, kind, &at)?),
                "Action" | "NotAction" if actions.is_some() => return Err(at.error(PolicyFact::WithOpposite)),
                "Action" | "NotAction" => actions = Some(Actions::parse(kind, name == "NotAction", value, &at)?),
                "Resource" | "NotResource" if kind == PolicyKind::Trust => return Err(at.error(PolicyFact::UnknownElement)),
                "Resource" | "NotResource" if resources.is_some() => return Err(at.error(PolicyFact::WithOpposite)),
                "Resource" | "NotResource" => resources = Some(Resources::parse(name == "NotResource", value, &at)?),
                "Condition" => {
                    let set = if kind == PolicyKind::Trust { KeySet::Trust } else { KeySet::Access };
                    conditions = condition::parse_all(value, &at, set)?;
                }
                _ => return Err(at.error(PolicyFact::UnknownElement)),
            }
        }
        let missing = |name: &str| place.member(name).error(PolicyFact::Missing);
        let effect = effect.ok_or_else(|| missing("Effect"))?;
        if kind != PolicyKind::Identity && principals.is_none() {
            return Err(missing("Principal"));
        }
        if kind != PolicyKind::Trust && resources.is_none() {
            return Err(missing("Resource"));
        }
        // Denying some series of a request is not something that forced matchers can say.
        if effect == Effect::Deny && conditions.iter().any(|condition| condition.key.is_consequence()) {
            return Err(place.member("Condition").error(PolicyFact::UnknownKey));
        }
        Ok(Self { sid, effect, principals, actions: actions.ok_or_else(|| missing("Action"))?, resources, conditions })
    }
}

impl Actions {
    fn parse(kind: PolicyKind, is_negated: bool, json: &Json, place: &Place) -> Result<Self, PolicyError> {
        let mut texts = Vec::new();
        let mut set = ActionSet::default();
        for value in json.one_or_more(place, LIST_MAX)? {
            let text = value.text(place)?;
            set = set.union(matching(kind, text).ok_or_else(|| place.error(PolicyFact::UnknownAction))?);
            texts.push(text.to_owned());
        }
        if is_negated {
            set = set.complement();
        }
        Ok(Self { is_negated, texts, set })
    }
}

/// The actions that a pattern means: none is an error for services of ours, and may be for another service's, which policies written
/// for AWS bring along.
fn matching(kind: PolicyKind, text: &str) -> Option<ActionSet> {
    let (service, name) = if text == "*" { ("*", "*") } else { text.split_once(':')? };
    let service = service.to_ascii_lowercase();
    let is_service =
        service == "*" && text == "*" || !service.is_empty() && service.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'*' || byte == b'?');
    if !is_service || !is_name {
        return None;
    }
    let glob = Glob::parse(&text.to_ascii_lowercase()).ok()?;
    let is_of_kind = |action: Action| match kind {
        PolicyKind::Trust => matches!(action, Action::AssumeRole | Action::AssumeRoleWithWebIdentity),
        PolicyKind::Identity | PolicyKind::Resource => true,
    };
    let set = ActionSet::filtered(|action| is_of_kind(action) && glob.matches(&action.as_str().to_ascii_lowercase()));
    let is_foreign = kind == PolicyKind::Identity && !SERVICES.contains(&service.as_str());
    (!set.is_empty() || is_foreign).then_some(set)
}

impl Resources {
    fn parse(is_negated: bool, json: &Json, place: &Place) -> Result<Self, PolicyError> {
        let glob = |value: &Json| {
            let text = value.text(place)?;
            if text != "*" && !text.starts_with("arn:") {
                return Err(place.expected("\"*\" or an ARN"));
            }
            Glob::parse(text).map_err(|_| place.error(PolicyFact::UnknownVariable))
        };
        let globs = json.one_or_more(place, LIST_MAX)?.iter().map(glob).collect::<Result<_, _>>()?;
        Ok(Self { is_negated, globs })
    }
}

fn short_text<'a>(json: &'a Json, place: &Place) -> Result<&'a str, PolicyError> {
    let text = json.text(place)?;
    if text.len() > NAME_BYTES_MAX || text.chars().any(char::is_control) {
        return Err(place.expected("at most 128 bytes without control characters"));
    }
    Ok(text)
}
