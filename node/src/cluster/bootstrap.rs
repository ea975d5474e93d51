//! How the first nodes become exactly one cluster (`core.md` C12).
//!
//! A node with an empty disk asks every node of `--initial-nodes`, itself included. [`decide`] is the whole rule:
//! it founds only if all of them answer with the same list and each is either empty or a founder that counted this very disk among
//! the founders. A node whose disk was lost meets founders that counted another disk, and joins under a new store id.

use super::identity::{Identity, Membership};
use super::operator::store_report;
use crate::config::Config;
use crate::meta::command::{decode, encode};
use crate::meta::{MetaCommand, MetaResponse};
use crate::rpc::client::{Peers, header, request};
use futures::future::join_all;
use proto::node::{ProbeReply, ProbeRequest, ProposeMetaRequest};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

const PROBE_TIMEOUT: Duration = Duration::from_secs(2);
const JOIN_TIMEOUT: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(200);

/// What one of the initial nodes answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Its own `--initial-nodes`, sorted.
    pub initial_nodes: Vec<String>,
    /// Names its disk.
    pub incarnation: String,
    /// Whether it has founded or joined.
    pub initialised: bool,
    /// Address and incarnation of the founders it counted; empty if it joined later.
    pub founders: BTreeMap<String, String>,
}

/// What a node with an empty disk does next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Found the cluster as this store, remembering these founders.
    Found {
        /// Place in the sorted list, from 1.
        store_id: u64,
        /// Address and incarnation of all.
        founders: BTreeMap<String, String>,
    },
    /// The cluster exists without this disk: ask it for a new store id.
    Join,
    /// Ask again later.
    Wait {
        /// Who has not answered, or what does not fit.
        reason: String,
    },
}

/// Decides from the answers of one round; `answers` holds none for a node that could not be reached.
#[must_use]
pub fn decide(own_address: &str, own_incarnation: &str, initial_nodes: &[String], answers: &BTreeMap<String, Option<Answer>>) -> Decision {
    let counts_us = |a: &Answer| a.founders.get(own_address).is_some_and(|i| i == own_incarnation);
    if answers.values().flatten().any(|a| a.initialised && !counts_us(a)) {
        return Decision::Join;
    }
    let Some(place) = initial_nodes.iter().position(|a| a == own_address) else {
        return Decision::Wait { reason: format!("{own_address} is not among the initial nodes and none of them has a cluster to join") };
    };
    let missing: Vec<&str> = initial_nodes.iter().filter(|a| !matches!(answers.get(*a), Some(Some(_)))).map(String::as_str).collect();
    if !missing.is_empty() {
        return Decision::Wait { reason: format!("waiting for {}", missing.join(", ")) };
    }
    for (address, answer) in answers.iter().filter_map(|(address, answer)| Some((address, answer.as_ref()?))) {
        if answer.initial_nodes != initial_nodes {
            let reason =
                format!("{address} has other initial nodes: {} instead of {}", answer.initial_nodes.join(","), initial_nodes.join(","));
            return Decision::Wait { reason };
        }
    }
    let founders = answers.iter().filter_map(|(address, answer)| Some((address.clone(), answer.as_ref()?.incarnation.clone()))).collect();
    Decision::Found { store_id: place as u64 + 1, founders }
}

/// The founders' addresses, sorted; with `--bootstrap` and no list, this node alone.
#[must_use]
pub fn initial_nodes(config: &Config) -> Vec<String> {
    let mut nodes: Vec<String> = config.cluster.initial_nodes.iter().map(ToString::to_string).collect();
    if nodes.is_empty() && config.cluster.bootstrap {
        nodes.push(config.rpc.advertise_address.to_string());
    }
    nodes.sort_unstable();
    nodes.dedup();
    nodes
}

