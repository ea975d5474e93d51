//! The one node that may lose what it stored, from its choice until the cluster holds everything as often as it should again.

use super::{Fault, Nemesis, NotInjected};
use tokio::sync::OwnedSemaphorePermit;

/// A node of which a fault has hold.
pub(super) struct Victim {
    pub(super) node: usize,
    /// The id of the store that it ran with, if it told.
    pub(super) store: Option<u64>,
    fragile: OwnedSemaphorePermit,
    taken: OwnedSemaphorePermit,
}

impl Nemesis {
    /// Takes hold of a node: it must run, nobody else may have it, and the cluster must be whole. From then on its end is no finding.
    pub(super) async fn seize(&self, node: usize) -> Result<Victim, NotInjected> {
        let fragile = self.take_fragile().await?;
        let taken = self.take(node).await?;
        let store = self.store_of(node).await;
        self.cluster.excuse(node, true);
        Ok(Victim { node, store, fragile, taken })
    }

    /// Lets go of a node to which nothing was done.
    pub(super) async fn release(&self, victim: Victim) {
        self.cluster.excuse(victim.node, false);
        self.start(victim.node).await;
    }

    /// Lets the node run on as any other, and waits until the cluster is whole.
    pub(super) async fn bring_back(&self, victim: Victim, fault: Fault) {
        let Victim { node, store, fragile, taken } = victim;
        // A node that ended over what was done to it is taken note of before it loses its excuse.
        self.cluster.reap(&self.shared.findings).await;
        self.cluster.excuse(node, false);
        self.start(node).await;
        drop(taken);
        self.until_whole(fault, store, fragile).await;
    }
}
