//! Conditions: an operator, a key of the request's context, and values.

use super::context::{Context, Found};
use super::error::{Place, PolicyError, PolicyFact};
use super::glob::{Glob, UnknownVariable, literal};
use super::json::Json;
use super::labels::{LabelScope, MatcherSet};
use super::network::Network;
use model::Timestamp;
use std::fmt;

/// Values of one condition at most.
const VALUES_MAX: usize = 256;

/// How a condition compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Test {
    /// The texts are the same.
    StringEquals,
    /// They are not.
    StringNotEquals,
    /// The text fits a pattern.
    StringLike,
    /// It does not.
    StringNotLike,
    /// The address is in the network.
    IpAddress,
    /// It is not.
    NotIpAddress,
    /// Yes or no.
    Bool,
    /// Before a time.
    DateLessThan,
    /// After a time.
    DateGreaterThan,
    /// Whether the key is absent.
    Null,
}

const TESTS: [(&str, Test); 10] = [
    ("StringEquals", Test::StringEquals),
    ("StringNotEquals", Test::StringNotEquals),
    ("StringLike", Test::StringLike),
    ("StringNotLike", Test::StringNotLike),
    ("IpAddress", Test::IpAddress),
    ("NotIpAddress", Test::NotIpAddress),
    ("Bool", Test::Bool),
    ("DateLessThan", Test::DateLessThan),
    ("DateGreaterThan", Test::DateGreaterThan),
    ("Null", Test::Null),
];

impl Test {
    /// Whether it holds where no value fits.
    fn is_negated(self) -> bool {
        matches!(self, Self::StringNotEquals | Self::StringNotLike | Self::NotIpAddress)
    }

    fn is_string(self) -> bool {
        matches!(self, Self::StringEquals | Self::StringNotEquals | Self::StringLike | Self::StringNotLike)
    }
}

/// How many of a key's values must pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quantifier {
    /// Every one; none is there is enough.
    All,
    /// At least one.
    Any,
}

/// A test, and what goes with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operator {
    /// How values are compared.
    pub test: Test,
    /// `ForAllValues:` or `ForAnyValue:`.
    pub quantifier: Option<Quantifier>,
    /// `…IfExists`: holds where the key is absent.
    pub if_exists: bool,
}

impl Operator {
    fn parse(name: &str) -> Option<Self> {
        let (quantifier, name) = match name.split_once(':') {
            Some(("ForAllValues", rest)) => (Some(Quantifier::All), rest),
            Some(("ForAnyValue", rest)) => (Some(Quantifier::Any), rest),
            Some(_) => return None,
            None => (None, name),
        };
        let (if_exists, name) = name.strip_suffix("IfExists").map_or((false, name), |rest| (true, rest));
        let test = TESTS.iter().find(|(known, _)| *known == name)?.1;
        let fits = (quantifier.is_none() || test.is_string()) && !(test == Test::Null && if_exists);
        fits.then_some(Self { test, quantifier, if_exists })
    }
}

impl fmt::Display for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quantifier = match self.quantifier {
            Some(Quantifier::All) => "ForAllValues:",
            Some(Quantifier::Any) => "ForAnyValue:",
            None => "",
        };
        write!(f, "{quantifier}{:?}{}", self.test, if self.if_exists { "IfExists" } else { "" })
    }
}

/// A key of a request's context.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Key {
    /// A tag of what the action is done to.
    ResourceTag(String),
    /// A tag that the request brings.
    RequestTag(String),
    /// The names of all tags that the request brings.
    TagKeys,
    /// Where the request comes from.
    SourceIp,
    /// Whether it came over TLS.
    SecureTransport,
    /// When it came.
    CurrentTime,
    /// Who asks: the role of a session.
    PrincipalArn,
    /// A tag of who asks.
    PrincipalTag(String),
    /// The subject of a web identity, by issuer without scheme.
    Subject(String),
    /// The audience of a web identity, by issuer without scheme.
    Audience(String),
    /// What the one who assumes a role must know.
    ExternalId,
    /// Not a fact but a consequence: matchers forced into every selector.
    LabelMatchers,
    /// Not a fact but a consequence: labels that writers must carry.
    RequiredLabels,
}

/// In which policies a key can stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeySet {
    /// Identity, resource and session policies.
    Access,
    /// Trust policies.
    Trust,
}

