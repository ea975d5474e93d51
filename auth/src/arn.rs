//! Amazon resource names: `arn:partition:service:region:account:resource`.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// Bytes of a name at most.
pub const ARN_BYTES_MAX: usize = 1600;
/// Bytes of a name within a resource at most: the names of rule groups namespaces are the longest, with 721.
const NAME_BYTES_MAX: usize = 730;
/// Bytes of each of the four parts before the resource at most.
const PART_BYTES_MAX: usize = 64;

/// Where this cluster says that its resources are: what all of its names begin with.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Home {
    /// `aws`.
    pub partition: String,
    /// The configured region.
    pub region: String,
    /// Twelve digits, as AMP's clients demand.
    pub account: String,
}

impl Default for Home {
    fn default() -> Self {
        Self { partition: "aws".to_owned(), region: "local".to_owned(), account: "000000000000".to_owned() }
    }
}

impl Home {
    fn aps(&self, resource: String) -> Arn {
        let (partition, region, account) = (self.partition.clone(), self.region.clone(), self.account.clone());
        Arn { partition, service: "aps".to_owned(), region, account, resource }
    }

    fn global(&self, service: &str, resource: String) -> Arn {
        let (partition, account) = (self.partition.clone(), self.account.clone());
        Arn { partition, service: service.to_owned(), region: String::new(), account, resource }
    }

    /// A workspace's name. Names of resources may come from a request as they are: what no name holds is replaced, what is longer than
    /// any is cut, so that every name made here can be stored and read back.
    #[must_use]
    pub fn workspace(&self, id: &str) -> Arn {
        self.aps(format!("workspace/{}", shown(id)))
    }

    /// The name of a namespace of rule groups.
    #[must_use]
    pub fn rule_groups_namespace(&self, workspace: &str, name: &str) -> Arn {
        self.aps(format!("rulegroupsnamespace/{}/{}", shown(workspace), shown(name)))
    }

    /// An anomaly detector's name.
    #[must_use]
    pub fn anomaly_detector(&self, workspace: &str, id: &str) -> Arn {
        self.aps(format!("anomalydetector/{}/{}", shown(workspace), shown(id)))
    }

    /// A scraper's name.
    #[must_use]
    pub fn scraper(&self, id: &str) -> Arn {
        self.aps(format!("scraper/{}", shown(id)))
    }

    /// The account's root.
    #[must_use]
    pub fn root(&self) -> Arn {
        self.global("iam", "root".to_owned())
    }

    /// A user's name.
    #[must_use]
    pub fn user(&self, name: &str) -> Arn {
        self.global("iam", format!("user/{name}"))
    }

    /// A role's name.
    #[must_use]
    pub fn role(&self, name: &str) -> Arn {
        self.global("iam", format!("role/{name}"))
    }

    /// The name of a session of a role.
    #[must_use]
    pub fn assumed_role(&self, role: &str, session: &str) -> Arn {
        self.global("sts", format!("assumed-role/{role}/{session}"))
    }

    /// The role that an ARN names, if it is one of this account.
    #[must_use]
    pub fn role_of<'a>(&self, arn: &'a Arn) -> Option<&'a str> {
        let is_here = arn.service == "iam" && arn.partition == self.partition && arn.account == self.account && arn.region.is_empty();
        arn.resource.strip_prefix("role/").filter(|_| is_here)
    }
}

/// A part of a resource's name, of a form and length that names have; one that had another form names nothing.
fn shown(name: &str) -> String {
    let mut out = String::with_capacity(name.len().min(NAME_BYTES_MAX));
    for c in name.chars() {
        if out.len() + c.len_utf8().max(3) > NAME_BYTES_MAX {
            break;
        }
        out.push(if c.is_control() { '\u{fffd}' } else { c });
    }
    out
}

/// A resource name in its parts. It holds no control characters and no spaces but in the resource.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Arn {
    /// `aws`.
    pub partition: String,
    /// `aps`, `iam`, `sts`.
    pub service: String,
    /// Empty for `iam` and `sts`.
    pub region: String,
    /// Twelve digits.
    pub account: String,
    /// Kind and name, `workspace/ws-…`.
    pub resource: String,
}

/// A text that is not a resource name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an ARN of the form arn:partition:service:region:account:resource")]
pub struct NotArn;

impl FromStr for Arn {
    type Err = NotArn;

