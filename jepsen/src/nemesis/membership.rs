//! Faults of membership: who is in the cluster, who holds and leads what.

use super::{Attempt, Fault, Heal, Injected, Lasts, Nemesis, NotInjected, Target};
use crate::admin::Asked;
use crate::dice::Dice;
use reqwest::Method;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

const POLL: Duration = Duration::from_millis(300);
const DRAIN_MAX: Duration = Duration::from_secs(60);
const MOVE_MAX: Duration = Duration::from_secs(30);
const LEAD_MAX: Duration = Duration::from_secs(15);
const REPLACE_MAX: Duration = Duration::from_secs(60);
const WHOLE_MAX: Duration = Duration::from_secs(90);
const SHARDS_MAX: u64 = 8;

impl Nemesis {
    pub(super) async fn inject_membership(self: &Arc<Self>, fault: Fault, dice: &mut Dice, target: &Target) -> Attempt {
        match fault {
            Fault::DrainRejoin | Fault::Replace => self.exchange(fault, target.node).await,
            Fault::MoveReplica => self.move_replica(dice).await,
            Fault::MoveLeader => self.move_leader(dice).await,
            _ => self.scale(dice).await,
        }
    }

    /// The node's machine stays, its store goes: drained and removed, or dead and replaced.
    async fn exchange(self: &Arc<Self>, fault: Fault, node: usize) -> Attempt {
        let fragile = self.take_fragile().await?;
        let taken = self.take(node).await?;
        let Some(store) = self.store_of(node).await else { return Err(NotInjected::NotNow) };
        let drains = fault == Fault::DrainRejoin;
        if drains && self.shared.client.ask(Method::POST, &format!("/cluster/nodes/{store}/drain"), None).await != Asked::Done {
            return Err(NotInjected::NotNow);
        }
        let nemesis = Arc::clone(self);
        let heal: Heal = Box::pin(async move {
            if drains {
                if !nemesis.drained(store).await {
                    nemesis.shared.client.ask(Method::POST, &format!("/cluster/nodes/{store}/drain?cancel=true"), None).await;
                    return Ok(());
                }
                nemesis.disturb(node, "stopped");
                nemesis.cluster.stop(node).await;
            } else {
                nemesis.disturb(node, "killed");
                nemesis.cluster.kill(node).await;
                nemesis.wait_store(REPLACE_MAX, |replicas| replicas.is_none_or(|n| n == 0), store).await;
            }
            let emptied = nemesis.cluster.empty_data(node);
            nemesis.start(node).await;
            drop(taken);
            nemesis.until_whole(fault, Some(store), fragile).await;
            emptied
        });
        Ok(Injected { hit: vec![node], detail: json!({ "store": store }), lasts: Lasts::Procedure, heal })
    }

    /// Waits until a draining store holds nothing, and removes it; false if that did not come about.
    async fn drained(&self, store: u64) -> bool {
        self.wait_store(DRAIN_MAX, |replicas| replicas == Some(0), store).await
            && self.shared.client.ask(Method::DELETE, &format!("/cluster/nodes/{store}"), None).await == Asked::Done
    }

    /// Waits until a store holds as many replicas as `wanted`; none if the cluster no longer knows it.
    async fn wait_store(&self, patience: Duration, wanted: impl Fn(Option<u64>) -> bool, store: u64) -> bool {
        let deadline = Instant::now() + patience;
        while Instant::now() < deadline {
            if let Some(stores) = self.shared.client.stores().await
                && wanted(stores.iter().find(|s| s.id == store).map(|s| s.replicas))
            {
                return true;
            }
            tokio::time::sleep(POLL).await;
        }
        false
    }

    /// The id of the store that a node runs with.
    pub(super) async fn store_of(&self, node: usize) -> Option<u64> {
        let (code, answer) = self.shared.client.call(node, Method::GET, "/cluster/status", None).await.ok()?;
        (code == 200).then(|| answer["data"]["node"].as_u64())?
    }

    /// Waits until the cluster holds everything as often as it should, without the store that was lost; gives back the right to destroy
    /// another. If that takes too long nothing is destroyed any more in this run: the cluster may be one loss away from the data's end.
    pub(super) async fn until_whole(&self, fault: Fault, lost: Option<u64>, fragile: OwnedSemaphorePermit) {
        let deadline = Instant::now() + WHOLE_MAX;
        while Instant::now() < deadline {
            if self.is_whole(lost).await {
                self.complete(fault);
                return;
            }
            tokio::time::sleep(POLL).await;
        }
        fragile.forget();
    }

