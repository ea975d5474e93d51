//! What a request brings: the parts of its path, its parameters, its body; and the limits of AMP's model, which clients do not check.

use super::ControlError;
use super::shapes::ResourceType;
use crate::cluster::identity::random_hex;
use crate::cluster::operator::{newest, propose};
use crate::http::extract::{ReadLimits, read_body};
use crate::http::params::Params;
use crate::meta::service::ServiceCommand;
use crate::meta::state::{MetaState, WorkspaceRecord};
use crate::meta::{LEVEL_SERVICE, MetaCommand, MetaResponse};
use crate::node::Node;
use axum::body::Body;
use axum::http::Request;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use model::limits::{CONTROL_BODY_BYTES_MAX, REQUEST_BODY_TIMEOUT};
use serde::de::DeserializeOwned;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

const ALIAS_CHARS_MAX: usize = 100;
const TAGS_MAX: usize = 50;
const PAGE_DEFAULT: usize = 100;
const PAGE_MAX: usize = 1000;

/// A request that was read.
#[derive(Debug)]
pub(super) struct Input {
    path: HashMap<String, String>,
    params: Params,
    body: Bytes,
}

impl Input {
    pub(super) async fn read(path: &HashMap<String, String>, request: Request<Body>) -> Result<Self, ControlError> {
        let (head, body) = request.into_parts();
        let params = Params::new(head.uri.query().unwrap_or(""), None).map_err(|e| ControlError::cannot_parse(e.message))?;
        let limits = ReadLimits { bytes: CONTROL_BODY_BYTES_MAX, time: REQUEST_BODY_TIMEOUT };
        let body = read_body(&head.headers, body, limits).await.map_err(ControlError::cannot_parse)?;
        Ok(Self { path: path.clone(), params, body })
    }

    /// The workspace's id.
    pub(super) fn workspace(&self) -> &str {
        self.part("workspace")
    }

    /// A part of the path.
    pub(super) fn part(&self, name: &str) -> &str {
        self.path.get(name).map_or("", String::as_str)
    }

    /// The first value of a parameter.
    pub(super) fn param(&self, name: &str) -> Option<&str> {
        Some(self.params.get(name)).filter(|value| !value.is_empty())
    }

    /// All values of a parameter.
    pub(super) fn params(&self, name: &str) -> impl Iterator<Item = &str> {
        self.params.all(name)
    }

    /// The body; one that is not there is empty.
    pub(super) fn body<T: DeserializeOwned>(&self) -> Result<T, ControlError> {
        let bytes: &[u8] = if self.body.is_empty() { b"{}" } else { &self.body };
        serde_json::from_slice(bytes).map_err(ControlError::cannot_parse)
    }

    /// How many results a page has.
    pub(super) fn page(&self) -> Result<usize, ControlError> {
        let Some(text) = self.param("maxResults") else { return Ok(PAGE_DEFAULT) };
        let page = text.parse().ok().filter(|n| (1..=PAGE_MAX).contains(n));
        page.ok_or_else(|| ControlError::field("maxResults", "1 to 1000"))
    }
}

/// What was decided before the call, and the workspace in it.
pub(super) async fn described(node: &Node, id: &str) -> Result<(Arc<MetaState>, WorkspaceRecord), ControlError> {
    let meta = newest(node).await?;
    let workspace = meta.workspaces.get(id).cloned().ok_or_else(|| ControlError::no_workspace(id))?;
    Ok((meta, workspace))
}

/// Has the meta group change what a workspace's users set, and answers the workspace as it is then; `what` and `name` say what a refusal is about.
pub(super) async fn change(
    node: &Node,
    id: &str,
    command: ServiceCommand,
    token: Option<String>,
    (kind, name): (ResourceType, &str),
) -> Result<WorkspaceRecord, ControlError> {
    check_token(token.as_deref())?;
    if node.meta.get().level < LEVEL_SERVICE {
        return Err(ControlError::Unavailable("some nodes of the cluster have a binary that cannot do this yet".to_owned()));
    }
    // A command whose outcome is unknown is repeated, and must not be refused then because it has been done.
    let token = format!("{}/{}", kind.name(), token.unwrap_or_else(random_hex));
    let now_ms = node.time.now().map_err(|e| ControlError::Unavailable(e.to_string()))?;
    match propose(node, MetaCommand::Serve { id: id.to_owned(), command, token: Some(token), now_ms }).await? {
        MetaResponse::Workspace { workspace } => Ok(*workspace),
        MetaResponse::NotFound { id } => Err(ControlError::no_workspace(&id)),
        MetaResponse::Missing { .. } => Err(ControlError::NotFound { id: name.to_owned(), kind }),
        MetaResponse::Conflict { reason, .. } => Err(ControlError::Conflict { id: name.to_owned(), kind, message: reason }),
        MetaResponse::Full { reason, .. } => Err(ControlError::Quota { id: name.to_owned(), kind, message: reason }),
        other => Err(ControlError::Unavailable(format!("unexpected answer {other:?}"))),
    }
}

pub(super) fn check_token(token: Option<&str>) -> Result<(), ControlError> {
    let is_valid = |token: &str| (1..=64).contains(&token.len()) && token.bytes().all(|b| b.is_ascii_graphic());
    if token.is_none_or(is_valid) { Ok(()) } else { Err(ControlError::field("clientToken", "1 to 64 printable characters")) }
}

/// An alias as it is kept; empty is none.
pub(super) fn alias(given: Option<String>) -> Result<Option<String>, ControlError> {
    let alias = given.map(|alias| alias.trim().to_owned()).filter(|alias| !alias.is_empty());
    if alias.as_ref().is_some_and(|alias| alias.chars().count() > ALIAS_CHARS_MAX) {
        return Err(ControlError::field("alias", "longer than 100 characters"));
    }
    Ok(alias)
}

pub(super) fn check_tags(tags: &BTreeMap<String, String>) -> Result<(), ControlError> {
    if tags.len() > TAGS_MAX {
        return Err(ControlError::field("tags", "more than 50"));
    }
    let is_valid = |(key, value): (&String, &String)| {
        (1..=128).contains(&key.chars().count()) && value.chars().count() <= 256 && !key.starts_with("aws:")
    };
    if tags.iter().all(is_valid) {
        return Ok(());
    }
    Err(ControlError::field("tags", "keys have 1 to 128 characters and do not begin with aws:, values have up to 256"))
}

/// The bytes of a definition, checked to be YAML, and their base64 as it is kept.
pub(super) fn definition(data: &str, bytes_max: usize) -> Result<String, ControlError> {
    let bytes = STANDARD.decode(data).map_err(|e| ControlError::field("data", &e.to_string()))?;
    if bytes.is_empty() || bytes.len() > bytes_max {
        return Err(ControlError::field("data", &format!("1 to {bytes_max} bytes")));
    }
    let text = std::str::from_utf8(&bytes).map_err(|e| ControlError::field("data", &e.to_string()))?;
    let parsed: serde_json::Value = serde_saphyr::from_str(text).map_err(|e| ControlError::field("data", &format!("not YAML: {e}")))?;
    if !parsed.is_object() {
        return Err(ControlError::field("data", "not a YAML mapping"));
    }
    Ok(data.to_owned())
}
