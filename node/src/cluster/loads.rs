//! What shards have to do, as their leaders count it: gathered by the leader of the meta group, which spreads leaders by it and gives
//! workspaces more or fewer shards (`core.md` C8).
//!
//! It lives in memory: a new leader of the meta group counts anew, and changes nothing before it has seen enough.

use super::scaler;
use crate::cluster::operator::propose;
use crate::meta::state::{MetaState, ReplicaRole, ScaleReason, ShardRecord, WorkspaceRecord};
use crate::meta::{MetaCommand, MetaResponse};
use crate::metrics;
use crate::node::Node;
use crate::rpc::client::{header, request};
use futures::future::join_all;
use model::ShardId;
use proto::node::{LoadsReply, LoadsRequest, ShardLoad};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::MissedTickBehavior;

/// How often leaders are asked.
const ROUND: Duration = Duration::from_secs(10);
const TIMEOUT: Duration = Duration::from_secs(3);
/// Time over which rates are averaged, exponentially.
const MEMORY: Duration = Duration::from_secs(60);
/// Leaders that move in one round at most.
const MOVES_MAX: usize = 4;
/// Time between two moves of one shard's leader.
const COOL_DOWN: Duration = Duration::from_secs(60);
/// Samples a second that every store may lead more than the mean.
const SLACK: f64 = 1000.0;
/// The part of what makes a workspace grow below which it shrinks.
const SHRINK_BELOW: f64 = 0.2;

/// What is known of one shard.
#[derive(Clone, Debug)]
struct Known {
    /// Samples accepted when it was asked last, and when that was.
    last: (u64, Duration),
    /// Samples a second of late.
    rate: f64,
    /// Series in the head.
    series: u64,
    /// Samples accepted at the first time asked, and when that was.
    first: (u64, Duration),
    /// When its leader was moved last.
    moved: Option<Duration>,
}

/// What shards have to do. Times are the monotonic clock's.
#[derive(Clone, Debug, Default)]
pub struct Loads {
    shards: BTreeMap<u64, Known>,
}

/// From which load on a shard is too much for itself.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Thresholds {
    /// Samples a second, on average since `over` at least; 0 is no threshold.
    pub samples: f64,
    /// Series; 0 is no threshold.
    pub series: f64,
    /// How long is looked on before anything changes.
    pub over: Duration,
    /// Shards that a workspace keeps.
    pub shards_min: usize,
}

impl Loads {
    /// Takes in what a leader counted.
    pub fn note(&mut self, shard: u64, samples: u64, series: u64, at: Duration) {
        let begin = Known { last: (samples, at), rate: 0.0, series, first: (samples, at), moved: None };
        let known = self.shards.entry(shard).or_insert(begin);
        // A leader that lags in applying counts less than the one before it.
        let gained = samples.saturating_sub(known.last.0) as f64;
        let passed = at.saturating_sub(known.last.1).as_secs_f64();
        if passed > 0.0 {
            let weight = (-passed / MEMORY.as_secs_f64()).exp();
            known.rate = known.rate * weight + gained / passed * (1.0 - weight);
        }
        known.last = (samples.max(known.last.0), at);
        known.series = series;
    }

    /// Forgets shards that are gone.
    pub fn retain(&mut self, exists: impl Fn(u64) -> bool) {
        self.shards.retain(|shard, _| exists(*shard));
    }

    /// Samples a second and series of a shard.
    #[must_use]
    pub fn of(&self, shard: u64) -> Option<(f64, u64)> {
        self.shards.get(&shard).map(|known| (known.rate, known.series))
    }

    fn rate(&self, shard: u64) -> f64 {
        self.shards.get(&shard).map_or(0.0, |known| known.rate)
    }

