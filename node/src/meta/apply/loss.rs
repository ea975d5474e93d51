//! What is left of a cluster whose majority was lost for good (`core.md` C12).

use crate::meta::command::MetaResponse;
use crate::meta::placement;
use crate::meta::state::{MetaState, Recovery, ReplicaRecord, ReplicaRole};

impl MetaState {
    /// Forgets all stores but `survivor`: their replicas, and their disks for ever. A shard that had no replica there begins anew, empty.
    pub(super) fn accept_loss(&mut self, survivor: u64, cluster_id: String, now_ms: i64) -> MetaResponse {
        if self.cluster_id.as_ref() == Some(&cluster_id) {
            return MetaResponse::Done;
        }
        if !self.stores.contains_key(&survivor) {
            return MetaResponse::NotFound { id: survivor.to_string() };
        }
        self.cluster_id = Some(cluster_id);
        let lost: Vec<u64> = self.stores.keys().copied().filter(|store| *store != survivor).collect();
        for store in &lost {
            if let Some(record) = self.stores.remove(store) {
                self.removed_stores.insert(*store, record.report.incarnation);
            }
        }
        if let Some(store) = self.stores.get_mut(&survivor) {
            (store.is_draining, store.reported_ms) = (false, store.reported_ms.max(now_ms));
        }
        self.changes.clear();
        let pending: Vec<(String, u64)> =
            self.workspaces.values().filter_map(|w| Some((w.id.clone(), w.pending.as_ref()?.generation.rev))).collect();
        for (workspace, rev) in pending {
            self.abort_scale(workspace, rev);
        }
        let mut empty = Vec::new();
        for shard in self.shards.values_mut() {
            keep(&mut shard.replicas, survivor);
            shard.conf_ver += 1;
            if shard.replicas.is_empty() {
                empty.push(shard.shard);
            }
        }
        if let Some(group) = &mut self.group {
            keep(&mut group.replicas, survivor);
            group.conf_ver += 1;
        }
        for shard in &empty {
            let replicas = placement::allocate_replicas(self, &[survivor]);
            if let Some(record) = self.shards.get_mut(shard) {
                (record.replicas, record.conf_ver) = (replicas, 1);
            }
        }
        self.recoveries.push(Recovery { survivor, lost_stores: lost, empty_shards: empty, at_ms: now_ms });
        self.revision += 1;
        MetaResponse::Done
    }
}

/// The replica on `survivor`; of a lost one and its successor, the successor.
fn keep(replicas: &mut Vec<ReplicaRecord>, survivor: u64) {
    let kept = replicas.iter().filter(|r| r.store == survivor && !r.is_lost).max_by_key(|r| r.role == ReplicaRole::Voter).copied();
    *replicas = kept.into_iter().map(|r| ReplicaRecord { role: ReplicaRole::Voter, ..r }).collect();
}
