//! How a command changes the state: a pure function of both.

mod change;
mod loss;
mod scale;
mod service;

use super::command::{MetaCommand, MetaResponse};
use super::placement;
use super::service::ServiceRecord;
use super::state::{
    FIRST_ALLOCATED_REPLICA, GenerationRecord, Limits, MetaState, ReplicaRecord, ReplicaRole, ShardRecord, StoreRecord, TokenRecord,
    WorkspaceRecord,
};
use auth::directory::Outcome;
use change::Begin;
use model::ShardId;
use scale::BeginScale;

/// How long a client token is remembered.
const TOKEN_MS: i64 = 24 * 3_600_000;

impl MetaState {
    /// Applies one command. `revision` grows if, and only if, anything changed.
    pub fn apply(&mut self, command: MetaCommand) -> MetaResponse {
        match command {
            MetaCommand::FoundCluster { cluster_id, members } => self.found_cluster(cluster_id, &members),
            MetaCommand::Confirm => MetaResponse::Revision { revision: self.revision },
            MetaCommand::BeginChange { shard, conf_ver, add, remove, reason, now_ms } => {
                self.begin_change(Begin { shard, conf_ver, add, remove, reason, now_ms })
            }
            MetaCommand::CancelChange { shard } => self.cancel_change(shard),
            MetaCommand::FinishChange { shard, voters } => self.finish_change(shard, &voters),
            MetaCommand::MarkLost { shard, replica } => self.mark_lost(shard, replica),
            MetaCommand::PreferLeader { shard, store } => self.prefer_leader(shard, store),
            MetaCommand::SetDraining { store_id, is_draining } => self.set_draining(store_id, is_draining),
            MetaCommand::RemoveStore { store_id } => self.remove_store(store_id),
            MetaCommand::RegisterStore { store_id, report } => self.register_store(report.record(store_id.unwrap_or(0))),
            MetaCommand::AcceptLoss { survivor, cluster_id, now_ms } => self.accept_loss(survivor, cluster_id, now_ms),
            MetaCommand::RaiseLevel { level } => self.raise_level(level),
            MetaCommand::ReportTime { store_id, now_ms, synced } => self.report_time(store_id, now_ms, synced),
            MetaCommand::CreateWorkspace { id, alias, placement_key, wrapped_key, shards, limits, tags, client_token, now_ms } => {
                let (generations, pending, decided_rev) = (Vec::new(), None, 1);
                let (created_ms, service) = (now_ms, ServiceRecord::default());
                let workspace = WorkspaceRecord {
                    id,
                    alias,
                    created_ms,
                    placement_key,
                    wrapped_key,
                    generations,
                    pending,
                    decided_rev,
                    limits,
                    tags,
                    service,
                };
                self.create_workspace(workspace, shards, client_token)
            }
            MetaCommand::Access { command } => self.change_access(command),
            MetaCommand::Serve { id, command, token, now_ms } => self.serve(id, command, token, now_ms),
            MetaCommand::DeleteWorkspace { id } => self.delete_workspace(id),
            MetaCommand::SetLimits { id, limits } => self.set_limits(id, limits),
            MetaCommand::BeginScale { id, shards, from_ms, decide_by_ms, interval_ms, reason, now_ms } => {
                self.begin_scale(BeginScale { id, shards, from_ms, decide_by_ms, interval_ms, reason, now_ms })
            }
            MetaCommand::AcceptFence { id, rev, shard } => self.accept_fence(id, rev, shard),
            MetaCommand::AbortScale { id, rev } => self.abort_scale(id, rev),
            MetaCommand::RetireGenerations { id, before_ms } => self.retire_generations(id, before_ms),
        }
    }

    fn change_access(&mut self, command: auth::directory::Command) -> MetaResponse {
        match self.directory.apply(command) {
            Ok(outcome) => {
                self.revision += u64::from(outcome == Outcome::Changed);
                MetaResponse::Access { outcome }
            }
            Err(fact) => MetaResponse::AccessRefused { fact },
        }
    }

    fn found_cluster(&mut self, cluster_id: String, members: &[(u64, u64)]) -> MetaResponse {
        if self.cluster_id.is_none() {
            self.cluster_id = Some(cluster_id);
            let voter = |(replica, store): &(u64, u64)| ReplicaRecord {
                replica: *replica,
                store: *store,
                role: ReplicaRole::Voter,
                is_lost: false,
            };
            let replicas = members.iter().map(voter).collect();
            self.group = Some(ShardRecord { shard: ShardId::META.0, workspace: String::new(), replicas, conf_ver: 1 });
            self.next_shard = 1;
            self.next_replica = FIRST_ALLOCATED_REPLICA;
            self.revision += 1;
        }
        MetaResponse::Done
    }