impl Key {
    /// Names of keys are not case-sensitive, those of tags are.
    fn parse(name: &str, set: KeySet) -> Option<Self> {
        let lower = name.to_ascii_lowercase();
        let tag = |prefix: &str| lower.starts_with(prefix).then(|| name[prefix.len()..].to_owned()).filter(|tag| !tag.is_empty());
        if let Some(tag) = tag("aws:principaltag/") {
            return Some(Self::PrincipalTag(tag));
        }
        let access = set == KeySet::Access;
        if let Some(tag) = tag("aws:resourcetag/").filter(|_| access) {
            return Some(Self::ResourceTag(tag));
        }
        if let Some(tag) = tag("aws:requesttag/").filter(|_| access) {
            return Some(Self::RequestTag(tag));
        }
        match lower.as_str() {
            "aws:sourceip" => Some(Self::SourceIp),
            "aws:securetransport" => Some(Self::SecureTransport),
            "aws:currenttime" => Some(Self::CurrentTime),
            "aws:principalarn" => Some(Self::PrincipalArn),
            "aws:tagkeys" if access => Some(Self::TagKeys),
            "aps:labelmatchers" if access => Some(Self::LabelMatchers),
            "aps:requiredlabels" if access => Some(Self::RequiredLabels),
            "sts:externalid" if !access => Some(Self::ExternalId),
            _ if access => None,
            _ => {
                let (issuer, claim) = name.rsplit_once(':')?;
                let is_ours = ["aws:", "aps:", "sts:", "flotilla:"].iter().any(|prefix| lower.starts_with(prefix));
                let is_issuer = !issuer.is_empty() && !issuer.contains("://") && !is_ours;
                match claim {
                    "sub" if is_issuer => Some(Self::Subject(issuer.to_owned())),
                    "aud" if is_issuer => Some(Self::Audience(issuer.to_owned())),
                    _ => None,
                }
            }
        }
    }

    fn fits(&self, operator: Operator) -> bool {
        match self {
            _ if operator.test == Test::Null => !self.is_consequence(),
            Self::SourceIp => matches!(operator.test, Test::IpAddress | Test::NotIpAddress),
            Self::SecureTransport => operator.test == Test::Bool,
            Self::CurrentTime => matches!(operator.test, Test::DateLessThan | Test::DateGreaterThan),
            // A list of values compared without saying how many must pass would mean nothing certain.
            Self::TagKeys => operator.test.is_string() && operator.quantifier.is_some(),
            Self::LabelMatchers | Self::RequiredLabels => operator.test == Test::StringEquals && operator.quantifier.is_none(),
            _ => operator.test.is_string(),
        }
    }

    /// Whether it does not ask for something but has something done.
    pub(super) fn is_consequence(&self) -> bool {
        matches!(self, Self::LabelMatchers | Self::RequiredLabels)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ResourceTag(tag) => write!(f, "aws:ResourceTag/{tag}"),
            Self::RequestTag(tag) => write!(f, "aws:RequestTag/{tag}"),
            Self::PrincipalTag(tag) => write!(f, "aws:PrincipalTag/{tag}"),
            Self::Subject(issuer) => write!(f, "{issuer}:sub"),
            Self::Audience(issuer) => write!(f, "{issuer}:aud"),
            Self::TagKeys => f.write_str("aws:TagKeys"),
            Self::SourceIp => f.write_str("aws:SourceIp"),
            Self::SecureTransport => f.write_str("aws:SecureTransport"),
            Self::CurrentTime => f.write_str("aws:CurrentTime"),
            Self::PrincipalArn => f.write_str("aws:PrincipalArn"),
            Self::ExternalId => f.write_str("sts:ExternalId"),
            Self::LabelMatchers => f.write_str("aps:LabelMatchers"),
            Self::RequiredLabels => f.write_str("aps:RequiredLabels"),
        }
    }
}

/// Values as they are compared.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Values {
    Texts(Vec<String>),
    Globs(Vec<Glob>),
    Networks(Vec<Network>),
    Bools(Vec<bool>),
    Times(Vec<Timestamp>),
    Labels(LabelScope),
}

/// One condition. All of a statement's must hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// How it compares.
    pub operator: Operator,
    /// What it compares.
    pub key: Key,
    /// The values as they were written.
    pub(super) texts: Vec<String>,
    values: Values,
}

/// Reads a `Condition` element.
pub(super) fn parse_all(json: &Json, place: &Place, set: KeySet) -> Result<Vec<Condition>, PolicyError> {
    let mut conditions = Vec::new();
    for (name, keys) in json.object(place)? {
        let place = place.member(name);
        let operator = Operator::parse(name).ok_or_else(|| place.error(PolicyFact::UnknownOperator))?;
        for (name, values) in keys.object(&place)? {
            let place = place.member(name);
            let key = Key::parse(name, set).ok_or_else(|| place.error(PolicyFact::UnknownKey))?;
            if !key.fits(operator) {
                return Err(place.error(PolicyFact::OperatorOfKey));
            }
            if conditions.iter().any(|have: &Condition| have.operator == operator && have.key == key) {
                return Err(place.error(PolicyFact::Twice));
            }
            conditions.push(Condition::parse(operator, key, values, &place)?);
        }
    }
    conditions.sort_by_cached_key(|condition| (condition.operator.to_string(), condition.key.to_string()));
    Ok(conditions)
}