    fn from_str(text: &str) -> Result<Self, NotArn> {
        if text.len() > ARN_BYTES_MAX {
            return Err(NotArn);
        }
        let parts: Vec<&str> = text.splitn(6, ':').collect();
        let ["arn", partition, service, region, account, resource] = parts[..] else { return Err(NotArn) };
        let is_plain = |part: &str| part.len() <= PART_BYTES_MAX && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        let is_named = !partition.is_empty() && !service.is_empty() && !resource.is_empty();
        if !is_named || ![partition, service, region, account].into_iter().all(is_plain) || resource.chars().any(char::is_control) {
            return Err(NotArn);
        }
        let [partition, service, region, account, resource] = [partition, service, region, account, resource].map(str::to_owned);
        Ok(Self { partition, service, region, account, resource })
    }
}

impl fmt::Display for Arn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { partition, service, region, account, resource } = self;
        write!(f, "arn:{partition}:{service}:{region}:{account}:{resource}")
    }
}

impl Serialize for Arn {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Arn {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// What an action is done to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resource {
    /// Nothing that has a name: policies allow such actions on `*` only.
    Any,
    /// What the name names.
    Named(Arn),
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::Named(arn) => arn.fmt(f),
        }
    }
}

impl From<Arn> for Resource {
    fn from(arn: Arn) -> Self {
        Self::Named(arn)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_are_printed_as_amp_and_iam_print_them() {
        let home = Home { region: "eu-west-1".into(), ..Home::default() };
        for (arn, text) in [
            (home.workspace("ws-1"), "arn:aws:aps:eu-west-1:000000000000:workspace/ws-1"),
            (home.rule_groups_namespace("ws-1", "a b"), "arn:aws:aps:eu-west-1:000000000000:rulegroupsnamespace/ws-1/a b"),
            (home.scraper("s-1"), "arn:aws:aps:eu-west-1:000000000000:scraper/s-1"),
            (home.anomaly_detector("ws-1", "ad"), "arn:aws:aps:eu-west-1:000000000000:anomalydetector/ws-1/ad"),
            (home.user("u"), "arn:aws:iam::000000000000:user/u"),
            (home.role("r"), "arn:aws:iam::000000000000:role/r"),
            (home.assumed_role("r", "s"), "arn:aws:sts::000000000000:assumed-role/r/s"),
            (home.root(), "arn:aws:iam::000000000000:root"),
        ] {
            assert_eq!(arn.to_string(), text);
            assert_eq!(text.parse(), Ok(arn));
        }
        assert_eq!(home.role_of(&home.role("r")), Some("r"));
        assert_eq!(home.role_of(&home.user("r")), None);
        assert_eq!(home.role_of(&Home { account: "1".into(), ..home.clone() }.role("r")), None);
    }

    #[test]
    fn names_from_requests_make_names_that_are_read_back() {
        let home = Home::default();
        assert_eq!(home.workspace("a\nb").resource, "workspace/a\u{fffd}b");
        for id in ["x".repeat(70_000), "\u{1}".repeat(70_000), "\u{20ac}".repeat(70_000)] {
            for arn in [home.workspace(&id), home.rule_groups_namespace(&id, &id), home.anomaly_detector(&id, &id), home.scraper(&id)] {
                assert_eq!(arn.to_string().parse(), Ok(arn));
            }
        }
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for text in [
            "",
            "arn",
            "arn:aws:aps:r:0",
            "arn:aws:aps:r:0:",
            "arn::aps:r:0:x",
            "arn:aws::r:0:x",
            "arn:aws:aps:r r:0:x",
            "arn:aws:aps:*:0:x",
        ] {
            assert_eq!(text.parse::<Arn>(), Err(NotArn), "{text}");
        }
        assert_eq!("arn:aws:aps:r:0:a\nb".parse::<Arn>(), Err(NotArn));
        assert_eq!(format!("arn:aws:aps:r:0:{}", "x".repeat(ARN_BYTES_MAX)).parse::<Arn>(), Err(NotArn));
    }

    proptest! {
        #[test]
        fn what_is_read_is_printed_the_same(text in "(arn:[a-z-]{0,4}:[a-z]{0,4}:[a-z]{0,3}:[0-9]{0,3}:.{0,10}|.{0,30})") {
            if let Ok(arn) = text.parse::<Arn>() {
                prop_assert_eq!(arn.to_string(), text);
            }
        }
    }
}