    fn register_store(&mut self, mut record: StoreRecord) -> MetaResponse {
        if self.removed_stores.values().any(|incarnation| *incarnation == record.report.incarnation) {
            let reason = "the store was removed from the cluster: it can join again with an empty disk".to_owned();
            return MetaResponse::Conflict { id: record.store_id.to_string(), reason };
        }
        if record.report.level < self.level {
            let reason =
                format!("its binary is of feature level {}, the cluster of {}: it needs a newer one", record.report.level, self.level);
            return MetaResponse::Conflict { id: record.store_id.to_string(), reason };
        }
        if let Some(known) = self.stores.values_mut().find(|s| s.report.incarnation == record.report.incarnation) {
            if record.store_id != 0 && record.store_id != known.store_id {
                let reason = format!("its disk is known as store {}", known.store_id);
                return MetaResponse::Conflict { id: record.store_id.to_string(), reason };
            }
            record.store_id = known.store_id;
            record.reported_ms = known.reported_ms;
            record.is_draining = known.is_draining;
            record.synced = known.synced;
            if *known != record {
                *known = record.clone();
                self.revision += 1;
            }
            return MetaResponse::Store { store: record };
        }
        if self.stores.contains_key(&record.store_id) || self.removed_stores.contains_key(&record.store_id) {
            let reason = "the store is known with another disk".to_owned();
            return MetaResponse::Conflict { id: record.store_id.to_string(), reason };
        }
        if record.store_id == 0 {
            record.store_id = self.next_store.max(1);
        }
        // Founders take 1..=n; whoever joins later must come after them even if some have not registered yet.
        self.next_store = self.next_store.max(record.store_id + 1).max(FIRST_ALLOCATED_REPLICA);
        self.stores.insert(record.store_id, record.clone());
        self.revision += 1;
        MetaResponse::Store { store: record }
    }

    fn raise_level(&mut self, level: u32) -> MetaResponse {
        if let Some(behind) = self.stores.values().find(|store| store.report.level < level) {
            let reason = format!("store {} is of feature level {}", behind.store_id, behind.report.level);
            return MetaResponse::Conflict { id: level.to_string(), reason };
        }
        if level > self.level {
            self.level = level;
            self.revision += 1;
        }
        MetaResponse::Done
    }

    fn report_time(&mut self, store_id: u64, now_ms: i64, synced: Option<u64>) -> MetaResponse {
        match self.stores.get_mut(&store_id) {
            Some(store) => {
                store.reported_ms = now_ms;
                store.synced = store.synced.max(synced.unwrap_or(0));
                self.revision += 1;
                MetaResponse::Done
            }
            None => MetaResponse::NotFound { id: store_id.to_string() },
        }
    }

    fn create_workspace(&mut self, mut workspace: WorkspaceRecord, shards: u32, client_token: Option<String>) -> MetaResponse {
        let now_ms = workspace.created_ms;
        self.tokens.retain(|_, t| t.created_ms > now_ms.saturating_sub(TOKEN_MS));
        if let Some(token) = client_token.as_ref().and_then(|t| self.tokens.get(t)) {
            return match self.workspaces.get(&token.workspace) {
                Some(made) if made.alias == workspace.alias && made.tags == workspace.tags => {
                    MetaResponse::Workspace { workspace: Box::new(made.clone()) }
                }
                _ => MetaResponse::Conflict {
                    id: token.workspace.clone(),
                    reason: "the client token was used for another request".to_owned(),
                },
            };
        }
        if self.workspaces.contains_key(&workspace.id) {
            return MetaResponse::Conflict { id: workspace.id, reason: "it exists".to_owned() };
        }
        if self.stores.is_empty() {
            return MetaResponse::Conflict { id: workspace.id, reason: "no store is known".to_owned() };
        }
        let ids = match self.new_shards(&workspace.id, shards.max(1)) {
            Ok(ids) => ids,
            Err(full) => return *full,
        };
        workspace.generations = vec![GenerationRecord { generation: 1, rev: 1, from_ms: i64::MIN, shards: ids }];
        workspace.limits.version = 1;
        if let Some(token) = client_token {
            self.tokens.insert(token, TokenRecord { workspace: workspace.id.clone(), created_ms: now_ms });
        }
        self.workspaces.insert(workspace.id.clone(), workspace.clone());
        self.revision += 1;
        MetaResponse::Workspace { workspace: Box::new(workspace) }
    }

