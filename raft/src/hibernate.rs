//! Hibernation: the groups that nobody uses stop their timers, on all of their stores or on none.
//!
//! ```text
//! leader: unused for long, everybody has everything ── its timers stop ── "stop yours" ──> followers
//!         all agree: asleep      one does not: its timers start, and its heartbeat starts theirs
//! ```
//!
//! Only timers stop, so nothing about safety changes: votes and entries are taken as ever, and each wakes. A leader wakes for a proposal, a
//! read or a change; a follower when anything of its leader arrives, when a client asks it, and when its leader's store is silent or began
//! anew. Whatever was overlooked ends after [`SLEEP_MAX`], when followers wake by themselves.
//!
//! The first pre-vote that reaches a sleeping replica wakes it and is refused if its leader's store is alive: a restarted follower must not
//! unseat a leader that merely sleeps.

use crate::group::Group;
use crate::groups::Groups;
use crate::metrics;
use futures::future::join_all;
use model::{ShardId, StoreId};
use proto::raft::{HibernateRequest, IdleGroup};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// A follower wakes by itself after this time.
const SLEEP_MAX: Duration = Duration::from_secs(600);
/// A leader wakes before that, for a heartbeat.
const LEADER_SLEEP_MAX: Duration = Duration::from_secs(480);
/// Groups put to sleep in one round, and named in one request.
pub(crate) const GROUPS_MAX: usize = 4096;
/// Time between two groups that are woken because of one store.
const STAGGER: Duration = Duration::from_millis(10);

impl Groups {
    /// One round, to be called about once a second: wakes groups whose leader is on a `silent` store, or on one that began anew, and lets
    /// those sleep that were not used for [`crate::RaftConfig::hibernate_after`]. Dropping the future leaves no group behind that could not
    /// be woken.
    pub async fn hibernate(&self, silent: BTreeSet<StoreId>) {
        self.registry().set_silent(silent.clone());
        let groups = self.list();
        self.wake_overdue(&groups, &silent).await;
        if let Some(after) = self.config().hibernate_after {
            self.lull(&groups, after, &silent).await;
        }
        metrics::set_asleep(groups.iter().filter(|group| group.is_asleep()).count());
    }

    async fn wake_overdue(&self, groups: &[Group], silent: &BTreeSet<StoreId>) {
        let is_overdue = |group: &&Group| {
            let Some(slept) = group.asleep_for() else { return false };
            let status = group.status();
            let lost_leader = status.leader.is_none_or(|(_, store)| silent.contains(&store));
            slept >= if status.is_leader { LEADER_SLEEP_MAX } else { SLEEP_MAX } || (lost_leader && !status.is_leader)
        };
        let overdue: Vec<&Group> = groups.iter().filter(is_overdue).collect();
        let count = u32::try_from(overdue.len()).unwrap_or(u32::MAX).max(1);
        let pause = STAGGER.min(self.config().election_min / count);
        for group in overdue {
            group.wake(false);
            tokio::time::sleep(pause).await;
        }
    }

    async fn lull(&self, groups: &[Group], after: Duration, silent: &BTreeSet<StoreId>) {
        let mut dozing: Vec<&Group> = Vec::new();
        let mut asked: BTreeMap<StoreId, Vec<(ShardId, IdleGroup)>> = BTreeMap::new();
        for group in groups.iter().filter(|group| group.shard() != ShardId::META) {
            if dozing.len() == GROUPS_MAX {
                break;
            }
            let Some(others) = group.doze(after, silent) else { continue };
            dozing.push(group);
            for (store, idle) in others {
                asked.entry(store).or_default().push((group.shard(), idle));
            }
        }
        let refusals = join_all(asked.into_iter().map(|(store, idle)| self.ask(store, idle))).await;
        let refused: BTreeSet<ShardId> = refusals.into_iter().flatten().collect();
        for group in dozing.into_iter().filter(|group| refused.contains(&group.shard())) {
            // Its next heartbeat wakes those that agreed.
            group.wake(true);
        }
    }

    /// Asks one store; returns the groups that do not sleep there.
    async fn ask(&self, store: StoreId, idle: Vec<(ShardId, IdleGroup)>) -> Vec<ShardId> {
        let (shards, groups): (Vec<ShardId>, Vec<IdleGroup>) = idle.into_iter().unzip();
        let request = HibernateRequest { hello: Some(self.inbox().identity().hello()), groups };
        let answer = self.transport().hibernate(store, request, self.config().heartbeat).await;
        match answer {
            Ok(answer) => {
                let agreed = answer.agreed.into_iter().chain(std::iter::repeat(false));
                shards.into_iter().zip(agreed).filter(|(_, agreed)| !agreed).map(|(shard, _)| shard).collect()
            }
            Err(error) => {
                tracing::debug!(%store, %error, "groups do not sleep");
                shards
            }
        }
    }
}
