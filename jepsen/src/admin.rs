//! What the cluster says about itself and what it is asked to do, through `/cluster` of any node that answers.

use crate::client::Client;
use serde_json::Value;
use std::collections::BTreeMap;

/// One store that the cluster knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Store {
    /// Its id.
    pub id: u64,
    /// The name of its node; several stores may have one name for a while.
    pub name: String,
    /// `up`, `silent`, `draining` or `drained`.
    pub state: String,
    /// Replicas that it holds.
    pub replicas: u64,
}

/// One shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shard {
    /// Its id; 0 is the meta group.
    pub id: u64,
    /// Stores with a voting replica.
    pub voters: Vec<u64>,
    /// The leader's store, as far as the node that answered knows.
    pub leader: Option<u64>,
}

/// The answer to a request for a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// Taken.
    Done,
    /// Refused for good, with its status and text.
    Refused(u16, String),
    /// No node took it or refused it.
    Unanswered,
}

/// Everything known of all shards' replication, from one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Groups, the meta group among them.
    pub groups: u64,
    /// Groups with as many intact voters as they should have.
    pub groups_at_target: u64,
    /// Changes of membership under way.
    pub changes: u64,
    /// Groups of which this node has a replica and knows no leader.
    pub leaderless: u64,
    /// Stores that do not answer.
    pub silent: u64,
}

impl Client {
    /// What one node says about the cluster.
    ///
    /// # Errors
    /// The transport's or the node's error.
    pub async fn status(&self, node: usize) -> Result<Status, String> {
        let data = self.data(node, "/cluster/status").await?;
        let number = |name: &str| data[name].as_u64().ok_or_else(|| format!("/cluster/status has no {name}: {data}"));
        let list = |name: &str| data[name].as_array().map(|all| all.len() as u64).unwrap_or_default();
        Ok(Status {
            groups: number("groups")?,
            groups_at_target: number("groupsAtTarget")?,
            changes: number("changes")?,
            leaderless: list("groupsWithoutLeaderHere"),
            silent: list("silentNodes"),
        })
    }

    /// All stores, as the first node that answers sees them.
    pub async fn stores(&self) -> Option<Vec<Store>> {
        let data = self.first("/cluster/nodes").await?;
        let store = |v: &Value| {
            let text = |name: &str| v[name].as_str().map(str::to_string);
            Some(Store { id: v["id"].as_u64()?, name: text("name")?, state: text("state")?, replicas: v["replicas"].as_u64()? })
        };
        data.as_array()?.iter().map(store).collect()
    }

    /// All shards, as the first node that answers sees them; leaders as any node knows them.
    pub async fn shards(&self) -> Option<Vec<Shard>> {
        let mut shards: BTreeMap<u64, Shard> = BTreeMap::new();
        for node in 0..self.nodes() {
            let Ok(data) = self.data(node, "/cluster/shards").await else { continue };
            for v in data.as_array()? {
                let voters = v["replicas"].as_array()?.iter().filter(|r| r["role"] == "voter" && r["is_lost"] != true);
                let id = v["id"].as_u64()?;
                let shard = Shard { id, voters: voters.filter_map(|r| r["store"].as_u64()).collect(), leader: v["leader"].as_u64() };
                let known = shards.entry(id).or_insert(shard);
                known.leader = known.leader.or(v["leader"].as_u64());
            }
            if shards.values().all(|s| s.leader.is_some()) {
                break;
            }
        }
        (!shards.is_empty()).then(|| shards.into_values().collect())
    }

    /// Asks nodes in turn until one takes or refuses a change.
    pub async fn ask(&self, method: reqwest::Method, path: &str, body: Option<Value>) -> Asked {
        for node in 0..self.nodes() {
            match self.call(node, method.clone(), path, body.as_ref()).await {
                Ok((200..=299, _)) => return Asked::Done,
                Ok((code @ 400..=499, answer)) => return Asked::Refused(code, answer.to_string()),
                _ => {}
            }
        }
        Asked::Unanswered
    }

    async fn first(&self, path: &str) -> Option<Value> {
        for node in 0..self.nodes() {
            if let Ok(data) = self.data(node, path).await {
                return Some(data);
            }
        }
        None
    }

    async fn data(&self, node: usize, path: &str) -> Result<Value, String> {
        match self.call(node, reqwest::Method::GET, path, None).await? {
            (200, mut answer) => Ok(answer["data"].take()),
            (code, answer) => Err(format!("{code} {answer}")),
        }
    }
}

/// The value of a gauge with the label `group`, by group, in a text exposition.
#[must_use]
pub fn by_group(text: &str, name: &str) -> BTreeMap<u64, u64> {
    text.lines()
        .filter_map(|line| line.strip_prefix(name)?.strip_prefix("{group=\"")?.split_once("\"} "))
        .filter_map(|(group, value)| Some((group.parse().ok()?, value.trim().parse::<f64>().ok()? as u64)))
        .collect()
}

/// Whether every replica has applied what was committed anywhere when `committed` was taken.
#[must_use]
pub fn has_caught_up(committed: &BTreeMap<u64, u64>, applied: &[BTreeMap<u64, u64>]) -> bool {
    applied.iter().all(|node| node.iter().all(|(group, index)| committed.get(group).is_none_or(|wanted| index >= wanted)))
}

/// The highest value of each group over all nodes.
#[must_use]
pub fn highest(nodes: &[BTreeMap<u64, u64>]) -> BTreeMap<u64, u64> {
    let mut all: BTreeMap<u64, u64> = BTreeMap::new();
    for (group, index) in nodes.iter().flatten() {
        let highest = all.entry(*group).or_default();
        *highest = (*highest).max(*index);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gauges_are_read_by_group_and_compared() {
        let text = "# TYPE g gauge\ng{group=\"3\"} 7\ng{group=\"10\"} 1e3\ng_more{group=\"4\"} 1\n";
        let first = by_group(text, "g");
        assert_eq!(first, BTreeMap::from([(3, 7), (10, 1000)]));
        let second = BTreeMap::from([(3, 9)]);
        let committed = highest(&[first.clone(), second.clone()]);
        assert_eq!(committed, BTreeMap::from([(3, 9), (10, 1000)]));
        assert!(!has_caught_up(&committed, &[first, second.clone()]));
        assert!(has_caught_up(&committed, &[second]));
    }
}
