//! The configuration of a workspace: retention, windows, limits of label sets.

use super::ControlError;
use super::input::{Input, change, described};
use super::shapes::{ResourceType, active};
use crate::http::respond;
use crate::meta::service::{LabelSetLimit, ServiceCommand};
use crate::meta::state::WorkspaceRecord;
use crate::node::Node;
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;

const DAY_MS: i64 = 86_400_000;
const RETENTION_DAYS_MAX: i64 = 36_500;
/// Limits of label sets that a workspace has at most.
const LABEL_SETS_MAX: usize = 100;
const LABELS_MAX: usize = 16;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct UpdateBody {
    client_token: Option<String>,
    limits_per_label_set: Option<Vec<LabelSet>>,
    retention_period_in_days: Option<i64>,
    out_of_order_time_window_in_seconds: Option<i64>,
    rule_query_offset_in_seconds: Option<i64>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct LabelSet {
    label_set: BTreeMap<String, String>,
    limits: LabelSetLimits,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct LabelSetLimits {
    #[serde(skip_serializing_if = "Option::is_none")]
    max_series: Option<i64>,
}

/// `GET /workspaces/{id}/configuration`.
pub(super) async fn describe(node: &Node, input: &Input) -> Result<Response, ControlError> {
    let (_, workspace) = described(node, input.workspace()).await?;
    Ok(respond::json(json!({"workspaceConfiguration": description(&workspace)}).to_string().into_bytes()))
}

/// `PATCH /workspaces/{id}/configuration`: what is absent stays.
pub(super) async fn update(node: &Node, input: &Input) -> Result<Response, ControlError> {
    let body: UpdateBody = input.body()?;
    let token = body.client_token.clone();
    let command = checked(body)?;
    let id = input.workspace();
    change(node, id, command, token, (ResourceType::Workspace, id)).await?;
    Ok(respond::json_with(StatusCode::ACCEPTED, json!({"status": active()}).to_string().into_bytes()))
}

fn description(workspace: &WorkspaceRecord) -> Value {
    let limits: Vec<LabelSet> = workspace
        .service
        .label_set_limits
        .iter()
        .map(|limit| LabelSet {
            label_set: limit.label_set.clone(),
            limits: LabelSetLimits { max_series: limit.max_series.map(|most| i64::try_from(most).unwrap_or(i64::MAX)) },
        })
        .collect();
    json!({
        "status": active(),
        "limitsPerLabelSet": limits,
        "retentionPeriodInDays": (workspace.limits.retention_ms / DAY_MS).max(1),
        "outOfOrderTimeWindowInSeconds": workspace.limits.out_of_order_window_ms / 1000,
        "ruleQueryOffsetInSeconds": workspace.service.rule_query_offset_s.unwrap_or(0),
    })
}

fn checked(body: UpdateBody) -> Result<ServiceCommand, ControlError> {
    let UpdateBody {
        retention_period_in_days: days,
        out_of_order_time_window_in_seconds: window,
        rule_query_offset_in_seconds: offset,
        ..
    } = body;
    if days.is_none() && window.is_none() && offset.is_none() && body.limits_per_label_set.is_none() {
        let message = "nothing to change is given".to_owned();
        return Err(ControlError::Validation { reason: "OTHER", message, field: None });
    }
    if days.is_some_and(|days| !(1..=RETENTION_DAYS_MAX).contains(&days)) {
        return Err(ControlError::field("retentionPeriodInDays", "1 to 36500"));
    }
    if window.is_some_and(|seconds| !(0..=DAY_MS / 1000).contains(&seconds)) {
        return Err(ControlError::field("outOfOrderTimeWindowInSeconds", "0 to 86400"));
    }
    let refuse_offset = |_| ControlError::field("ruleQueryOffsetInSeconds", "0 to 4294967295");
    let rule_query_offset_s = offset.map(u32::try_from).transpose().map_err(refuse_offset)?;
    let label_set_limits = body.limits_per_label_set.map(|sets| sets.into_iter().map(label_set).collect()).transpose()?;
    if label_set_limits.as_ref().is_some_and(|sets: &Vec<LabelSetLimit>| sets.len() > LABEL_SETS_MAX) {
        return Err(ControlError::field("limitsPerLabelSet", "more than 100"));
    }
    Ok(ServiceCommand::Configure {
        retention_ms: days.map(|days| days * DAY_MS),
        out_of_order_window_ms: window.map(|seconds| seconds * 1000),
        rule_query_offset_s,
        label_set_limits,
    })
}

fn label_set(set: LabelSet) -> Result<LabelSetLimit, ControlError> {
    let refuse = |why| ControlError::field("limitsPerLabelSet", why);
    if set.label_set.len() > LABELS_MAX || set.label_set.iter().any(|(name, value)| name.is_empty() || name.len() + value.len() > 2048) {
        return Err(refuse("a label set has up to 16 labels of up to 2048 bytes"));
    }
    let max_series = match set.limits.max_series {
        None | Some(0) => None,
        Some(most) => Some(u64::try_from(most).map_err(|_| refuse("maxSeries is 0 or more"))?),
    };
    Ok(LabelSetLimit { label_set: set.label_set, max_series })
}
