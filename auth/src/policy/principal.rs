//! The `Principal` element of resource and trust policies.

use super::PolicyKind;
use super::context::Context;
use super::error::{Place, PolicyError, PolicyFact};
use super::json::Json;
use crate::arn::Arn;

/// Principals of one statement at most.
const PRINCIPALS_MAX: usize = 256;

/// Whom a statement is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Principals {
    /// Everyone, besides those who are named.
    is_everyone: bool,
    named: Vec<Named>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Named {
    /// All of an account, by its number or its root.
    Account { text: String, account: String },
    /// A user, a role, a session.
    Arn(String),
    /// An issuer of web identities.
    Federated { text: String, issuer: String },
}

/// How a principal is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Match {
    /// As one of many, of its account or of all: that keeps out, and lets in only whom other policies let in too.
    Account,
    /// Itself.
    Direct,
}

impl Principals {
    pub(super) fn parse(json: &Json, kind: PolicyKind, place: &Place) -> Result<Self, PolicyError> {
        if let Json::Text(text) = json {
            return if text == "*" { Ok(Self { is_everyone: true, named: vec![] }) } else { Err(place.expected("\"*\" or an object")) };
        }
        let (mut named, mut is_everyone) = (Vec::new(), false);
        for (name, values) in json.object(place)? {
            let place = place.member(name);
            for value in values.one_or_more(&place, PRINCIPALS_MAX)? {
                let text = value.text(&place)?;
                match name.as_str() {
                    "AWS" if text == "*" => is_everyone = true,
                    "AWS" => {
                        named.push(Named::aws(text).ok_or_else(|| place.expected("an account, or the ARN of a user, a role or a session"))?)
                    }
                    "Federated" if kind == PolicyKind::Trust => {
                        named.push(Named::federated(text).ok_or_else(|| place.expected("an issuer without its scheme, or its ARN"))?);
                    }
                    _ => return Err(place.error(PolicyFact::UnknownElement)),
                }
            }
        }
        if !is_everyone && named.is_empty() {
            return Err(place.expected("an object that names someone"));
        }
        Ok(Self { is_everyone, named })
    }

    /// How the one who asks is named, if at all. What lets everyone in is meant for those who are known here: a web identity is let in by
    /// its issuer's name alone. What keeps everyone out keeps it out too.
    pub(super) fn find(&self, context: &Context<'_>) -> Option<Match> {
        let Some(caller) = context.caller else {
            let identity = context.web_identity?;
            let is_issuer = |named: &Named| matches!(named, Named::Federated { issuer, .. } if *issuer == identity.issuer);
            let is_named = self.named.iter().any(is_issuer);
            return if is_named { Some(Match::Direct) } else { self.is_everyone.then_some(Match::Account) };
        };
        if self.is_everyone {
            return Some(Match::Direct);
        }
        let of = |named: &Named| match named {
            Named::Arn(arn) if *arn == caller.arn || *arn == caller.principal_arn => Some(Match::Direct),
            Named::Account { account, .. } if *account == caller.account => Some(Match::Account),
            _ => None,
        };
        self.named.iter().filter_map(of).max()
    }

    /// The names under `AWS` and under `Federated`, as they were written.
    pub(super) fn texts(&self) -> (Vec<&str>, Vec<&str>) {
        let (mut aws, mut federated) = (vec![], vec![]);
        if self.is_everyone {
            aws.push("*");
        }
        for named in &self.named {
            match named {
                Named::Account { text, .. } | Named::Arn(text) => aws.push(text.as_str()),
                Named::Federated { text, .. } => federated.push(text.as_str()),
            }
        }
        (aws, federated)
    }
}

impl Named {
    fn aws(text: &str) -> Option<Self> {
        if text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Some(Self::Account { text: text.to_owned(), account: text.to_owned() });
        }
        let arn: Arn = text.parse().ok()?;
        let is_whole = !arn.resource.contains(['*', '?']);
        let (kind, rest) = arn.resource.split_once('/').unwrap_or((&arn.resource, ""));
        match (arn.service.as_str(), kind) {
            ("iam", "root") if rest.is_empty() => Some(Self::Account { text: text.to_owned(), account: arn.account }),
            ("iam", "user" | "role") | ("sts", "assumed-role") if is_whole && !rest.is_empty() => Some(Self::Arn(text.to_owned())),
            _ => None,
        }
    }

    fn federated(text: &str) -> Option<Self> {
        let issuer = match text.parse::<Arn>() {
            Ok(arn) if arn.service == "iam" => arn.resource.strip_prefix("oidc-provider/")?.to_owned(),
            Ok(_) => return None,
            Err(_) => text.to_owned(),
        };
        let is_issuer =
            !issuer.is_empty() && !issuer.contains("://") && issuer.bytes().all(|byte| (b'!'..=b'~').contains(&byte) && byte != b'*');
        is_issuer.then(|| Self::Federated { text: text.to_owned(), issuer })
    }
}