impl Condition {
    fn parse(operator: Operator, key: Key, json: &Json, place: &Place) -> Result<Self, PolicyError> {
        let texts: Vec<String> = json
            .one_or_more(place, VALUES_MAX)?
            .iter()
            .map(|value| match value {
                Json::Bool(value) if matches!(operator.test, Test::Bool | Test::Null) => Ok(value.to_string()),
                value => value.text(place).map(str::to_owned),
            })
            .collect::<Result<_, _>>()?;
        let variable = |UnknownVariable| place.error(PolicyFact::UnknownVariable);
        let each = texts.iter().map(String::as_str);
        let values = match operator.test {
            _ if key.is_consequence() => {
                let set = |text| MatcherSet::parse(text).map_err(|detail| place.error(PolicyFact::Matchers { detail }));
                Values::Labels(LabelScope::AnyOf(each.map(set).collect::<Result<_, _>>()?))
            }
            Test::StringEquals | Test::StringNotEquals => Values::Texts(each.map(literal).collect::<Result<_, _>>().map_err(variable)?),
            Test::StringLike | Test::StringNotLike => Values::Globs(each.map(Glob::parse).collect::<Result<_, _>>().map_err(variable)?),
            Test::IpAddress | Test::NotIpAddress => {
                let network = |text: &str| text.parse().map_err(|_| place.expected("an address or a network such as 10.0.0.0/8"));
                Values::Networks(each.map(network).collect::<Result<_, _>>()?)
            }
            Test::Bool | Test::Null => {
                let truth = |text: &str| text.parse().map_err(|_| place.expected("true or false"));
                Values::Bools(each.map(truth).collect::<Result<_, _>>()?)
            }
            Test::DateLessThan | Test::DateGreaterThan => {
                let time = |text: &str| model::time::parse_time(text).map_err(|_| place.expected("a time such as 2026-01-01T00:00:00Z"));
                Values::Times(each.map(time).collect::<Result<_, _>>()?)
            }
        };
        Ok(Self { operator, key, texts, values })
    }

    /// The series that the condition narrows a permission to, if that is what it does.
    pub(super) fn scope(&self) -> Option<&LabelScope> {
        match &self.values {
            Values::Labels(scope) => Some(scope),
            _ => None,
        }
    }

    /// Whether it holds.
    pub(super) fn holds(&self, context: &Context<'_>) -> bool {
        let found = context.find(&self.key);
        let Operator { test, quantifier, if_exists } = self.operator;
        if test == Test::Null {
            return matches!(&self.values, Values::Bools(wanted) if wanted.contains(&found.is_none()));
        }
        let Some(found) = found else {
            return if_exists || quantifier == Some(Quantifier::All) || (quantifier.is_none() && test.is_negated());
        };
        if self.key.is_consequence() {
            return true;
        }
        // Without a word on how many, none may be among what a negated test excludes.
        let all = quantifier == Some(Quantifier::All) || (quantifier.is_none() && test.is_negated());
        match found {
            Found::Texts(texts) if all => texts.iter().all(|text| self.passes(&Found::Text(text))),
            Found::Texts(texts) => texts.iter().any(|text| self.passes(&Found::Text(text))),
            one => self.passes(&one),
        }
    }

    /// Whether one value of the context passes.
    fn passes(&self, found: &Found<'_>) -> bool {
        let fits = match (&self.values, found) {
            (Values::Texts(values), Found::Text(text)) => values.iter().any(|value| value == text),
            (Values::Globs(values), Found::Text(text)) => values.iter().any(|value| value.matches(text)),
            (Values::Networks(values), Found::Address(address)) => values.iter().any(|value| value.contains(*address)),
            (Values::Bools(values), Found::Bool(truth)) => values.contains(truth),
            (Values::Times(values), Found::Time(time)) if self.operator.test == Test::DateLessThan => {
                values.iter().any(|value| time < value)
            }
            (Values::Times(values), Found::Time(time)) => values.iter().any(|value| time > value),
            // Cannot be: what a key holds fits its operators. Refuse, whether the test is negated or not.
            _ => return false,
        };
        fits != self.operator.test.is_negated()
    }
}
