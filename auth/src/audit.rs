//! The audit record: one line of JSON for each call of the control plane and each request that was denied.
//!
//! It cannot hold a secret: it has no field for a body, a header, a query or a signature. Of what the sender wrote it holds the name of what
//! was to be changed, and the key that was claimed only if it has the form of an [`Id`], which no secret has.

use crate::action::Action;
use crate::arn::Arn;
use crate::error::{AuthError, ErrorName};
use crate::id::Id;
use crate::policy::Decision;
use crate::principal::{Credential, Principal};
use crate::{Credentials, Home};
use model::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::net::IpAddr;

/// A request's number, as `x-amzn-RequestId` tells it to the sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestId(pub [u8; 16]);

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, byte) in self.0.iter().enumerate() {
            let dash = if matches!(at, 4 | 6 | 8 | 10) { "-" } else { "" };
            write!(f, "{dash}{byte:02x}")?;
        }
        Ok(())
    }
}

impl RequestId {
    fn parse(text: &str) -> Option<Self> {
        let digits: Vec<u8> = text.bytes().filter(|byte| *byte != b'-').collect();
        let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        let bytes: Option<Vec<u8>> =
            digits.chunks(2).map(|pair| if let [high, low] = pair { Some(digit(*high)? << 4 | digit(*low)?) } else { None }).collect();
        let id = Self(bytes?.try_into().ok()?);
        (id.to_string() == text).then_some(id)
    }
}

impl Serialize for RequestId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for RequestId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).ok_or_else(|| serde::de::Error::custom("not a request id"))
    }
}

/// Who asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Who {
    /// Its name; none if nobody is known.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub principal: Option<Arn>,
    /// The key or token that was used, or only claimed where there is no principal. The root's has no id.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub access_key_id: Option<Id>,
}

impl Who {
    /// One who is known.
    #[must_use]
    pub fn known(principal: &Principal, home: &Home) -> Self {
        let access_key_id = match &principal.credential {
            Credential::RootKey => None,
            Credential::AccessKey(id) | Credential::Token(id) => Some(id.clone()),
        };
        Self { principal: Some(principal.arn(home)), access_key_id }
    }

    /// One whose credentials were not accepted, if they could be read.
    #[must_use]
    pub fn claimed(credentials: Option<&Credentials>) -> Self {
        Self { principal: None, access_key_id: credentials.and_then(Credentials::access_key_id).and_then(Id::parse) }
    }
}

/// What became of the question whether it may be served.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Judgement {
    /// Whether it was served.
    pub is_allowed: bool,
    /// The name of the error that the sender was told.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub error: Option<String>,
    /// The policy that decided.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub policy: Option<String>,
    /// The Sid of the statement that decided.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub sid: Option<String>,
}

impl From<&Decision> for Judgement {
    fn from(decision: &Decision) -> Self {
        let is_allowed = decision.is_allowed();
        let (policy, sid) = match &decision.statement {
            Some(statement) => (Some(statement.policy.clone()), statement.sid.clone()),
            None => (None, None),
        };
        let error = (!is_allowed).then(|| ErrorName::AccessDenied.as_str().to_owned());
        Self { is_allowed, error, policy, sid }
    }
}

impl From<&AuthError> for Judgement {
    fn from(error: &AuthError) -> Self {
        Self { is_allowed: false, error: Some(error.name().as_str().to_owned()), policy: None, sid: None }
    }
}

/// What a request cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Usage {
    /// Bytes of the request's body.
    pub bytes: u64,
    /// Samples written.
    pub samples: u64,
    /// Query samples processed.
    pub query_samples_processed: u64,
}

/// One record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Record {
    /// When the request came.
    #[serde(with = "time_text")]
    pub time: Timestamp,
    /// Its number.
    pub request_id: RequestId,
    /// Who asked.
    pub who: Who,
    /// Where from.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub source_ip: Option<IpAddr>,
    /// What was to be done.
    pub action: Action,
    /// To what; none where there is nothing that has a name.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub resource: Option<Arn>,
    /// Whether it might.
    pub decision: Judgement,
    /// The HTTP status of the answer.
    pub status: u16,
    /// What it cost.
    pub usage: Usage,
}

