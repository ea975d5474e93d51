//! At rest, all nodes know the same of the cluster, and all replicas of a shard hold the same.

use super::store::Store;
use model::{ShardId, StoreId};
use node::meta::MetaState;
use node::node::Node;
use node::shard::LocalShard;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What is still waited for, until all agree.
///
/// # Errors
/// Two replicas that applied the same entries differ.
pub(super) fn look(stores: &BTreeMap<StoreId, Arc<Store>>) -> Result<Option<String>, String> {
    let mut nodes = BTreeMap::new();
    for (id, store) in stores {
        let Some(node) = store.node() else { return Ok(Some(format!("store {id} to be ready"))) };
        nodes.insert(*id, node);
    }
    let states: Vec<(StoreId, Arc<MetaState>)> = nodes.iter().map(|(id, node)| (*id, node.meta.get())).collect();
    let Some((_, newest)) = states.iter().max_by_key(|(_, state)| state.revision) else { return Ok(None) };
    for (id, state) in &states {
        if state.revision < newest.revision {
            return Ok(Some(format!("store {id} to know revision {}", newest.revision)));
        }
        if state != newest {
            return Err(format!("store {id} knows something else of the cluster at revision {}", state.revision));
        }
    }
    let mut groups = Vec::new();
    for shard in newest.shards.keys() {
        match replicas(&nodes, newest, *shard) {
            Ok(replicas) => groups.push(replicas),
            Err(waits) => return Ok(Some(waits)),
        }
    }
    for replicas in groups {
        if let Some(reason) = compare(&replicas)? {
            return Ok(Some(reason));
        }
    }
    Ok(None)
}

/// The open replicas of a shard, all of which have applied the same entries; or what is waited for.
fn replicas(nodes: &BTreeMap<StoreId, Arc<Node>>, state: &MetaState, shard: u64) -> Result<Vec<Arc<LocalShard>>, String> {
    if state.changes.contains_key(&shard) {
        return Err(format!("a change of shard {shard}"));
    }
    let records = state.shards.get(&shard).into_iter().flat_map(|record| &record.replicas);
    let mut replicas: Vec<Arc<LocalShard>> = Vec::new();
    for record in records {
        let local = nodes.get(&StoreId(record.store)).and_then(|node| node.shards.get(ShardId(shard)));
        let local = local.filter(|local| local.replica.0 == record.replica);
        replicas.push(local.ok_or_else(|| format!("replica {} of shard {shard} to be open", record.replica))?);
    }
    let applied = |local: &Arc<LocalShard>| local.shard.applied().map(|point| point.index);
    if replicas.windows(2).all(|two| applied(&two[0]) == applied(&two[1])) {
        Ok(replicas)
    } else {
        let have: Vec<_> = replicas.iter().map(applied).collect();
        Err(format!("the replicas of shard {shard} to apply the same, they have {have:?}"))
    }
}

fn compare(replicas: &[Arc<LocalShard>]) -> Result<Option<String>, String> {
    let mut first = None;
    for local in replicas {
        let Ok(digest) = local.shard.digest() else { return Ok(Some(format!("replica {} to be read", local.replica))) };
        let holds = (digest, local.shard.map_state(), local.shard.limits());
        match &first {
            None => first = Some((local.replica, holds)),
            Some((_, expected)) if *expected == holds => {}
            Some((other, expected)) => {
                return Err(format!(
                    "shard {}: replicas {other} and {} differ after entry {:?}: {expected:?} and {holds:?}",
                    local.id,
                    local.replica,
                    local.shard.applied()
                ));
            }
        }
    }
    Ok(None)
}