    /// Places so many new shards of a workspace, or none if there is no room for all.
    fn new_shards(&mut self, workspace: &str, count: u32) -> Result<Vec<u64>, Box<MetaResponse>> {
        let replication = placement::replication_target(placement::kept_stores(self));
        if placement::room(self) < count as usize * replication {
            let reason = "the stores take part in as many groups as they are set up for".to_owned();
            return Err(Box::new(MetaResponse::Full { id: workspace.to_owned(), reason }));
        }
        let mut ids = Vec::new();
        for _ in 0..count {
            let stores = placement::choose_stores(self, replication);
            let replicas = placement::allocate_replicas(self, &stores);
            let shard = self.next_shard;
            self.next_shard += 1;
            self.shards.insert(shard, ShardRecord { shard, workspace: workspace.to_owned(), replicas, conf_ver: 1 });
            ids.push(shard);
        }
        Ok(ids)
    }

    fn delete_workspace(&mut self, id: String) -> MetaResponse {
        if self.workspaces.remove(&id).is_none() {
            return MetaResponse::NotFound { id };
        }
        self.shards.retain(|_, s| s.workspace != id);
        self.changes.retain(|shard, _| *shard == ShardId::META.0 || self.shards.contains_key(shard));
        self.revision += 1;
        MetaResponse::Done
    }

