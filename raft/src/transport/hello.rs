//! Who we are and whom we talk to.

use crate::error::HelloError;
use model::StoreId;
use parking_lot::RwLock;
use proto::raft::Hello;
use std::sync::Arc;

/// Oldest protocol this binary speaks.
pub const PROTOCOL_MIN: u32 = 1;
/// Newest protocol this binary speaks.
pub const PROTOCOL_MAX: u32 = 1;

#[derive(Debug)]
struct Inner {
    store: StoreId,
    incarnation: u64,
    binary_version: String,
    feature_level: u32,
    cluster: RwLock<Vec<u8>>,
}

/// This store's identity; cheap to clone. The cluster id is set once, when the store founds or joins a cluster.
#[derive(Clone, Debug)]
pub struct Identity(Arc<Inner>);

impl Identity {
    /// Describes this store. `incarnation` must change with every start of the process.
    #[must_use]
    pub fn new(store: StoreId, incarnation: u64, binary_version: &str, feature_level: u32) -> Self {
        let binary_version = binary_version.to_owned();
        Self(Arc::new(Inner { store, incarnation, binary_version, feature_level, cluster: RwLock::default() }))
    }

    /// This store.
    #[must_use]
    pub fn store(&self) -> StoreId {
        self.0.store
    }

    /// The cluster's id; empty before it is known.
    #[must_use]
    pub fn cluster(&self) -> Vec<u8> {
        self.0.cluster.read().clone()
    }

    /// Sets the cluster's id.
    ///
    /// # Errors
    /// Another one is set already.
    pub fn set_cluster(&self, cluster: &[u8]) -> Result<(), HelloError> {
        let mut current = self.0.cluster.write();
        if !current.is_empty() && *current != cluster {
            return Err(HelloError::Cluster { ours: hex(&current), theirs: hex(cluster) });
        }
        *current = cluster.to_vec();
        Ok(())
    }

    /// What we say first.
    #[must_use]
    pub fn hello(&self) -> Hello {
        Hello {
            cluster_id: self.cluster().into(),
            store_id: self.0.store.0,
            incarnation: self.0.incarnation,
            binary_version: self.0.binary_version.clone(),
            protocol_min: PROTOCOL_MIN,
            protocol_max: PROTOCOL_MAX,
            feature_level: self.0.feature_level,
        }
    }

    /// Judges what a peer said first. `expected` is the store we dialled; `None` when it dialled us. A cluster id that either side does
    /// not know yet passes: bootstrap happens over these connections.
    ///
    /// # Errors
    /// What differs, with both values.
    pub fn check(&self, theirs: &Hello, expected: Option<StoreId>) -> Result<StoreId, HelloError> {
        let ours = self.hello();
        if !ours.cluster_id.is_empty() && !theirs.cluster_id.is_empty() && ours.cluster_id != theirs.cluster_id {
            return Err(HelloError::Cluster { ours: hex(&ours.cluster_id), theirs: hex(&theirs.cluster_id) });
        }
        if theirs.protocol_min > ours.protocol_max || theirs.protocol_max < ours.protocol_min {
            return Err(HelloError::Protocol {
                ours_min: ours.protocol_min,
                ours_max: ours.protocol_max,
                theirs_min: theirs.protocol_min,
                theirs_max: theirs.protocol_max,
            });
        }
        let actual = StoreId(theirs.store_id);
        match expected {
            Some(expected) if expected != actual => Err(HelloError::Store { expected, actual }),
            _ => Ok(actual),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(store: u64, cluster: &[u8]) -> Identity {
        let identity = Identity::new(StoreId(store), 1, "0.1.0", 1);
        identity.set_cluster(cluster).unwrap();
        identity
    }

    #[test]
    fn refusal_names_both_values() {
        let ours = identity(1, &[0xab]);
        let refusal = ours.check(&identity(2, &[0xcd]).hello(), None).unwrap_err();
        assert_eq!(refusal.to_string(), "cluster id differs: ours is ab, theirs is cd");
        let refusal = ours.check(&identity(2, &[0xab]).hello(), Some(StoreId(3))).unwrap_err();
        assert_eq!(refusal.to_string(), "store differs: expected 3, reached 2");
        let newer = Hello { protocol_min: 2, protocol_max: 4, ..identity(2, &[0xab]).hello() };
        assert_eq!(ours.check(&newer, None).unwrap_err().to_string(), "protocol differs: ours is 1..=1, theirs is 2..=4");
        assert_eq!(ours.check(&identity(2, &[]).hello(), None), Ok(StoreId(2)));
    }

    #[test]
    fn cluster_id_is_set_once() {
        let ours = identity(1, &[7]);
        assert!(ours.set_cluster(&[7]).is_ok());
        assert!(ours.set_cluster(&[8]).is_err());
        assert_eq!(ours.cluster(), [7]);
    }
}