    /// Leaders to move, so that no store leads much more than the others: shard and store. Notes them as moved.
    pub fn leader_moves(&mut self, state: &MetaState, is_ready: impl Fn(u64) -> bool, now: Duration) -> Vec<(u64, u64)> {
        let mut led: BTreeMap<u64, f64> = state.stores.keys().filter(|store| is_ready(**store)).map(|store| (*store, 0.0)).collect();
        let mut leaders: BTreeMap<u64, u64> = BTreeMap::new();
        for record in state.shards.values() {
            let Some(leader) = record.replicas.first() else { continue };
            leaders.insert(record.shard, leader.store);
            if let Some(sum) = led.get_mut(&leader.store) {
                *sum += self.rate(record.shard);
            }
        }
        let mut moves = Vec::new();
        let mean = led.values().sum::<f64>() / led.len().max(1) as f64;
        while moves.len() < MOVES_MAX {
            let Some((most, most_led)) = led.iter().max_by(|a, b| a.1.total_cmp(b.1)).map(|(store, sum)| (*store, *sum)) else { break };
            if most_led <= mean * 1.1 + SLACK {
                break;
            }
            let candidates = state.shards.values().filter(|record| leaders.get(&record.shard) == Some(&most));
            let best = candidates.filter_map(|record| self.relief(record, most_led, &led, state, now)).max_by(|a, b| a.2.total_cmp(&b.2));
            let Some((shard, to, _)) = best else { break };
            let rate = self.rate(shard);
            *led.entry(most).or_default() -= rate;
            *led.entry(to).or_default() += rate;
            leaders.insert(shard, to);
            if let Some(known) = self.shards.get_mut(&shard) {
                known.moved = Some(now);
            }
            moves.push((shard, to));
        }
        moves
    }

    /// Where a shard's leader would best go and how much that takes off the larger of the two stores; none if it takes nothing off.
    fn relief(
        &self,
        record: &ShardRecord,
        most_led: f64,
        led: &BTreeMap<u64, f64>,
        state: &MetaState,
        now: Duration,
    ) -> Option<(u64, u64, f64)> {
        let known = self.shards.get(&record.shard)?;
        if known.moved.is_some_and(|moved| now.saturating_sub(moved) < COOL_DOWN) || state.changes.contains_key(&record.shard) {
            return None;
        }
        let others = record.replicas.iter().skip(1).filter(|r| r.role == ReplicaRole::Voter && !r.is_lost);
        let (to, least) = others.filter_map(|r| Some((r.store, *led.get(&r.store)?))).min_by(|a, b| a.1.total_cmp(&b.1))?;
        let relief = most_led - (least + known.rate).max(most_led - known.rate);
        (relief > 0.0).then_some((record.shard, to, relief))
    }

    /// The number of shards that a workspace should have, if it is another than it has.
    #[must_use]
    pub fn wanted_shards(&self, workspace: &WorkspaceRecord, thresholds: Thresholds, now: Duration) -> Option<u32> {
        let current = workspace.current_shards();
        let shards: Vec<&Known> = current.iter().map(|shard| self.shards.get(shard)).collect::<Option<_>>()?;
        let seen = |known: &&Known| now.saturating_sub(known.first.1);
        let over = shards.iter().map(seen).min()?;
        if workspace.pending.is_some() || over < thresholds.over {
            return None;
        }
        let n = current.len() as f64;
        let mean_rate = |known: &&Known| (known.last.0 - known.first.0) as f64 / seen(known).as_secs_f64().max(1.0);
        let share = |sum: f64, limit: f64| if limit > 0.0 { sum / (limit * n) } else { 0.0 };
        let samples = share(shards.iter().map(mean_rate).sum(), thresholds.samples);
        let series = share(shards.iter().map(|known| known.series as f64).sum(), thresholds.series);
        let load = samples.max(series);
        // A step is at least half as much again and at most twice, so that it is neither soon too small nor a shock.
        let wanted = if load > 1.0 {
            (n * load.clamp(1.5, 2.0)).ceil()
        } else if load < SHRINK_BELOW {
            (n / 2.0).ceil().max(thresholds.shards_min as f64)
        } else {
            return None;
        };
        let is_change = if load > 1.0 { wanted > n } else { wanted < n };
        is_change.then_some(wanted as u32)
    }

    /// Counts a workspace's shards anew, after their number changed or nearly did.
    pub fn begin_again(&mut self, workspace: &WorkspaceRecord, now: Duration) {
        for shard in workspace.current_shards() {
            if let Some(known) = self.shards.get_mut(shard) {
                known.first = (known.last.0, now);
            }
        }
    }
}