    fn set_limits(&mut self, id: String, mut limits: Limits) -> MetaResponse {
        let Some(workspace) = self.workspaces.get_mut(&id) else { return MetaResponse::NotFound { id } };
        limits.version = workspace.limits.version;
        if limits != workspace.limits {
            limits.version += 1;
            workspace.limits = limits;
            self.revision += 1;
        }
        MetaResponse::Workspace { workspace: Box::new(workspace.clone()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meta::command::{decode, encode};
    use crate::meta::state::StoreReport;
    use crate::meta::testing::{self, GROUPS_MAX, created, report};

    fn register(state: &mut MetaState, incarnation: &str, store_id: Option<u64>) -> MetaResponse {
        state.apply(MetaCommand::RegisterStore { store_id, report: report(incarnation, "") })
    }

    fn create(state: &mut MetaState, id: &str, token: Option<&str>) -> MetaResponse {
        state.apply(created(id, 3, token))
    }

    fn founded(stores: usize) -> MetaState {
        testing::founded(&vec![""; stores])
    }

    #[test]
    fn c12_a_wiped_disk_cannot_take_a_founders_id() {
        let mut state = founded(3);
        assert!(matches!(register(&mut state, "new-disk", Some(2)), MetaResponse::Conflict { .. }));
        let MetaResponse::Store { store } = register(&mut state, "new-disk", None) else { panic!("refused") };
        assert!(store.store_id > 3);
        assert!(matches!(register(&mut state, "new-disk", None), MetaResponse::Store { store: again } if again == store));
    }

    #[test]
    fn c12_after_an_accepted_loss_the_survivor_holds_everything_and_the_others_stay_away() {
        let mut state = testing::founded(&["", "", "", "", ""]);
        for n in 0..4 {
            testing::workspace(&mut state, &format!("w{n}"), 3);
        }
        state.apply(MetaCommand::SetDraining { store_id: 2, is_draining: true });
        let had: Vec<u64> = state.shards.values().filter(|s| s.replicas.iter().any(|r| r.store == 2)).map(|s| s.shard).collect();
        let before = state.shards.len();
        let accept = |state: &mut MetaState| state.apply(MetaCommand::AcceptLoss { survivor: 2, cluster_id: "d".into(), now_ms: 9 });
        assert_eq!(accept(&mut state), MetaResponse::Done);
        assert_eq!((state.stores.len(), state.shards.len(), state.cluster_id.as_deref()), (1, before, Some("d")));
        assert!(state.records().all(|r| r.replicas.len() == 1 && r.replicas[0].store == 2 && r.replicas[0].role == ReplicaRole::Voter));
        let anew: Vec<u64> = state.shards.values().filter(|s| s.conf_ver == 1).map(|s| s.shard).collect();
        assert!(state.shards.keys().all(|shard| had.contains(shard) != anew.contains(shard)), "what it had not begins empty");
        assert_eq!(state.recoveries[0].empty_shards, anew);
        assert!(!state.stores[&2].is_draining && state.confirmed_ms() == Some(9));
        let revision = state.revision;
        accept(&mut state);
        assert_eq!(state.revision, revision, "once");
        assert!(matches!(register(&mut state, "disk-1", None), MetaResponse::Conflict { .. }), "a lost disk does not come back");
        assert!(matches!(register(&mut state, "new-disk", None), MetaResponse::Store { .. }));
    }

    #[test]
    fn pitfall_09_what_was_told_of_a_log_outlives_all_who_heard_it_and_never_goes_back() {
        let mut state = founded(2);
        let tell = |state: &mut MetaState, synced| state.apply(MetaCommand::ReportTime { store_id: 1, now_ms: 9, synced });
        tell(&mut state, None);
        assert!(!String::from_utf8_lossy(&encode(&state)).contains("synced"), "an older binary can read it");
        tell(&mut state, Some(7));
        tell(&mut state, Some(5));
        tell(&mut state, None);
        register(&mut state, "disk-1", Some(1));
        assert_eq!(decode::<MetaState>(&encode(&state)).unwrap().stores[&1].synced, 7);
    }

    #[test]
    fn the_feature_level_rises_once_all_can_and_no_older_binary_comes_back() {
        let mut state = founded(2);
        let level = state.stores[&1].report.level;
        let newer = |id: u64| StoreReport { level: level + 1, ..state.stores[&id].report.clone() };
        let (one, two) = (newer(1), newer(2));
        state.apply(MetaCommand::RegisterStore { store_id: Some(1), report: one });
        assert!(matches!(state.apply(MetaCommand::RaiseLevel { level: level + 1 }), MetaResponse::Conflict { .. }), "one cannot yet");
        state.apply(MetaCommand::RegisterStore { store_id: Some(2), report: two });
        assert_eq!((state.apply(MetaCommand::RaiseLevel { level: level + 1 }), state.level), (MetaResponse::Done, level + 1));
        assert!(matches!(register(&mut state, "disk-1", Some(1)), MetaResponse::Conflict { .. }));
        state.apply(MetaCommand::RaiseLevel { level });
        assert_eq!(state.level, level + 1, "it never falls");
    }

    #[test]
    fn the_first_cluster_id_stays() {
        let mut state = founded(1);
        state.apply(MetaCommand::FoundCluster { cluster_id: "other".into(), members: vec![] });
        assert_eq!(state.cluster_id.as_deref(), Some("c"));
    }

    #[test]
    fn replicas_spread_over_stores_and_leaders_rotate() {
        let mut state = founded(3);
        create(&mut state, "default", None);
        create(&mut state, "system", None);
        let leaders: Vec<u64> = state.shards.values().map(|s| s.replicas[0].store).collect();
        for store in 1..=3 {
            assert_eq!(leaders.iter().filter(|l| **l == store).count(), 2, "{leaders:?}");
        }
        for shard in state.shards.values() {
            let mut stores: Vec<u64> = shard.replicas.iter().map(|r| r.store).collect();
            stores.sort_unstable();
            assert_eq!(stores, [1, 2, 3]);
            assert!(shard.replicas.iter().all(|r| r.replica >= FIRST_ALLOCATED_REPLICA));
        }
    }

    #[test]
    fn c12_replication_is_one_or_three_never_two() {
        assert_eq!([1, 2, 3, 4].map(placement::replication_target), [1, 1, 3, 3]);
    }

    #[test]
    fn a_repeated_client_token_creates_one_workspace() {
        let mut state = founded(1);
        let first = create(&mut state, "ws-1", Some("token"));
        assert!(matches!(first, MetaResponse::Workspace { .. }));
        assert_eq!(create(&mut state, "ws-2", Some("token")), first);
        assert_eq!(state.workspaces.len(), 1);
        assert!(matches!(create(&mut state, "ws-1", None), MetaResponse::Conflict { .. }));
    }

    #[test]
    fn c12_a_store_takes_part_in_a_bounded_number_of_groups() {
        let mut state = founded(3);
        let made = (0..100).take_while(|i| matches!(create(&mut state, &format!("ws-{i}"), None), MetaResponse::Workspace { .. })).count();
        assert_eq!(made, (GROUPS_MAX as usize - 1) / 3);
        let before = state.clone();
        assert!(matches!(create(&mut state, "ws-more", None), MetaResponse::Full { .. }));
        assert_eq!(state, before);
        state.apply(MetaCommand::DeleteWorkspace { id: "ws-0".into() });
        assert!(matches!(create(&mut state, "ws-more", None), MetaResponse::Workspace { .. }));
    }

    #[test]
    fn deleting_a_workspace_frees_its_shards_and_no_id_is_used_twice() {
        let mut state = founded(3);
        create(&mut state, "ws-1", None);
        let before = state.next_shard;
        assert_eq!(state.apply(MetaCommand::DeleteWorkspace { id: "ws-1".into() }), MetaResponse::Done);
        assert!(state.shards.is_empty());
        assert!(matches!(state.apply(MetaCommand::DeleteWorkspace { id: "ws-1".into() }), MetaResponse::NotFound { .. }));
        create(&mut state, "ws-1", None);
        assert!(state.shards.keys().all(|s| *s >= before));
    }
}
