//! Where the logs of a workspace go: of rules and alert manager, and of expensive queries. A log group's ARN is but a name here.

use super::ControlError;
use super::input::{Input, change, described};
use super::shapes::{ResourceType, active, time};
use crate::http::respond;
use crate::meta::service::ServiceCommand;
use crate::node::Node;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use serde_json::json;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct LoggingBody {
    log_group_arn: String,
    client_token: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct QueryLoggingBody {
    destinations: Vec<Destination>,
    client_token: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Destination {
    cloud_watch_logs: LogGroup,
    filters: Filters,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct LogGroup {
    log_group_arn: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Filters {
    qsp_threshold: i64,
}

const fn kind(is_query: bool) -> ResourceType {
    if is_query { ResourceType::QueryLoggingConfiguration } else { ResourceType::LoggingConfiguration }
}

/// `POST` and `PUT /workspaces/{id}/logging`.
pub(super) async fn set(node: &Node, input: &Input, is_new: bool) -> Result<Response, ControlError> {
    let body: LoggingBody = input.body()?;
    check_group(&body.log_group_arn)?;
    let command = ServiceCommand::PutLogging { is_query: false, log_group_arn: body.log_group_arn, threshold: 0, is_new };
    put(node, input, command, body.client_token, false).await
}

/// `POST` and `PUT /workspaces/{id}/logging/query`.
pub(super) async fn set_query(node: &Node, input: &Input, is_new: bool) -> Result<Response, ControlError> {
    let body: QueryLoggingBody = input.body()?;
    let [Destination { cloud_watch_logs, filters }] = body.destinations.as_slice() else {
        return Err(ControlError::field("destinations", "exactly one"));
    };
    check_group(&cloud_watch_logs.log_group_arn)?;
    let refuse = |_| ControlError::field("destinations", "qspThreshold is 0 or more");
    let threshold = u64::try_from(filters.qsp_threshold).map_err(refuse)?;
    let log_group_arn = cloud_watch_logs.log_group_arn.clone();
    put(node, input, ServiceCommand::PutLogging { is_query: true, log_group_arn, threshold, is_new }, body.client_token, true).await
}

async fn put(node: &Node, input: &Input, command: ServiceCommand, token: Option<String>, is_query: bool) -> Result<Response, ControlError> {
    let id = input.workspace();
    change(node, id, command, token, (kind(is_query), id)).await?;
    Ok(respond::json_with(StatusCode::ACCEPTED, json!({"status": active()}).to_string().into_bytes()))
}

/// `GET /workspaces/{id}/logging`.
pub(super) async fn describe(node: &Node, input: &Input) -> Result<Response, ControlError> {
    let id = input.workspace();
    let (_, workspace) = described(node, id).await?;
    let known = workspace.service.logging.ok_or_else(|| ControlError::NotFound { id: id.to_owned(), kind: kind(false) })?;
    let body = json!({
        "status": active(),
        "workspace": id,
        "logGroupArn": known.log_group_arn,
        "createdAt": time(known.created_ms),
        "modifiedAt": time(known.modified_ms),
    });
    Ok(respond::json(json!({"loggingConfiguration": body}).to_string().into_bytes()))
}

/// `GET /workspaces/{id}/logging/query`.
pub(super) async fn describe_query(node: &Node, input: &Input) -> Result<Response, ControlError> {
    let id = input.workspace();
    let (_, workspace) = described(node, id).await?;
    let known = workspace.service.query_logging.ok_or_else(|| ControlError::NotFound { id: id.to_owned(), kind: kind(true) })?;
    let destination = json!({"cloudWatchLogs": {"logGroupArn": known.log_group_arn}, "filters": {"qspThreshold": known.threshold}});
    let body = json!({
        "status": active(),
        "workspace": id,
        "destinations": [destination],
        "createdAt": time(known.created_ms),
        "modifiedAt": time(known.modified_ms),
    });
    Ok(respond::json(json!({"queryLoggingConfiguration": body}).to_string().into_bytes()))
}

/// `DELETE` of either.
pub(super) async fn delete(node: &Node, input: &Input, is_query: bool) -> Result<Response, ControlError> {
    let id = input.workspace();
    let token = input.param("clientToken").map(str::to_owned);
    change(node, id, ServiceCommand::DeleteLogging { is_query }, token, (kind(is_query), id)).await?;
    Ok(respond::json_with(StatusCode::ACCEPTED, Vec::new()))
}

/// `arn:aws:logs:REGION:ACCOUNT:log-group:NAME:*`.
fn check_group(arn: &str) -> Result<(), ControlError> {
    let parts: Vec<&str> = arn.split(':').collect();
    let is_name = |text: &str| (1..=512).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b".-_#/".contains(&b));
    let is_region = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    let is_account = |text: &str| text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit());
    let is_valid = matches!(parts.as_slice(), ["arn", partition, "logs", region, account, "log-group", name, "*"]
        if partition.starts_with("aws") && is_region(region) && is_account(account) && is_name(name));
    if is_valid { Ok(()) } else { Err(ControlError::field("logGroupArn", "not the name of a log group, ending in :*")) }
}