/// What this node counts of the shards that it leads.
#[must_use]
pub fn own(node: &Node) -> LoadsReply {
    let leads = |local: &Arc<crate::shard::LocalShard>| local.group.status().is_leader;
    let load = |local: Arc<crate::shard::LocalShard>| ShardLoad {
        shard: local.id.0,
        samples: local.shard.accepted_samples(),
        series: local.shard.series_in_head(),
    };
    LoadsReply { shards: node.shards.all().into_iter().filter(leads).map(load).collect() }
}

/// Gathers loads and acts on them while this node leads the meta group, until dropped.
pub async fn run(node: Arc<Node>) {
    let mut rounds = tokio::time::interval(ROUND);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        rounds.tick().await;
        if !node.groups.group(ShardId::META).is_some_and(|group| group.status().is_leader) {
            *node.loads.lock() = Loads::default();
            continue;
        }
        gather(&node).await;
        let meta = node.meta.get();
        show(&node, &meta);
        if let Err(error) = act(&node, &meta).await {
            tracing::debug!(%error, "loads not acted upon");
        }
    }
}

async fn gather(node: &Arc<Node>) {
    let asked = node.others().into_values().map(|address| async move {
        let mut client = node.peers.client(&address).ok()?;
        let message = LoadsRequest { header: Some(header(&node.cluster_id(), node.store_id().0, TIMEOUT)) };
        client.loads(request(message, TIMEOUT)).await.ok().map(tonic::Response::into_inner)
    });
    let replies: Vec<LoadsReply> = join_all(asked).await.into_iter().flatten().chain([own(node)]).collect();
    let (now, meta) = (node.clock.monotonic(), node.meta.get());
    let mut loads = node.loads.lock();
    loads.retain(|shard| meta.shards.contains_key(&shard));
    for load in replies.into_iter().flat_map(|reply| reply.shards).filter(|load| meta.shards.contains_key(&load.shard)) {
        loads.note(load.shard, load.samples, load.series, now);
    }
}

/// Sets the gauges of what the leader of the meta group watches over.
fn show(node: &Node, meta: &MetaState) {
    let below = meta.records().filter(|record| {
        let voters = record.replicas.iter().filter(|r| r.role == ReplicaRole::Voter && !r.is_lost).count();
        voters < super::planner::target_of(meta, record)
    });
    let silent = meta.stores.keys().filter(|store| node.is_silent(**store)).count();
    let pending = meta.workspaces.values().filter(|workspace| workspace.pending.is_some()).count();
    metrics::set_cluster(below.count(), meta.changes.len(), silent, pending);
}

