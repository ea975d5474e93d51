use super::*;
use crate::meta::MetaCommand;
use crate::meta::testing::{founded, workspace};
use model::ShardId;

fn world(shards: u32) -> MetaState {
    let mut state = founded(&["", "", ""]);
    workspace(&mut state, "w", shards);
    state
}

fn begin(state: &mut MetaState, shards: u32, from_ms: i64) -> MetaResponse {
    let reason = ScaleReason::Asked;
    let (decide_by_ms, interval_ms, now_ms) = (from_ms - 3, 100, from_ms - 15);
    state.apply(MetaCommand::BeginScale { id: "w".into(), shards, from_ms, decide_by_ms, interval_ms, reason, now_ms })
}

fn accept(state: &mut MetaState, rev: u64, shard: u64) -> MetaResponse {
    state.apply(MetaCommand::AcceptFence { id: "w".into(), rev, shard })
}

fn abort(state: &mut MetaState, rev: u64) -> MetaResponse {
    state.apply(MetaCommand::AbortScale { id: "w".into(), rev })
}

#[test]
fn c8_a_generation_holds_once_all_current_shards_have_taken_its_fence() {
    let mut state = world(2);
    let MetaResponse::Workspace { workspace } = begin(&mut state, 4, 1000) else { panic!("refused") };
    let pending = workspace.pending.clone().unwrap().generation;
    assert_eq!((pending.generation, pending.rev, &pending.shards[..2]), (2, 2, &workspace.generations[0].shards[..]));
    assert_eq!((workspace.generations.len(), workspace.decided_rev), (1, 1));
    assert!(pending.shards.iter().all(|shard| state.record(ShardId(*shard)).unwrap().replicas.len() == 3));
    let revision = state.revision;
    assert_eq!(begin(&mut state, 4, 1000), MetaResponse::Workspace { workspace }, "the same command again changes nothing");
    assert!(matches!(begin(&mut state, 5, 1000), MetaResponse::Conflict { .. }), "one at a time");
    assert!(matches!(accept(&mut state, 2, pending.shards[3]), MetaResponse::Conflict { .. }), "a new shard has nothing to stop");
    assert_eq!(state.revision, revision);
    accept(&mut state, 2, pending.shards[1]);
    accept(&mut state, 2, pending.shards[1]);
    accept(&mut state, 1, pending.shards[0]);
    assert!(state.workspaces["w"].pending.is_some(), "an answer counts once, and for its revision");
    accept(&mut state, 2, pending.shards[0]);
    let workspace = state.workspaces["w"].clone();
    assert_eq!((workspace.pending, workspace.decided_rev, workspace.generations.last()), (None, 2, Some(&pending)));
    abort(&mut state, 2);
    assert_eq!(state.workspaces["w"].generations.len(), 2, "a decision is made once");
    assert!(matches!(begin(&mut state, 4, 1000), MetaResponse::Workspace { .. }), "it was begun, and is done");
    assert!(matches!(begin(&mut state, 6, 1099), MetaResponse::Conflict { .. }), "not so soon after the last");
    assert!(matches!(begin(&mut state, 4, 1100), MetaResponse::Conflict { .. }), "it has as many");
}

#[test]
fn c8_an_aborted_generation_takes_its_shards_along_and_its_revision_is_not_used_again() {
    let mut state = world(2);
    begin(&mut state, 3, 1000);
    let added = state.workspaces["w"].pending.as_ref().unwrap().generation.shards[2];
    accept(&mut state, 2, 1);
    abort(&mut state, 2);
    assert!(state.record(ShardId(added)).is_none());
    accept(&mut state, 2, 2);
    assert_eq!((state.workspaces["w"].generations.len(), state.workspaces["w"].decided_rev), (1, 2));
    begin(&mut state, 1, 2000);
    let pending = state.workspaces["w"].pending.clone().unwrap().generation;
    assert_eq!((pending.generation, pending.rev, pending.shards), (2, 3, vec![1]));
    abort(&mut state, 2);
    assert!(state.workspaces["w"].pending.is_some(), "that was another revision");
    abort(&mut state, 3);
    assert_eq!(state.shards.len(), 2, "the shards that were to close hold samples");
}

#[test]
fn c8_the_number_of_shards_is_bounded_and_there_must_be_room() {
    let mut state = world(2);
    for shards in [0, SHARDS_PER_WORKSPACE_MAX + 1] {
        assert!(matches!(begin(&mut state, shards, 1000), MetaResponse::Conflict { .. }));
    }
    let before = state.clone();
    assert!(matches!(begin(&mut state, 200, 1000), MetaResponse::Full { .. }));
    assert_eq!(state, before);
    let answer = state.apply(MetaCommand::AbortScale { id: "x".into(), rev: 2 });
    assert!(matches!(answer, MetaResponse::NotFound { .. }));
}
