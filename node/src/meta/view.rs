//! The newest meta state this node has applied or fetched, for everyone to read and watch, and what requests need of it, computed once
//! per change.

use super::state::{MetaState, WorkspaceRecord};
use model::generation::{GenerationError, GenerationList};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::watch;
use tokio::time::Instant;

/// A workspace as requests use it.
#[derive(Clone, Debug)]
pub struct Workspace {
    /// What the meta group knows of it.
    pub record: WorkspaceRecord,
    /// The record's shard map in the form that routing uses; an error is a broken invariant of the meta group.
    pub generations: Result<GenerationList, GenerationError>,
}

/// One revision and what follows from it.
#[derive(Debug, Default)]
struct Shown {
    state: Arc<MetaState>,
    workspaces: BTreeMap<String, Arc<Workspace>>,
    confirmed_ms: Option<i64>,
}

impl Shown {
    /// Computes what follows from `state`; workspaces that are as `before` had them are shared with it.
    fn new(state: Arc<MetaState>, before: &Self) -> Self {
        let workspace = |record: &WorkspaceRecord| match before.workspaces.get(&record.id) {
            Some(known) if known.record == *record => Arc::clone(known),
            _ => {
                let generations = record.generation_list();
                if let Err(e) = &generations {
                    tracing::error!(workspace = record.id, error = %e, "the workspace has no shard map");
                }
                Arc::new(Workspace { record: record.clone(), generations })
            }
        };
        let workspaces = state.workspaces.iter().map(|(id, record)| (id.clone(), workspace(record))).collect();
        Self { confirmed_ms: state.confirmed_ms(), state, workspaces }
    }

    fn is_older_than(&self, state: &MetaState) -> bool {
        state.revision > self.state.revision || self.state.cluster_id.is_none() && state.cluster_id.is_some()
    }
}

/// A handle on the newest state; cheap to clone.
#[derive(Clone, Debug)]
pub struct MetaView {
    sender: Arc<watch::Sender<Arc<Shown>>>,
}

impl Default for MetaView {
    fn default() -> Self {
        Self { sender: Arc::new(watch::Sender::new(Arc::default())) }
    }
}

impl MetaView {
    /// The newest state.
    #[must_use]
    pub fn get(&self) -> Arc<MetaState> {
        Arc::clone(&self.sender.borrow().state)
    }

    /// One workspace of the newest state.
    #[must_use]
    pub fn workspace(&self, id: &str) -> Option<Arc<Workspace>> {
        self.sender.borrow().workspaces.get(id).cloned()
    }

    /// A state of at least this revision; none by `deadline`.
    pub async fn reached(&self, revision: u64, deadline: Instant) -> Option<Arc<MetaState>> {
        let mut changes = self.watch();
        loop {
            let newest = changes.newest();
            if newest.revision >= revision {
                return Some(newest);
            }
            if !tokio::time::timeout_at(deadline, changes.changed()).await.ok()? {
                return None;
            }
        }
    }

    /// The workspace with a map that was decided later than that of `known`; none by `deadline`, or if the workspace is gone.
    pub async fn newer_map(&self, known: &WorkspaceRecord, deadline: Instant) -> Option<Arc<Workspace>> {
        let mut changes = self.watch();
        loop {
            changes.newest();
            let newest = self.workspace(&known.id)?;
            if newest.record.decided_rev > known.decided_rev {
                return Some(newest);
            }
            if !tokio::time::timeout_at(deadline, changes.changed()).await.ok()? {
                return None;
            }
        }
    }

    /// [`MetaState::confirmed_ms`] of the newest state.
    #[must_use]
    pub fn confirmed_ms(&self) -> Option<i64> {
        self.sender.borrow().confirmed_ms
    }

    /// Takes `state` if it is newer than what is shown.
    pub fn publish(&self, state: Arc<MetaState>) {
        let before = Arc::clone(&self.sender.borrow());
        if !before.is_older_than(&state) {
            return;
        }
        let next = Arc::new(Shown::new(state, &before));
        self.sender.send_if_modified(|shown| {
            let newer = shown.is_older_than(&next.state);
            if newer {
                *shown = next;
            }
            newer
        });
    }

    /// Watches for newer states, the present one included.
    #[must_use]
    pub fn watch(&self) -> MetaChanges {
        MetaChanges(self.sender.subscribe())
    }
}

/// Follows the meta state; intermediate revisions may be skipped.
#[derive(Debug)]
pub struct MetaChanges(watch::Receiver<Arc<Shown>>);

impl MetaChanges {
    /// The newest state; from now on only newer ones count as changes.
    pub fn newest(&mut self) -> Arc<MetaState> {
        Arc::clone(&self.0.borrow_and_update().state)
    }

    /// Waits until there is a state newer than the one seen last; answers `false` when there will be none.
    pub async fn changed(&mut self) -> bool {
        self.0.changed().await.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meta::MetaCommand;
    use crate::meta::state::Limits;
    use crate::meta::testing::{register, workspace};

    #[tokio::test]
    async fn only_newer_states_are_shown_and_unchanged_workspaces_are_kept() {
        let view = MetaView::default();
        let mut changes = view.watch();
        let mut state = MetaState::default();
        state.apply(MetaCommand::FoundCluster { cluster_id: "c".into(), members: vec![(1, 1)] });
        register(&mut state, 1, "");
        workspace(&mut state, "one", 3);
        let old = Arc::new(state.clone());
        view.publish(Arc::clone(&old));
        assert!(changes.changed().await);
        assert_eq!(changes.newest().revision, old.revision);
        let one = view.workspace("one").unwrap();
        assert_eq!(one.generations.as_ref().unwrap().as_slice()[0].shards.len(), 3);

        workspace(&mut state, "two", 3);
        state.apply(MetaCommand::ReportTime { store_id: 1, now_ms: 9, synced: None });
        view.publish(Arc::new(state.clone()));
        view.publish(old);
        assert_eq!((view.get().revision, view.confirmed_ms()), (state.revision, Some(9)));
        assert!(view.workspace("two").is_some());
        assert!(Arc::ptr_eq(&one, &view.workspace("one").unwrap()), "an unchanged workspace is not computed again");

        let limits = Limits { version: 0, out_of_order_window_ms: 5, late_window_ms: 5, retention_ms: 5, exemplars_max: 5 };
        state.apply(MetaCommand::SetLimits { id: "one".into(), limits });
        state.apply(MetaCommand::DeleteWorkspace { id: "two".into() });
        view.publish(Arc::new(state));
        assert_eq!(view.workspace("one").unwrap().record.limits.version, 2);
        assert!(view.workspace("two").is_none());
    }
}