async fn act(node: &Arc<Node>, meta: &MetaState) -> Result<(), super::operator::MetaError> {
    let now = node.clock.monotonic();
    let is_ready = |store: u64| !node.is_silent(store) && !meta.stores.get(&store).is_none_or(|s| s.is_draining);
    let moves = node.loads.lock().leader_moves(meta, is_ready, now);
    for (shard, store) in moves {
        tracing::info!(shard, store, "leader moves to a store that leads less");
        propose(node, MetaCommand::PreferLeader { shard, store }).await?;
    }
    let config = &node.config.cluster;
    for workspace in meta.workspaces.values() {
        let thresholds = Thresholds {
            samples: config.scale_samples as f64,
            series: config.scale_series as f64,
            over: config.scale_lead * scaler::LEADS_BETWEEN,
            shards_min: super::operator::shards_per_workspace(meta) as usize,
        };
        let wanted = node.loads.lock().wanted_shards(workspace, thresholds, now);
        let Some(shards) = wanted else { continue };
        let begun = scaler::begin(node, &workspace.id, shards, ScaleReason::Load).await;
        match begun {
            Ok(MetaResponse::Workspace { .. }) => tracing::info!(workspace = workspace.id, shards, "change of shards begins"),
            Ok(answer) => tracing::warn!(workspace = workspace.id, shards, ?answer, "change of shards refused"),
            Err(error) => tracing::warn!(workspace = workspace.id, shards, %error, "change of shards put off"),
        }
        node.loads.lock().begin_again(workspace, now);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meta::state::ReplicaRecord;
    use crate::meta::testing::{self, founded};
    use proptest::prelude::*;

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    /// A workspace of shards 1 to `shards`.
    fn workspace(shards: u64) -> WorkspaceRecord {
        let mut state = founded(&[""]);
        testing::workspace(&mut state, "w", u32::try_from(shards).unwrap());
        state.workspaces["w"].clone()
    }

    /// Loads of shards 1..=n that each take so many samples a second, seen over so long.
    fn loads(shards: u64, rate: u64, over: u64) -> Loads {
        let mut loads = Loads::default();
        for at in (0..=over).step_by(10) {
            (1..=shards).for_each(|shard| loads.note(shard, 5_000 + at * rate, 10, seconds(at)));
        }
        loads
    }

    #[test]
    fn c8_shards_double_at_most_and_only_after_long_enough() {
        let thresholds = Thresholds { samples: 100.0, series: 1000.0, over: seconds(7200), shards_min: 3 };
        let wanted = |n: u64, rate: u64, over: u64| loads(n, rate, over).wanted_shards(&workspace(n), thresholds, seconds(over));
        assert_eq!(wanted(4, 110, 7200), Some(6));
        assert_eq!(wanted(4, 170, 7200), Some(7));
        assert_eq!(wanted(4, 9999, 7200), Some(8));
        assert_eq!(wanted(4, 9999, 7190), None, "one look is no trend");
        assert_eq!((wanted(8, 100, 7200), wanted(8, 20, 7200)), (None, None));
        assert_eq!((wanted(8, 19, 7200), wanted(5, 0, 7200), wanted(3, 0, 7200)), (Some(4), Some(3), None));
        let mut counted = loads(4, 500, 7200);
        counted.begin_again(&workspace(4), seconds(7200));
        assert_eq!(counted.wanted_shards(&workspace(4), thresholds, seconds(7300)), None);
        let idle = Thresholds { samples: 0.0, series: 5.0, ..thresholds };
        assert_eq!(loads(4, 500, 7200).wanted_shards(&workspace(4), idle, seconds(7200)), Some(8), "ten series where five are enough");
        assert_eq!(loads(3, 500, 7200).wanted_shards(&workspace(4), thresholds, seconds(7200)), None, "not of all is known");
    }

    proptest! {
        #[test]
        fn leaders_move_only_to_voters_and_the_most_loaded_store_never_gets_more(
            rates in prop::collection::vec(0u64..50_000, 1..12),
            places in prop::collection::vec((0usize..3, any::<bool>()), 12),
        ) {
            let mut state = founded(&["", "", "", ""]);
            let mut loads = Loads::default();
            for (shard, (rate, (first, is_lost))) in (1u64..).zip(rates.iter().zip(&places)) {
                let mut stores = [1u64, 2, 3];
                stores.rotate_left(*first);
                let replica = |(i, store): (usize, &u64)| ReplicaRecord {
                    replica: shard * 10 + i as u64,
                    store: *store,
                    role: ReplicaRole::Voter,
                    is_lost: *is_lost && i == 2,
                };
                let replicas = stores.iter().enumerate().map(replica).collect();
                state.shards.insert(shard, ShardRecord { shard, workspace: "w".into(), replicas, conf_ver: 1 });
                (0..60).for_each(|n| loads.note(shard, n * 10 * rate, 1, seconds(n * 10)));
            }
            let led = |state: &MetaState, loads: &Loads| {
                let mut led = BTreeMap::from([(1, 0.0), (2, 0.0), (3, 0.0)]);
                state.shards.values().for_each(|s| *led.entry(s.replicas[0].store).or_default() += loads.rate(s.shard));
                led.into_values().fold(0.0, f64::max)
            };
            let before = led(&state, &loads);
            let moves = loads.leader_moves(&state, |store| store != 4, seconds(600));
            prop_assert!(moves.len() <= MOVES_MAX);
            for (shard, store) in &moves {
                let record = state.shards.get_mut(shard).unwrap();
                let at = record.replicas.iter().position(|r| r.store == *store && !r.is_lost).unwrap();
                record.replicas.swap(0, at);
            }
            prop_assert!(led(&state, &loads) <= before);
            let again = loads.leader_moves(&state, |store| store != 4, seconds(601));
            prop_assert!(again.iter().all(|(shard, _)| !moves.iter().any(|(moved, _)| moved == shard)), "each cools down first");
        }
    }
}
