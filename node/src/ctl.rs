//! `flotilla ctl`: the routes under `/cluster` for people, as tables or as JSON.

use crate::config::{CtlArgs, CtlCommand};
use crate::recover::{self, RecoverError};
use reqwest::Method;
use serde_json::Value;
use std::fmt::Write;
use std::time::Duration;

/// Time for one whole answer: a change waits for the meta group.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Why there is nothing to show.
#[derive(Debug, thiserror::Error)]
pub enum CtlError {
    /// The connection, or an answer that is no JSON.
    #[error("no answer: {0}")]
    Http(#[from] reqwest::Error),
    /// The runtime.
    #[error("cannot ask: {0}")]
    Io(#[from] std::io::Error),
    /// The recovery.
    #[error(transparent)]
    Recover(#[from] RecoverError),
    /// The cluster refuses.
    #[error("{0}")]
    Refused(String),
}

/// Asks what `args` say and gives the text to print. Blocks.
///
/// # Errors
/// See [`CtlError`].
pub fn run(args: &CtlArgs) -> Result<String, CtlError> {
    if let CtlCommand::Recover { data, key_file, accept_loss } = &args.command {
        return Ok(recover::run(data, key_file.as_deref(), *accept_loss)?);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let data = runtime.block_on(ask(args))?;
    Ok(if args.json { data.to_string() } else { show(&args.command, &data) })
}

async fn ask(args: &CtlArgs) -> Result<Value, CtlError> {
    let (method, path, query) = request(&args.command);
    let url = format!("{}/cluster/{path}", args.url.trim_end_matches('/'));
    let client = reqwest::Client::builder().timeout(TIMEOUT).no_proxy().build()?;
    let mut request = client.request(method, url).query(&query);
    if let Some((key, secret)) = args.user.as_deref().and_then(|user| user.split_once(':')) {
        request = request.basic_auth(key, Some(secret));
    }
    if let Some(token) = &args.token {
        request = request.bearer_auth(token);
    }
    let answer = request.send().await?;
    let status = answer.status();
    let text = answer.text().await?;
    let mut body: Value = serde_json::from_str(&text).unwrap_or(Value::Null);
    if status.is_success() {
        return Ok(body["data"].take());
    }
    let error = body["error"].as_str().unwrap_or(text.trim());
    Err(CtlError::Refused(if error.is_empty() { status.to_string() } else { error.to_owned() }))
}

/// Method, path below `/cluster` and parameters.
fn request(command: &CtlCommand) -> (Method, String, Vec<(&'static str, String)>) {
    let get = |path: &str| (Method::GET, path.to_owned(), Vec::new());
    match command {
        CtlCommand::Status | CtlCommand::Recover { .. } => get("status"),
        CtlCommand::Nodes => get("nodes"),
        CtlCommand::Shards => get("shards"),
        CtlCommand::Operators => get("operators"),
        CtlCommand::Drain { node, cancel } => (Method::POST, format!("nodes/{node}/drain"), vec![("cancel", cancel.to_string())]),
        CtlCommand::Remove { node } => (Method::DELETE, format!("nodes/{node}"), Vec::new()),
        CtlCommand::Move { shard, from, to } => {
            (Method::POST, format!("shards/{shard}/move"), vec![("from", from.clone()), ("to", to.clone())])
        }
        CtlCommand::Leader { shard, to } => (Method::POST, format!("shards/{shard}/leader"), vec![("to", to.clone())]),
        CtlCommand::Workspaces => get("workspaces"),
        CtlCommand::Scale { workspace, cancel: true, .. } => (Method::POST, format!("workspaces/{workspace}/scale/cancel"), Vec::new()),
        CtlCommand::Scale { workspace, shards, .. } => {
            let shards = shards.unwrap_or_default().to_string();
            (Method::POST, format!("workspaces/{workspace}/scale"), vec![("shards", shards)])
        }
        CtlCommand::Cancel { shard } => (Method::POST, format!("operators/{shard}/cancel"), Vec::new()),
    }
}

fn show(command: &CtlCommand, data: &Value) -> String {
    match command {
        CtlCommand::Status | CtlCommand::Recover { .. } => lines(data),
        CtlCommand::Nodes => {
            table(&["id", "name", "zone", "state", "level", "replicas", "groupsMax", "preferredLeader", "httpAddress", "rpcAddress"], data)
        }
        CtlCommand::Shards => {
            table(&["id", "workspace", "leader", "preferredLeader", "replicas", "version", "samplesPerSecond", "series", "change"], data)
        }
        CtlCommand::Operators => table(&["shard", "reason", "add", "remove", "began_ms", "is_cancelled"], data),
        CtlCommand::Workspaces => table(&["id", "shards", "generations", "pending", "acceptedBy"], data),
        CtlCommand::Scale { cancel: true, .. } => "undone, unless it was decided before".to_owned(),
        CtlCommand::Scale { .. } => "begun: `flotilla ctl workspaces` shows when it is decided and from when it holds".to_owned(),
        CtlCommand::Drain { cancel: false, .. } => "draining: `flotilla ctl nodes` shows when it is drained".to_owned(),
        CtlCommand::Move { .. } => "begun: `flotilla ctl operators` shows it until it is done".to_owned(),
        CtlCommand::Cancel { .. } => "it is being undone, unless it has gone through already".to_owned(),
        CtlCommand::Drain { .. } | CtlCommand::Remove { .. } | CtlCommand::Leader { .. } => "done".to_owned(),
    }
}

fn lines(data: &Value) -> String {
    let rows = data.as_object().into_iter().flatten().map(|(name, value)| [name.clone(), cell(value)]);
    aligned(&rows.map(Vec::from).collect::<Vec<_>>())
}

fn table(columns: &[&str], data: &Value) -> String {
    let mut rows = vec![columns.iter().map(|column| column.to_uppercase()).collect()];
    let cells = |row: &Value| columns.iter().map(|column| cell(&row[*column])).collect();
    rows.extend(data.as_array().into_iter().flatten().map(cells));
    aligned(&rows)
}

/// One value in a table; of replicas and changes what tells them apart.
fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) if text.is_empty() => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) if items.is_empty() => "-".to_owned(),
        Value::Array(items) => items.iter().map(cell).collect::<Vec<_>>().join(","),
        Value::Object(fields) => match (fields.get("replica"), fields.get("store"), fields.get("reason")) {
            (Some(_), Some(store), _) => {
                let mark = if fields.get("is_lost") == Some(&Value::Bool(true)) {
                    "(lost)"
                } else if fields.get("role").and_then(Value::as_str) == Some("learner") {
                    "(joining)"
                } else {
                    ""
                };
                format!("{store}{mark}")
            }
            (_, _, Some(reason)) => cell(reason),
            _ => value.to_string(),
        },
        other => other.to_string(),
    }
}

fn aligned(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut out = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            let _ = write!(line, "{cell:width$}  ");
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out.truncate(out.trim_end().len());
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn tables_show_what_tells_rows_apart() {
        let replicas = json!([
            {"replica": 1024, "store": 1, "role": "voter", "is_lost": false},
            {"replica": 1030, "store": 4, "role": "learner", "is_lost": false},
            {"replica": 1026, "store": 3, "role": "voter", "is_lost": true},
        ]);
        let change = json!({"shard": 7, "add": [1030], "remove": [1026], "reason": "lost", "began_ms": 5, "is_cancelled": false});
        let shards = json!([
            {"id": 7, "workspace": "default", "leader": 1, "preferredLeader": 1, "replicas": replicas, "version": 2, "change": change},
            {"id": 12, "workspace": "w", "leader": null, "preferredLeader": 2, "replicas": [], "version": 1, "change": null},
        ]);
        let shown = show(&CtlCommand::Shards, &shards);
        let rows: Vec<Vec<&str>> = shown.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(
            rows[0],
            ["ID", "WORKSPACE", "LEADER", "PREFERREDLEADER", "REPLICAS", "VERSION", "SAMPLESPERSECOND", "SERIES", "CHANGE"]
        );
        assert_eq!(rows[1], ["7", "default", "1", "1", "1,4(joining),3(lost)", "2", "-", "-", "lost"]);
        assert_eq!(rows[2], ["12", "w", "-", "2", "-", "1", "-", "-", "-"]);
        let places: Vec<usize> = shown.lines().map(|line| line.find(['W', 'd', 'w']).unwrap()).collect();
        assert_eq!(places, [4, 4, 4], "columns stand under one another");
    }

    #[test]
    fn requests_go_to_their_routes() {
        let moved = CtlCommand::Move { shard: 3, from: "a".into(), to: "b".into() };
        let (method, path, query) = request(&moved);
        assert_eq!((method, path.as_str()), (Method::POST, "shards/3/move"));
        assert_eq!(query, [("from", "a".to_owned()), ("to", "b".to_owned())]);
        assert_eq!(request(&CtlCommand::Remove { node: "4".into() }).0, Method::DELETE);
    }
}
