//! States of the meta group for tests.

use super::state::{Limits, StoreReport};
use super::{MetaCommand, MetaResponse, MetaState};
use std::collections::BTreeMap;

/// Groups that a store of [`report`] takes part in at most.
pub(crate) const GROUPS_MAX: u32 = 64;

/// What the node of a disk tells of it.
pub(crate) fn report(incarnation: &str, zone: &str) -> StoreReport {
    StoreReport {
        incarnation: incarnation.to_owned(),
        name: incarnation.to_owned(),
        zone: zone.to_owned(),
        rpc_address: format!("{incarnation}:1"),
        http_address: format!("{incarnation}:2"),
        level: 1,
        groups_max: GROUPS_MAX,
    }
}

/// A cluster founded by one store in each of the zones: 1, 2 and so on, with disks `disk-1`, `disk-2`.
pub(crate) fn founded(zones: &[&str]) -> MetaState {
    let mut state = MetaState::default();
    let members = (1..=zones.len() as u64).map(|id| (id, id)).collect();
    state.apply(MetaCommand::FoundCluster { cluster_id: "c".into(), members });
    (1..).zip(zones).for_each(|(id, zone)| register(&mut state, id, zone));
    state
}

/// Makes a store known.
pub(crate) fn register(state: &mut MetaState, id: u64, zone: &str) {
    let response = state.apply(MetaCommand::RegisterStore { store_id: Some(id), report: report(&format!("disk-{id}"), zone) });
    assert!(matches!(response, MetaResponse::Store { .. }), "{response:?}");
}

/// The command that creates a workspace with placement key 7.
pub(crate) fn created(id: &str, shards: u32, client_token: Option<&str>) -> MetaCommand {
    const HOUR_MS: i64 = 3_600_000;
    let (out_of_order_window_ms, late_window_ms, retention_ms) = (HOUR_MS, HOUR_MS, 24 * HOUR_MS);
    MetaCommand::CreateWorkspace {
        id: id.to_owned(),
        alias: None,
        placement_key: 7,
        wrapped_key: None,
        shards,
        limits: Limits { version: 0, out_of_order_window_ms, late_window_ms, retention_ms, exemplars_max: 0 },
        tags: BTreeMap::new(),
        client_token: client_token.map(str::to_owned),
        now_ms: 1,
    }
}

/// Creates a workspace.
pub(crate) fn workspace(state: &mut MetaState, id: &str, shards: u32) {
    let response = state.apply(created(id, shards, None));
    assert!(matches!(response, MetaResponse::Workspace { .. }), "{response:?}");
}
