//! Users, groups, roles, policies, keys and tokens over HTTP: `POST /access/{command}` with the fields of a
//! [`Command`] as JSON, `GET /access` for everything but secrets. A secret is shown once, in the answer to the command that made it.

use super::secrets;
use crate::cluster::operator::{MetaError, propose};
use crate::http::error::{ApiError, ErrorType};
use crate::http::extract::{ReadLimits, read_body};
use crate::http::respond;
use crate::meta::{LEVEL_SERVICE, MetaCommand, MetaResponse};
use crate::node::Node;
use auth::Secret;
use auth::directory::{Command, Fact, Outcome};
use auth::id::{Id, IdKind};
use auth::token::ApiToken;
use axum::body::Body;
use axum::http::Request;
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rand::RngExt;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Seconds that a role's sessions last at most unless it is said.
const SESSION_MAX_S: u32 = 3600;
/// Bytes of a secret before base64: forty characters of it, as AWS's have.
const SECRET_BYTES: usize = 30;

/// A command, and what is shown of what it makes.
struct Made {
    command: Command,
    shown: Value,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewUser {
    name: String,
    #[serde(default)]
    tags: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewKey {
    user: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewToken {
    user: String,
    #[serde(default)]
    description: String,
    policy: Option<String>,
    /// Seconds from now.
    expires_s: Option<u32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewRole {
    name: String,
    trust: String,
    session_max_s: Option<u32>,
    #[serde(default)]
    tags: BTreeMap<String, String>,
}

/// `POST /access/{command}`.
///
/// # Errors
/// 400 for what is no command, 404 and 409 as its names do or do not exist.
pub async fn change(node: &Node, kind: &str, request: Request<Body>) -> Result<Response, ApiError> {
    let (head, body) = request.into_parts();
    let bytes = read_body(&head.headers, body, ReadLimits::FORM).await.map_err(ApiError::bad_data)?;
    let fields: Map<String, Value> =
        if bytes.is_empty() { Map::new() } else { serde_json::from_slice(&bytes).map_err(ApiError::bad_data)? };
    let unavailable = |reason: String| ApiError::new(ErrorType::Unavailable, reason);
    if node.meta.get().level < LEVEL_SERVICE {
        return Err(unavailable("some nodes of the cluster have a binary that cannot do this yet".to_owned()));
    }
    let now_ms = node.time.now().map_err(|e| unavailable(e.to_string()))?;
    let Made { command, shown } = made(node, kind, fields, now_ms)?;
    let answer = propose(node, MetaCommand::Access { command }).await.map_err(|e: MetaError| unavailable(e.to_string()))?;
    match answer {
        MetaResponse::Access { outcome } => {
            let mut body = json!({"status": "success", "changed": outcome == Outcome::Changed});
            if outcome == Outcome::Changed {
                body["data"] = shown;
            }
            Ok(respond::json(body.to_string().into_bytes()))
        }
        MetaResponse::AccessRefused { fact } => Err(refused(&fact)),
        other => Err(unavailable(format!("unexpected answer {other:?}"))),
    }
}

/// `GET /access`: the directory without secrets.
#[must_use]
pub fn show(node: &Node) -> Response {
    let meta = node.meta.get();
    let mut directory = serde_json::to_value(&meta.directory).unwrap_or_default();
    for (records, member) in [("keys", "sealed"), ("tokens", "hash")] {
        for record in directory[records].as_object_mut().into_iter().flat_map(Map::values_mut) {
            record.as_object_mut().map(|record| record.remove(member));
        }
    }
    directory["session_keys"] = json!(meta.directory.session_keys.keys().collect::<Vec<_>>());
    respond::json(json!({"status": "success", "data": directory}).to_string().into_bytes())
}

fn refused(fact: &Fact) -> ApiError {
    let kind = match fact {
        Fact::NotFound { .. } => ErrorType::NotFound,
        _ => ErrorType::BadData,
    };
    ApiError::new(kind, fact.to_string())
}

fn made(node: &Node, kind: &str, mut fields: Map<String, Value>, now_ms: i64) -> Result<Made, ApiError> {
    let plain = |command| Made { command, shown: Value::Null };
    Ok(match kind {
        "create-user" => {
            let NewUser { name, tags } = read(fields)?;
            let id = new_id(IdKind::User);
            plain(Command::CreateUser { name, id, tags, now_ms })
        }
        "create-access-key" => {
            let NewKey { user } = read(fields)?;
            let (id, secret) = (new_id(IdKind::AccessKey), STANDARD.encode(rand::rng().random::<[u8; SECRET_BYTES]>()));
            let shown = json!({"accessKeyId": id.as_str(), "secretAccessKey": secret});
            let sealed = secrets::seal(&node.keys, &id, &Secret::from(secret.as_str()));
            Made { command: Command::CreateAccessKey { user, id, sealed, now_ms }, shown }
        }
        "create-token" => {
            let NewToken { user, description, policy, expires_s } = read(fields)?;
            let token = ApiToken::new(new_id(IdKind::Token), rand::rng().random());
            let shown = json!({"id": token.id.as_str(), "token": String::from_utf8_lossy(token.expose().expose())});
            let (id, hash) = (token.id.clone(), token.hash());
            let expires_ms = expires_s.map(|seconds| now_ms + i64::from(seconds) * 1000);
            Made { command: Command::CreateToken { user, id, hash, description, policy, expires_ms, now_ms }, shown }
        }
        "create-role" => {
            let NewRole { name, trust, session_max_s, tags } = read(fields)?;
            let (id, session_max_s) = (new_id(IdKind::Role), session_max_s.unwrap_or(SESSION_MAX_S));
            plain(Command::CreateRole { name, id, trust, session_max_s, tags, now_ms })
        }
        "rotate-session-key" => plain(session_key(node)),
        // Ids and secrets are made here alone.
        "add-session-key" => return Err(ApiError::bad_data("no such command")),
        kind => {
            if kind == "create-group" {
                fields.insert("now_ms".to_owned(), json!(now_ms));
            }
            fields.insert("kind".to_owned(), json!(kind.replace('-', "_")));
            plain(read(fields)?)
        }
    })
}

/// A new key of session tokens, above those that are known.
#[must_use]
pub fn session_key(node: &Node) -> Command {
    let id = node.meta.get().directory.session_keys.keys().last().map_or(1, |last| last + 1);
    let key = Secret::new(rand::rng().random::<[u8; 32]>().to_vec());
    Command::AddSessionKey { id, sealed: secrets::seal_session(&node.keys, id, &key) }
}

fn read<T: DeserializeOwned>(fields: Map<String, Value>) -> Result<T, ApiError> {
    serde_json::from_value(Value::Object(fields)).map_err(ApiError::bad_data)
}

fn new_id(kind: IdKind) -> Id {
    Id::new(kind, rand::rng().random())
}
