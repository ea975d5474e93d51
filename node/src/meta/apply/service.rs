//! What the users of a workspace set beside its data.

use crate::meta::service::{DOCUMENT_BYTES_MAX, Definition, LoggingRecord, NO_POLICY, PolicyRecord, ServiceCommand};
use crate::meta::state::{AnsweredRecord, WorkspaceRecord};
use crate::meta::{MetaResponse, MetaState};
use std::collections::BTreeMap;
use xxhash_rust::xxh3::xxh3_64;

/// How long a client token is remembered.
const TOKEN_MS: i64 = 24 * 3_600_000;
/// Client tokens that are remembered; the oldest go first.
const TOKENS_MAX: usize = 4096;
/// Tags of a workspace or a namespace.
const TAGS_MAX: usize = 50;

/// Why nothing changed.
enum Refusal {
    NotFound(&'static str),
    Exists(&'static str),
    Stale,
    TooManyTags,
}

impl MetaState {
    /// Changes what a workspace's users set. A repeated `token` changes nothing more and is answered as the first time.
    pub(super) fn serve(&mut self, id: String, command: ServiceCommand, token: Option<String>, now_ms: i64) -> MetaResponse {
        let Some(known) = self.workspaces.get(&id) else { return MetaResponse::NotFound { id } };
        self.answered.retain(|_, answered| answered.created_ms > now_ms.saturating_sub(TOKEN_MS));
        let digest = serde_json::to_vec(&(&id, &command)).map_or(0, |bytes| xxh3_64(&bytes));
        if let Some(answered) = token.as_ref().and_then(|token| self.answered.get(token)) {
            return if answered.digest == digest {
                MetaResponse::Workspace { workspace: Box::new(known.clone()) }
            } else {
                MetaResponse::Conflict { id, reason: "the client token was used for another request".to_owned() }
            };
        }
        let mut changed = known.clone();
        if let Err(refusal) = change(&mut changed, command, now_ms, self.revision + 1) {
            return answer(id, &refusal);
        }
        let others = self.workspaces.values().filter(|workspace| workspace.id != id);
        let documents = others.map(|workspace| workspace.service.document_bytes()).sum::<usize>();
        let grows = changed.service.document_bytes() > known.service.document_bytes();
        if grows && documents + changed.service.document_bytes() > DOCUMENT_BYTES_MAX {
            let reason = format!("the definitions of all workspaces would take more than {DOCUMENT_BYTES_MAX} bytes");
            return MetaResponse::Full { id, reason };
        }
        if let Some(token) = token {
            self.remember(token, AnsweredRecord { digest, created_ms: now_ms });
        }
        self.workspaces.insert(id, changed.clone());
        self.revision += 1;
        MetaResponse::Workspace { workspace: Box::new(changed) }
    }

    fn remember(&mut self, token: String, answered: AnsweredRecord) {
        if self.answered.len() >= TOKENS_MAX {
            let oldest = self.answered.iter().min_by_key(|(token, answered)| (answered.created_ms, (*token).clone()));
            if let Some(oldest) = oldest.map(|(token, _)| token.clone()) {
                self.answered.remove(&oldest);
            }
        }
        self.answered.insert(token, answered);
    }
}

fn answer(id: String, refusal: &Refusal) -> MetaResponse {
    match refusal {
        Refusal::NotFound(what) => MetaResponse::Missing { id, what: (*what).to_owned() },
        Refusal::Exists(what) => MetaResponse::Conflict { id, reason: format!("the {what} exists") },
        Refusal::Stale => MetaResponse::Conflict { id, reason: "the resource policy has another revision".to_owned() },
        Refusal::TooManyTags => MetaResponse::Full { id, reason: format!("more than {TAGS_MAX} tags") },
    }
}

const NAMESPACE: &str = "rule groups namespace";
const ALERT_MANAGER: &str = "alert manager definition";

fn change(workspace: &mut WorkspaceRecord, command: ServiceCommand, now_ms: i64, revision: u64) -> Result<(), Refusal> {
    match command {
        ServiceCommand::SetAlias { alias } => workspace.alias = alias,
        ServiceCommand::Tag { namespace, tags } => {
            let known = tags_of(workspace, namespace)?;
            known.extend(tags);
            if known.len() > TAGS_MAX {
                return Err(Refusal::TooManyTags);
            }
        }
        ServiceCommand::Untag { namespace, keys } => {
            let known = tags_of(workspace, namespace)?;
            keys.iter().for_each(|key| drop(known.remove(key)));
        }
        configure @ ServiceCommand::Configure { .. } => self::configure(workspace, configure),
        ServiceCommand::PutPolicy { document, expected } => {
            check_policy(workspace, expected)?;
            workspace.service.policy = Some(PolicyRecord { document, revision: format!("{revision:016x}") });
        }
        ServiceCommand::DeletePolicy { expected } => {
            if workspace.service.policy.is_none() {
                return Err(Refusal::NotFound("resource policy"));
            }
            check_policy(workspace, expected)?;
            workspace.service.policy = None;
        }
        ServiceCommand::PutDefinition { namespace, data, is_new, tags } => {
            put_definition(workspace, namespace, (data, tags), is_new, now_ms)?
        }
        ServiceCommand::DeleteDefinition { namespace: Some(name) } => {
            workspace.service.rules.remove(&name).ok_or(Refusal::NotFound(NAMESPACE))?;
        }
        ServiceCommand::DeleteDefinition { namespace: None } => {
            workspace.service.alert_manager.take().ok_or(Refusal::NotFound(ALERT_MANAGER))?;
        }
        ServiceCommand::PutLogging { is_query, log_group_arn, threshold, is_new } => {
            let (place, what) = logging_of(workspace, is_query);
            let created_ms = match (&*place, is_new) {
                (Some(_), true) => return Err(Refusal::Exists(what)),
                (None, false) => return Err(Refusal::NotFound(what)),
                (known, _) => known.as_ref().map_or(now_ms, |known| known.created_ms),
            };
            *place = Some(LoggingRecord { log_group_arn, threshold, created_ms, modified_ms: now_ms });
        }
        ServiceCommand::DeleteLogging { is_query } => {
            let (place, what) = logging_of(workspace, is_query);
            place.take().ok_or(Refusal::NotFound(what))?;
        }
    }
    Ok(())
}

fn configure(workspace: &mut WorkspaceRecord, command: ServiceCommand) {
    let ServiceCommand::Configure { retention_ms, out_of_order_window_ms, rule_query_offset_s, label_set_limits } = command else { return };
    let before = workspace.limits;
    workspace.limits.retention_ms = retention_ms.unwrap_or(before.retention_ms);
    workspace.limits.out_of_order_window_ms = out_of_order_window_ms.unwrap_or(before.out_of_order_window_ms);
    if workspace.limits != before {
        workspace.limits.version += 1;
    }
    let service = &mut workspace.service;
    service.is_configured = true;
    service.rule_query_offset_s = rule_query_offset_s.or(service.rule_query_offset_s);
    if let Some(limits) = label_set_limits {
        service.label_set_limits = limits;
    }
}

fn tags_of(workspace: &mut WorkspaceRecord, namespace: Option<String>) -> Result<&mut BTreeMap<String, String>, Refusal> {
    match namespace {
        None => Ok(&mut workspace.tags),
        Some(name) => workspace.service.rules.get_mut(&name).map(|rules| &mut rules.tags).ok_or(Refusal::NotFound(NAMESPACE)),
    }
}

fn logging_of(workspace: &mut WorkspaceRecord, is_query: bool) -> (&mut Option<LoggingRecord>, &'static str) {
    if is_query {
        (&mut workspace.service.query_logging, "query logging configuration")
    } else {
        (&mut workspace.service.logging, "logging configuration")
    }
}

fn check_policy(workspace: &WorkspaceRecord, expected: Option<String>) -> Result<(), Refusal> {
    let known = workspace.service.policy.as_ref().map_or(NO_POLICY, |policy| policy.revision.as_str());
    if expected.is_none_or(|expected| expected == known) { Ok(()) } else { Err(Refusal::Stale) }
}

fn put_definition(
    workspace: &mut WorkspaceRecord,
    namespace: Option<String>,
    (data, tags): (String, BTreeMap<String, String>),
    is_new: bool,
    now_ms: i64,
) -> Result<(), Refusal> {
    let service = &mut workspace.service;
    let (known, what) = match &namespace {
        Some(name) => (service.rules.get(name), NAMESPACE),
        None => (service.alert_manager.as_ref(), ALERT_MANAGER),
    };
    let definition = match (known, is_new) {
        (Some(_), true) => return Err(Refusal::Exists(what)),
        (None, false) => return Err(Refusal::NotFound(what)),
        (None, true) => Definition { data, version: 1, created_ms: now_ms, modified_ms: now_ms, tags },
        (Some(known), false) => Definition { data, version: known.version + 1, modified_ms: now_ms, ..known.clone() },
    };
    match namespace {
        Some(name) => drop(service.rules.insert(name, definition)),
        None => service.alert_manager = Some(definition),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meta::command::{decode, encode};
    use crate::meta::testing;

    const W: &str = "w";

    fn state() -> MetaState {
        let mut state = testing::founded(&["", "", ""]);
        testing::workspace(&mut state, W, 1);
        state
    }

    fn put(name: &str, data: &str, is_new: bool) -> ServiceCommand {
        ServiceCommand::PutDefinition { namespace: Some(name.to_owned()), data: data.to_owned(), is_new, tags: BTreeMap::new() }
    }

    fn serve(state: &mut MetaState, command: ServiceCommand, token: &str, now_ms: i64) -> MetaResponse {
        state.serve(W.to_owned(), command, Some(token.to_owned()), now_ms)
    }

    #[test]
    fn a_repeated_token_changes_nothing_more_and_a_reused_one_is_refused_for_a_day() {
        let mut state = state();
        assert!(matches!(serve(&mut state, put("a", "x", true), "t1", 1), MetaResponse::Workspace { .. }));
        let before = state.clone();
        assert!(matches!(serve(&mut state, put("a", "x", true), "t1", 2), MetaResponse::Workspace { .. }), "as the first time");
        assert_eq!(state, before);
        assert!(matches!(serve(&mut state, put("a", "y", true), "t1", 3), MetaResponse::Conflict { .. }));
        assert!(matches!(serve(&mut state, put("a", "x", true), "t2", 4), MetaResponse::Conflict { .. }), "it exists");
        assert_eq!(state, before);
        assert!(
            matches!(serve(&mut state, put("a", "y", false), "t1", 1 + TOKEN_MS), MetaResponse::Workspace { .. }),
            "forgotten after a day"
        );
        let known = &state.workspaces[W].service.rules["a"];
        assert_eq!((known.version, known.created_ms, known.modified_ms), (2, 1, 1 + TOKEN_MS));
        for n in 0..TOKENS_MAX + 10 {
            serve(&mut state, put("a", &n.to_string(), false), &format!("n{n}"), 2 + TOKEN_MS);
        }
        assert_eq!(state.answered.len(), TOKENS_MAX, "memory is bounded");
        assert_eq!(decode::<MetaState>(&encode(&state)).unwrap(), state);
    }

    #[test]
    fn a_policy_is_replaced_only_by_whoever_knows_its_revision() {
        let mut state = state();
        let put = |expected: Option<&str>| ServiceCommand::PutPolicy { document: "{}".into(), expected: expected.map(str::to_owned) };
        assert!(matches!(serve(&mut state, put(Some("other")), "1", 1), MetaResponse::Conflict { .. }));
        serve(&mut state, put(Some(NO_POLICY)), "2", 1);
        let first = state.workspaces[W].service.policy.clone().unwrap().revision;
        assert!(matches!(serve(&mut state, put(Some(NO_POLICY)), "3", 1), MetaResponse::Conflict { .. }));
        serve(&mut state, put(Some(&first)), "4", 1);
        let second = state.workspaces[W].service.policy.clone().unwrap().revision;
        assert_ne!(first, second);
        let delete = |expected: &str| ServiceCommand::DeletePolicy { expected: Some(expected.to_owned()) };
        assert!(matches!(serve(&mut state, delete(&first), "5", 1), MetaResponse::Conflict { .. }));
        serve(&mut state, delete(&second), "6", 1);
        assert!(matches!(serve(&mut state, ServiceCommand::DeletePolicy { expected: None }, "7", 1), MetaResponse::Missing { .. }));
        assert!(state.workspaces[W].service.is_empty());
    }

    #[test]
    fn documents_of_all_workspaces_are_bounded_and_what_shrinks_them_passes() {
        let mut state = state();
        let large = "x".repeat(DOCUMENT_BYTES_MAX / 4);
        for n in 0..4 {
            assert!(matches!(serve(&mut state, put(&n.to_string(), &large, true), &n.to_string(), 1), MetaResponse::Workspace { .. }));
        }
        assert!(matches!(serve(&mut state, put("5", "x", true), "5", 1), MetaResponse::Full { .. }));
        assert!(matches!(serve(&mut state, put("0", "x", false), "6", 1), MetaResponse::Workspace { .. }));
        assert!(matches!(serve(&mut state, put("5", "x", true), "7", 1), MetaResponse::Workspace { .. }));
    }

    #[test]
    fn what_nobody_set_is_not_stored_so_that_older_binaries_can_read_it() {
        let text = String::from_utf8_lossy(&encode(&state())).into_owned();
        assert!(!text.contains("service") && !text.contains("answered"), "{text}");
    }
}