impl Record {
    /// The record as a line of JSON, without the line's end.
    ///
    /// # Panics
    /// Never: it holds nothing that JSON cannot.
    #[must_use]
    pub fn to_line(&self) -> String {
        serde_json::to_string(self).expect("audit records have only text keys")
    }
}

mod time_text {
    use model::Timestamp;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&model::time::format_time(*time))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
        model::time::parse_time(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Request;
    use crate::codec::{decode, encode};
    use crate::id::IdKind;
    use crate::principal::Identity;

    fn record(who: Who, decision: Judgement) -> Record {
        Record {
            time: 1_709_164_800_123,
            request_id: RequestId([0xab; 16]),
            who,
            source_ip: Some("10.0.0.1".parse().unwrap()),
            action: Action::DeleteWorkspace,
            resource: Some(Home::default().workspace("ws-1")),
            decision,
            status: 403,
            usage: Usage { bytes: 1, samples: 2, query_samples_processed: 3 },
        }
    }

    #[test]
    fn a_record_is_a_golden_line_and_is_read_back() {
        let id = Id::new(IdKind::User, [1; 10]);
        let principal = Principal {
            identity: Identity::User { name: "u".into(), id },
            credential: Credential::AccessKey(Id::new(IdKind::AccessKey, [2; 10])),
            session_policy: None,
            expires_ms: None,
        };
        let statement = crate::policy::StatementName { policy: "p".into(), sid: Some("s".into()) };
        let decision = Decision::denied(crate::policy::Denial::Explicit, Some(statement));
        let record = record(Who::known(&principal, &Home::default()), Judgement::from(&decision));
        let golden = concat!(
            r#"{"time":"2024-02-29T00:00:00.123Z","requestId":"abababab-abab-abab-abab-abababababab","#,
            r#""who":{"principal":"arn:aws:iam::000000000000:user/u","accessKeyId":"AKIAAIBAEAQCAIBAEAQC"},"#,
            r#""sourceIp":"10.0.0.1","action":"aps:DeleteWorkspace","resource":"arn:aws:aps:local:000000000000:workspace/ws-1","#,
            r#""decision":{"isAllowed":false,"error":"AccessDeniedException","policy":"p","sid":"s"},"status":403,"#,
            r#""usage":{"bytes":1,"samples":2,"querySamplesProcessed":3}}"#,
        );
        assert_eq!(record.to_line(), golden);
        assert_eq!(serde_json::from_str::<Record>(golden).unwrap(), record);
        assert_eq!(decode::<Record>(&encode(&record)).unwrap(), record);
        assert_eq!(encode(&record), [b"\x01", golden.as_bytes()].concat());
    }

    #[test]
    fn what_a_sender_mistakes_for_a_key_does_not_stand_in_it() {
        let line = |authorization: &str| {
            let headers: [(&str, &[u8]); 1] = [("authorization", authorization.as_bytes())];
            let request = Request { method: "GET", path: "/", query: "", authority: None, headers: &headers, body: b"", is_tls: false };
            let credentials = Credentials::parse(&request);
            record(Who::claimed(credentials.as_ref().ok()), Judgement::from(&AuthError::Unrecognized)).to_line()
        };
        let secret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
        for authorization in [
            format!("Basic {}", crate::text::base64(format!("{secret}:x").as_bytes())),
            format!("Bearer {secret}"),
            format!("AWS4-HMAC-SHA256 Credential={secret}/20150830/r/aps/aws4_request, SignedHeaders=host, Signature={}", "0".repeat(64)),
        ] {
            let line = line(&authorization);
            assert!(!line.contains(&secret[..10]), "{line}");
            assert!(line.contains(r#""who":{}"#) && line.contains("UnrecognizedClientException"), "{line}");
        }
        let id = Id::new(IdKind::AccessKey, [2; 10]);
        let basic = crate::text::base64(format!("{id}:{secret}").as_bytes());
        assert!(line(&format!("Basic {basic}")).contains(&format!(r#""who":{{"accessKeyId":"{id}"}}"#)));
    }

    #[test]
    fn request_ids_are_read_strictly() {
        let id = RequestId([0x0f; 16]);
        assert_eq!(RequestId::parse(&id.to_string()), Some(id));
        for text in ["", "0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f", "0f0f0f0f-0f0f-0f0f-0f0f-0f0f0f0f0f0", &id.to_string().to_uppercase()] {
            assert_eq!(RequestId::parse(text), None);
        }
    }
}
