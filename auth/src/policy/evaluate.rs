//! What policies decide: an explicit denial wins; then a permission of the identity's or the resource's policies; else no.

use super::context::Context;
use super::labels::{LabelScope, TooManySets};
use super::principal::Match;
use super::{Effect, Key, Policy, Statement};

/// A policy under the name by which decisions tell of it.
pub(crate) type NamedPolicy<'a> = (&'a str, &'a Policy);

/// The policies that count for a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PolicySet<'a> {
    /// Of the identity and its groups.
    pub(crate) identity: &'a [NamedPolicy<'a>],
    /// Of what the action is done to; only if the action honours such.
    pub(crate) resource: Option<NamedPolicy<'a>>,
    /// Of the session or token: both must allow.
    pub(crate) session: Option<NamedPolicy<'a>>,
}

/// The statement that decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatementName {
    /// The policy it stands in.
    pub policy: String,
    /// Its Sid.
    pub sid: Option<String>,
}

/// Why a request is denied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denial {
    /// A statement denies it.
    Explicit,
    /// Nothing allows it.
    NotAllowed,
    /// The identity may, its session or token may not.
    NotInSession,
    /// The root user must not write samples unless it is set up to.
    RootMustNotWrite,
    /// The series allowed are made of more lists of matchers than are served.
    TooManyMatchers,
}

/// Whether a request may be served, and how far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Why not; none if it may.
    pub denial: Option<Denial>,
    /// The statement that decided, if one did.
    pub statement: Option<StatementName>,
    /// Series that may be read: to be forced into every selector.
    pub label_matchers: LabelScope,
    /// What every series written must fit.
    pub required_labels: LabelScope,
}

impl Decision {
    /// Whether the request may be served.
    #[must_use]
    pub fn is_allowed(&self) -> bool {
        self.denial.is_none()
    }

    pub(crate) fn allowed() -> Self {
        Self { denial: None, statement: None, label_matchers: LabelScope::All, required_labels: LabelScope::All }
    }

    pub(crate) fn denied(denial: Denial, statement: Option<StatementName>) -> Self {
        Self { denial: Some(denial), statement, ..Self::allowed() }
    }
}

/// What some policies say together.
#[derive(Clone, Debug)]
struct Allowance {
    statement: StatementName,
    matchers: LabelScope,
    required: LabelScope,
}

/// A statement denies.
struct Denied(StatementName);

/// Why there is no plain answer.
enum Stop {
    Denied(StatementName),
    TooManySets,
}

impl From<Denied> for Stop {
    fn from(denied: Denied) -> Self {
        Self::Denied(denied.0)
    }
}

impl From<TooManySets> for Stop {
    fn from(_: TooManySets) -> Self {
        Self::TooManySets
    }
}

/// Decides. Costs one look at every statement.
pub(crate) fn evaluate(policies: &PolicySet<'_>, context: &Context<'_>, resource: &str) -> Decision {
    match weigh_all(policies, context, resource) {
        Ok(decision) => decision,
        Err(Stop::Denied(statement)) => Decision::denied(Denial::Explicit, Some(statement)),
        Err(Stop::TooManySets) => Decision::denied(Denial::TooManyMatchers, None),
    }
}

fn weigh_all(policies: &PolicySet<'_>, context: &Context<'_>, resource: &str) -> Result<Decision, Stop> {
    let on_resource = policies.resource.filter(|_| context.action.honours_resource_policy());
    let granting = policies.identity.iter().copied().chain(on_resource);
    // Every denial counts before the first permission does.
    for (name, policy) in granting.clone().chain(policies.session) {
        policy.check_denials(name, context, resource)?;
    }
    let mut granted: Option<Allowance> = None;
    for (name, policy) in granting {
        granted = widened(granted, policy.allowance(name, context, resource)?)?;
    }
    let Some(mut granted) = granted else { return Ok(Decision::denied(Denial::NotAllowed, None)) };
    if let Some((name, policy)) = policies.session {
        let Some(session) = policy.allowance(name, context, resource)? else { return Ok(Decision::denied(Denial::NotInSession, None)) };
        granted.matchers = granted.matchers.and(&session.matchers)?;
        granted.required = granted.required.and(&session.required)?;
    }
    let Allowance { statement, matchers, required } = granted;
    Ok(Decision { denial: None, statement: Some(statement), label_matchers: matchers, required_labels: required })
}

/// What either allows; the first one's statement names it.
fn widened(granted: Option<Allowance>, more: Option<Allowance>) -> Result<Option<Allowance>, TooManySets> {
    match (granted, more) {
        (Some(granted), Some(more)) => {
            let matchers = granted.matchers.or(&more.matchers)?;
            let required = granted.required.or(&more.required)?;
            Ok(Some(Allowance { statement: granted.statement, matchers, required }))
        }
        (granted, more) => Ok(granted.or(more)),
    }
}

impl Policy {
    fn check_denials(&self, name: &str, context: &Context<'_>, resource: &str) -> Result<(), Denied> {
        let denies = |statement: &&Statement| statement.effect == Effect::Deny && statement.reach(context, resource).is_some();
        self.statements.iter().find(denies).map_or(Ok(()), |statement| Err(Denied(statement.name(name))))
    }

    fn allowance(&self, name: &str, context: &Context<'_>, resource: &str) -> Result<Option<Allowance>, TooManySets> {
        let mut granted = None;
        for statement in &self.statements {
            // A resource policy that names the account leaves it to the account's own policies who may.
            if statement.effect == Effect::Allow && statement.reach(context, resource) == Some(Match::Direct) {
                let matchers = statement.scope(&Key::LabelMatchers, context.action.takes_label_matchers())?;
                let required = statement.scope(&Key::RequiredLabels, context.action.takes_required_labels())?;
                granted = widened(granted, Some(Allowance { statement: statement.name(name), matchers, required }))?;
            }
        }
        Ok(granted)
    }
}

impl Statement {
    fn name(&self, policy: &str) -> StatementName {
        StatementName { policy: policy.to_owned(), sid: self.sid.clone() }
    }

    /// How the statement is about the request, if it is.
    fn reach(&self, context: &Context<'_>, resource: &str) -> Option<Match> {
        if !self.actions.set.contains(context.action) || !self.resources.as_ref().is_none_or(|resources| resources.contain(resource)) {
            return None;
        }
        let found = self.principals.as_ref().map_or(Some(Match::Direct), |principals| principals.find(context))?;
        self.conditions.iter().all(|condition| condition.holds(context)).then_some(found)
    }

    /// The series that the statement's conditions on `key` leave.
    fn scope(&self, key: &Key, is_asked: bool) -> Result<LabelScope, TooManySets> {
        let conditions = self.conditions.iter().filter(|condition| is_asked && condition.key == *key);
        conditions.filter_map(|condition| condition.scope()).try_fold(LabelScope::All, LabelScope::and)
    }
}

/// What a trust policy says of one who wants to assume its role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trust {
    /// No.
    Refused,
    /// Yes, if the policies of the one who asks allow it too.
    IfAllowed,
    /// Yes.
    Granted,
}

/// Asks a trust policy.
pub(crate) fn evaluate_trust(policy: &Policy, context: &Context<'_>) -> Trust {
    if policy.check_denials("trust", context, "*").is_err() {
        return Trust::Refused;
    }
    let allows = policy.statements.iter().filter(|statement| statement.effect == Effect::Allow);
    match allows.filter_map(|statement| statement.reach(context, "*")).max() {
        Some(Match::Direct) => Trust::Granted,
        Some(Match::Account) => Trust::IfAllowed,
        None => Trust::Refused,
    }
}