/// Asks around until this node may found or has joined; `tell` hears what it waits for.
pub async fn find_place(config: &Config, identity: &Identity, peers: &Peers, tell: impl Fn(&str)) -> Membership {
    let own = config.rpc.advertise_address.to_string();
    let nodes = initial_nodes(config);
    loop {
        let answers = probe_all(&own, &nodes, identity, peers).await;
        match decide(&own, &identity.incarnation, &nodes, &answers) {
            Decision::Found { store_id, founders } => return Membership { store_id, cluster_id: None, founders, peers: BTreeSet::new() },
            Decision::Join => match join(config, identity, &answers, peers).await {
                Ok(membership) => return membership,
                Err(reason) => tell(&format!("joining: {reason}")),
            },
            Decision::Wait { reason } if nodes.is_empty() => tell(&format!("no --initial-nodes and no --bootstrap: {reason}")),
            Decision::Wait { reason } => tell(&reason),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn probe_all(own: &str, nodes: &[String], identity: &Identity, peers: &Peers) -> BTreeMap<String, Option<Answer>> {
    let asked = nodes.iter().map(|address| async move {
        if address == own {
            let own = Answer {
                initial_nodes: nodes.to_vec(),
                incarnation: identity.incarnation.clone(),
                initialised: false,
                founders: BTreeMap::new(),
            };
            return (address.clone(), Some(own));
        }
        let reply = match peers.client(address) {
            Ok(mut client) => {
                let probe = client.probe(request(ProbeRequest { initial_nodes: nodes.to_vec() }, PROBE_TIMEOUT));
                tokio::time::timeout(PROBE_TIMEOUT, probe).await.ok().and_then(Result::ok)
            }
            Err(_) => None,
        };
        (address.clone(), reply.map(|r| r.into_inner().into()))
    });
    join_all(asked).await.into_iter().collect()
}

impl From<ProbeReply> for Answer {
    fn from(reply: ProbeReply) -> Self {
        Self {
            initial_nodes: reply.initial_nodes,
            incarnation: reply.incarnation,
            initialised: reply.initialised,
            founders: reply.founders.into_iter().collect(),
        }
    }
}

/// Asks the nodes that are part of a cluster for a new store id.
async fn join(
    config: &Config,
    identity: &Identity,
    answers: &BTreeMap<String, Option<Answer>>,
    peers: &Peers,
) -> Result<Membership, String> {
    let command = MetaCommand::RegisterStore { store_id: None, report: store_report(config, &identity.incarnation) };
    let mut last = "no member answers".to_owned();
    for (address, _) in answers.iter().filter(|(_, a)| a.as_ref().is_some_and(|a| a.initialised)) {
        let mut client = peers.client(address).map_err(|e| e.to_string())?;
        let probe = client.probe(request(ProbeRequest::default(), PROBE_TIMEOUT)).await.map_err(|e| e.to_string())?.into_inner();
        if probe.cluster_id.is_empty() {
            continue;
        }
        let message = ProposeMetaRequest { header: Some(header(&probe.cluster_id, 0, JOIN_TIMEOUT)), command: encode(&command) };
        match client.propose_meta(request(message, JOIN_TIMEOUT)).await {
            Ok(reply) => match decode(&reply.into_inner().response) {
                Ok(MetaResponse::Store { store }) => {
                    let (cluster_id, founders, peers) = (Some(probe.cluster_id), BTreeMap::new(), BTreeSet::new());
                    return Ok(Membership { store_id: store.store_id, cluster_id, founders, peers });
                }
                other => last = format!("{address}: {other:?}"),
            },
            Err(status) => last = format!("{address}: {}", status.message()),
        }
    }
    Err(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODES: [&str; 3] = ["a", "b", "c"];

    fn nodes() -> Vec<String> {
        NODES.map(str::to_owned).to_vec()
    }

    fn empty(incarnation: &str) -> Option<Answer> {
        Some(Answer { initial_nodes: nodes(), incarnation: incarnation.into(), initialised: false, founders: BTreeMap::new() })
    }

    fn founder(incarnation: &str, founders: [&str; 3]) -> Option<Answer> {
        let founders = NODES.iter().zip(founders).map(|(a, i)| ((*a).to_owned(), i.to_owned())).collect();
        Some(Answer { initialised: true, founders, ..empty(incarnation).unwrap() })
    }

    fn round(answers: [Option<Answer>; 3]) -> BTreeMap<String, Option<Answer>> {
        NODES.iter().map(|a| (*a).to_owned()).zip(answers).collect()
    }

    #[test]
    fn c12_founds_only_when_all_answer_empty_with_the_same_list() {
        let all = round([empty("ia"), empty("ib"), empty("ic")]);
        let Decision::Found { store_id, founders } = decide("b", "ib", &nodes(), &all) else { panic!() };
        assert_eq!((store_id, founders.len()), (2, 3));
        let Decision::Wait { reason } = decide("b", "ib", &nodes(), &round([empty("ia"), empty("ib"), None])) else { panic!() };
        assert!(reason.contains('c'));
        let mut other = empty("ic").unwrap();
        other.initial_nodes.push("d".into());
        assert!(matches!(decide("b", "ib", &nodes(), &round([empty("ia"), empty("ib"), Some(other)])), Decision::Wait { .. }));
    }

    #[test]
    fn c12_a_slower_founder_still_founds_after_the_first_has() {
        let all = round([founder("ia", ["ia", "ib", "ic"]), empty("ib"), empty("ic")]);
        assert!(matches!(decide("b", "ib", &nodes(), &all), Decision::Found { store_id: 2, .. }));
    }

    #[test]
    fn c12_a_lost_disk_joins_and_cannot_found_a_second_cluster() {
        let all = round([founder("ia", ["ia", "ib", "ic"]), empty("new"), founder("ic", ["ia", "ib", "ic"])]);
        assert_eq!(decide("b", "new", &nodes(), &all), Decision::Join);
        let alone = round([None, empty("new"), None]);
        assert!(matches!(decide("b", "new", &nodes(), &alone), Decision::Wait { .. }));
    }

    #[test]
    fn c12_a_disk_lost_between_two_founders_answers_is_not_taken_for_either() {
        // a counted the lost disk, c counted the new one: as replica 2 it could vote twice in one term.
        let all = round([founder("ia", ["ia", "ib", "ic"]), empty("new"), founder("ic", ["ia", "new", "ic"])]);
        assert_eq!(decide("b", "new", &nodes(), &all), Decision::Join);
        let first_is_down = round([None, empty("new"), founder("ic", ["ia", "new", "ic"])]);
        assert!(matches!(decide("b", "new", &nodes(), &first_is_down), Decision::Wait { .. }));
    }

    #[test]
    fn a_node_outside_the_list_joins_or_waits() {
        let founded = round([founder("ia", ["ia", "ib", "ic"]), founder("ib", ["ia", "ib", "ic"]), None]);
        assert_eq!(decide("x", "ix", &nodes(), &founded), Decision::Join);
        let unfounded = round([empty("ia"), empty("ib"), empty("ic")]);
        assert!(matches!(decide("x", "ix", &nodes(), &unfounded), Decision::Wait { .. }));
    }
}
