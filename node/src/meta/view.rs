//! The newest meta state this node has applied or fetched, for everyone to read and watch.

use super::state::MetaState;
use std::sync::Arc;
use tokio::sync::watch;

/// A handle on the newest state; cheap to clone.
#[derive(Clone, Debug)]
pub struct MetaView {
    sender: Arc<watch::Sender<Arc<MetaState>>>,
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
        Arc::clone(&self.sender.borrow())
    }

    /// Takes `state` if it is newer than what is shown.
    pub fn publish(&self, state: Arc<MetaState>) {
        self.sender.send_if_modified(|shown| {
            let newer = state.revision > shown.revision || shown.cluster_id.is_none() && state.cluster_id.is_some();
            if newer {
                *shown = state;
            }
            newer
        });
    }

    /// Watches for newer states.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Arc<MetaState>> {
        self.sender.subscribe()
    }
}
