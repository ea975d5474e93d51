//! Answers of STS, as XML.

use super::StsError;
use super::grant::Granted;
use crate::arn::{Arn, Home};
use crate::audit::RequestId;
use model::Timestamp;
use std::fmt::Write;

const NAMESPACE: &str = "https://sts.amazonaws.com/doc/2011-06-15/";

/// An answer.
#[derive(Clone, Debug)]
pub enum Reply {
    /// A session for a web identity.
    AssumeRoleWithWebIdentity {
        /// The session.
        granted: Granted,
        /// Whom the token vouches for.
        subject: String,
        /// The audience that was accepted.
        audience: String,
        /// The issuer.
        provider: String,
    },
    /// A session for a principal.
    AssumeRole {
        /// The session.
        granted: Granted,
    },
    /// Who asks.
    GetCallerIdentity {
        /// Its name.
        arn: Arn,
        /// Its id.
        user_id: String,
        /// Its account.
        account: String,
    },
}

impl Reply {
    /// The answer's body, `text/xml`. It holds secrets: it must not be logged.
    #[must_use]
    pub fn to_xml(&self, home: &Home, request: RequestId) -> String {
        let (name, result) = match self {
            Self::AssumeRoleWithWebIdentity { granted, subject, audience, provider } => {
                let mut result = String::new();
                push(&mut result, "SubjectFromWebIdentityToken", subject);
                push(&mut result, "Audience", audience);
                granted.push(&mut result, home);
                push(&mut result, "Provider", provider);
                ("AssumeRoleWithWebIdentity", result)
            }
            Self::AssumeRole { granted } => {
                let mut result = String::new();
                granted.push(&mut result, home);
                ("AssumeRole", result)
            }
            Self::GetCallerIdentity { arn, user_id, account } => {
                let mut result = String::new();
                push(&mut result, "Arn", &arn.to_string());
                push(&mut result, "UserId", user_id);
                push(&mut result, "Account", account);
                ("GetCallerIdentity", result)
            }
        };
        format!(
            "<{name}Response xmlns=\"{NAMESPACE}\"><{name}Result>{result}</{name}Result>\
             <ResponseMetadata><RequestId>{request}</RequestId></ResponseMetadata></{name}Response>"
        )
    }
}

impl Granted {
    fn push(&self, out: &mut String, home: &Home) {
        let session = &self.session;
        out.push_str("<AssumedRoleUser>");
        push(out, "Arn", &home.assumed_role(&session.role, &session.name).to_string());
        push(out, "AssumedRoleId", &format!("{}:{}", session.role_id, session.name));
        out.push_str("</AssumedRoleUser><Credentials>");
        push(out, "AccessKeyId", session.access_key_id.as_str());
        push(out, "SecretAccessKey", &String::from_utf8_lossy(session.secret.expose()));
        push(out, "SessionToken", &String::from_utf8_lossy(self.token.expose()));
        push(out, "Expiration", &seconds(session.expires_ms));
        out.push_str("</Credentials>");
    }
}

/// A time with whole seconds.
fn seconds(ms: Timestamp) -> String {
    let text = model::time::format_time(ms);
    text.split_once('.').map_or(text.clone(), |(seconds, _)| format!("{seconds}Z"))
}

/// The body of an error, `text/xml`.
#[must_use]
pub fn error_xml(error: &StsError, request: RequestId) -> String {
    let kind = if error.status() < 500 { "Sender" } else { "Receiver" };
    let mut out = format!("<ErrorResponse xmlns=\"{NAMESPACE}\"><Error>");
    push(&mut out, "Type", kind);
    push(&mut out, "Code", error.code());
    push(&mut out, "Message", &error.to_string());
    let _ = write!(out, "</Error><RequestId>{request}</RequestId></ErrorResponse>");
    out
}

fn push(out: &mut String, name: &str, text: &str) {
    let _ = write!(out, "<{name}>");
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&apos;"),
            '\t' | '\n' => out.push(c),
            // A line's end would be made another one by whoever reads it.
            '\r' => out.push_str("&#13;"),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    let _ = write!(out, "</{name}>");
}