    async fn is_whole(&self, lost: Option<u64>) -> bool {
        let Some(stores) = self.shared.client.stores().await else { return false };
        // A store that is still at its node was not lost, whatever happened to its files.
        let mut at_home = Vec::new();
        for node in 0..self.cluster.specs().len() {
            let Some(store) = self.store_of(node).await else { return false };
            at_home.push(store);
        }
        let gone = lost.is_none_or(|lost| at_home.contains(&lost) || stores.iter().all(|s| s.id != lost || s.replicas == 0));
        let joined = at_home.iter().all(|id| stores.iter().any(|s| s.id == *id));
        let Ok(status) = self.shared.client.status(0).await else { return false };
        gone && joined && status.groups_at_target == status.groups && status.changes == 0
    }

    async fn move_replica(self: &Arc<Self>, dice: &mut Dice) -> Attempt {
        let (Some(shards), Some(stores)) = (self.shared.client.shards().await, self.shared.client.stores().await) else {
            return Err(NotInjected::NotNow);
        };
        let movable: Vec<_> = shards.iter().filter(|s| s.voters.len() < stores.len()).collect();
        if movable.is_empty() {
            return Err(NotInjected::NotNow);
        }
        let shard = movable[dice.index(movable.len())];
        let from = shard.voters[dice.index(shard.voters.len())];
        let free: Vec<u64> = stores.iter().filter(|s| s.state == "up" && !shard.voters.contains(&s.id)).map(|s| s.id).collect();
        let Some(to) = free.get(dice.index(free.len())).copied() else { return Err(NotInjected::NotNow) };
        let path = format!("/cluster/shards/{}/move?from={from}&to={to}", shard.id);
        if self.shared.client.ask(Method::POST, &path, None).await != Asked::Done {
            return Err(NotInjected::NotNow);
        }
        let (nemesis, id) = (Arc::clone(self), shard.id);
        let heal: Heal = Box::pin(async move {
            let deadline = Instant::now() + MOVE_MAX;
            while Instant::now() < deadline {
                let shards = nemesis.shared.client.shards().await.unwrap_or_default();
                if shards.iter().any(|s| s.id == id && s.voters.contains(&to) && !s.voters.contains(&from)) {
                    nemesis.complete(Fault::MoveReplica);
                    break;
                }
                tokio::time::sleep(POLL).await;
            }
            Ok(())
        });
        Ok(Injected { hit: Vec::new(), detail: json!({"shard": id, "from": from, "to": to}), lasts: Lasts::Procedure, heal })
    }

    async fn move_leader(self: &Arc<Self>, dice: &mut Dice) -> Attempt {
        let shards = self.shared.client.shards().await.unwrap_or_default();
        let movable: Vec<_> = shards.iter().filter(|s| s.id != 0 && s.voters.len() > 1).collect();
        if movable.is_empty() {
            return Err(NotInjected::NotNow);
        }
        let shard = movable[dice.index(movable.len())];
        let others: Vec<u64> = shard.voters.iter().copied().filter(|v| Some(*v) != shard.leader).collect();
        let (id, to) = (shard.id, others[dice.index(others.len())]);
        if self.shared.client.ask(Method::POST, &format!("/cluster/shards/{id}/leader?to={to}"), None).await != Asked::Done {
            return Err(NotInjected::NotNow);
        }
        let nemesis = Arc::clone(self);
        let heal: Heal = Box::pin(async move {
            let deadline = Instant::now() + LEAD_MAX;
            while Instant::now() < deadline {
                let shards = nemesis.shared.client.shards().await.unwrap_or_default();
                if shards.iter().any(|s| s.id == id && s.leader == Some(to)) {
                    nemesis.complete(Fault::MoveLeader);
                    break;
                }
                tokio::time::sleep(POLL).await;
            }
            Ok(())
        });
        Ok(Injected { hit: Vec::new(), detail: json!({"shard": id, "to": to}), lasts: Lasts::Procedure, heal })
    }

    /// Asks for another number of shards of the workspace that is written to.
    async fn scale(self: &Arc<Self>, dice: &mut Dice) -> Attempt {
        let shards = dice.between(1, SHARDS_MAX);
        let path = format!("/cluster/workspaces/default/scale?shards={shards}");
        match self.shared.client.ask(Method::POST, &path, None).await {
            Asked::Done => {
                self.complete(Fault::Scale);
                let heal: Heal = Box::pin(std::future::ready(Ok(())));
                Ok(Injected { hit: Vec::new(), detail: json!({ "shards": shards }), lasts: Lasts::Procedure, heal })
            }
            Asked::Refused(404 | 405, _) => Err(NotInjected::Never("the nodes do not offer it".to_string())),
            Asked::Refused(code, text) => {
                self.record(self.shared.history.now_us(), "ScaleRefused", json!({"code": code, "text": text}));
                Err(NotInjected::NotNow)
            }
            Asked::Unanswered => Err(NotInjected::NotNow),
        }
    }
}
