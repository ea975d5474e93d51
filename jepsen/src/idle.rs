//! What many workspaces cost while nobody uses them: processor time and memory of each node.

use crate::client::Client;
use crate::cluster::{Cluster, Setup};
use crate::procfs::{Usage, usage};
use crate::run::{self, RunError};
use reqwest::Method;
use serde_json::json;
use std::fmt::Write;
use std::time::Duration;
use tokio::time::Instant;

const CREATE_MAX: Duration = Duration::from_secs(30);
const RETRY: Duration = Duration::from_millis(200);
const WHOLE_MAX: Duration = Duration::from_secs(600);
const POLL: Duration = Duration::from_secs(1);
/// From the moment that every group is led until the measurement: what the making of workspaces left to do is done by then.
const SETTLE: Duration = Duration::from_secs(30);

/// What to measure.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Nodes, binary, where everything goes, and further flags.
    pub setup: Setup,
    /// Workspaces made beside those that every cluster has.
    pub workspaces: u32,
    /// How long idleness is measured.
    pub time: Duration,
}

/// Makes the workspaces, waits until all groups are led, and measures; the figures in words.
///
/// # Errors
/// If the cluster does not come up or does not take the workspaces.
pub async fn idle(plan: &Plan) -> Result<String, RunError> {
    let cluster = run::local(plan.setup.clone()).await?;
    let addresses: Vec<String> = cluster.specs().iter().map(|s| s.http.to_string()).collect();
    let client = Client::new(&addresses)?;
    let without = measured(&cluster).await?;
    let began = Instant::now();
    for number in 0..plan.workspaces {
        create(&client, number).await?;
    }
    let made = began.elapsed();
    let groups = until_led(&client).await?;
    let led = began.elapsed();
    tokio::time::sleep(SETTLE).await;
    let (before, measured_from) = (measured(&cluster).await?, Instant::now());
    tokio::time::sleep(plan.time).await;
    let (after, elapsed) = (measured(&cluster).await?, measured_from.elapsed());
    cluster.stop_all().await;
    let mut text = format!(
        "{} workspaces made in {:.1} s, all of {groups} groups led after {:.1} s; idle for {:.0} s\n",
        plan.workspaces,
        made.as_secs_f64(),
        led.as_secs_f64(),
        elapsed.as_secs_f64()
    );
    for (node, ((without, before), after)) in without.iter().zip(&before).zip(&after).enumerate() {
        let _infallible = writeln!(
            text,
            "node-{}: {:.2} % of a core, {:.1} MiB resident ({:.1} MiB before the workspaces)",
            node + 1,
            percent(before, after, elapsed),
            mib(after.resident),
            mib(without.resident)
        );
    }
    Ok(text)
}

/// Processor time between two looks, in percent of one core.
fn percent(before: &Usage, after: &Usage, elapsed: Duration) -> f64 {
    after.cpu.saturating_sub(before.cpu).as_secs_f64() / elapsed.as_secs_f64().max(f64::MIN_POSITIVE) * 100.0
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// What every node has used so far.
///
/// # Errors
/// If one does not run.
pub async fn measured(cluster: &Cluster) -> Result<Vec<Usage>, RunError> {
    let mut all = Vec::new();
    for node in 0..cluster.specs().len() {
        let gone = || RunError::Harness(format!("node-{} does not run; its log ends: {}", node + 1, cluster.log_tail(node)));
        let pid = cluster.pid(node).await.ok_or_else(gone)?;
        all.push(usage(pid).map_err(|_| gone())?);
    }
    Ok(all)
}

async fn create(client: &Client, number: u32) -> Result<(), RunError> {
    let token = format!("jepsen-idle-{number}");
    let body = json!({"alias": token, "clientToken": token});
    let deadline = Instant::now() + CREATE_MAX;
    let mut node = number as usize;
    loop {
        let answer = client.call(node % client.nodes(), Method::POST, "/workspaces", Some(&body)).await;
        match answer {
            Ok((200..=299, _)) => return Ok(()),
            Ok((code @ 400..=499, answer)) => return Err(RunError::NotStarted(format!("workspace {number}: {code} {answer}"))),
            other if Instant::now() >= deadline => return Err(RunError::NotStarted(format!("workspace {number}: {other:?}"))),
            _ => tokio::time::sleep(RETRY).await,
        }
        node += 1;
    }
}

/// Waits until every node knows a leader of each of its groups and all have their replicas; how many groups there are.
async fn until_led(client: &Client) -> Result<u64, RunError> {
    let deadline = Instant::now() + WHOLE_MAX;
    let mut node = 0;
    let mut groups = 0;
    while node < client.nodes() {
        let status = client.status(node).await;
        match status {
            Ok(status) if status.groups_at_target == status.groups && status.changes + status.leaderless == 0 => {
                groups = status.groups;
                node += 1;
            }
            other if Instant::now() >= deadline => {
                return Err(RunError::NotStarted(format!("node-{}: not every group is led: {other:?}", node + 1)));
            }
            _ => tokio::time::sleep(POLL).await,
        }
    }
    Ok(groups)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_is_told_in_percent_of_one_core() {
        let at = |ms| Usage { cpu: Duration::from_millis(ms), resident: 0 };
        assert!((percent(&at(1000), &at(4000), Duration::from_secs(60)) - 5.0).abs() < 1e-9);
        assert!(percent(&at(2), &at(1), Duration::from_secs(1)).abs() < 1e-9);
        assert!((mib(3 << 19) - 1.5).abs() < 1e-9);
    }
}
