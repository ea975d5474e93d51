//! Which node-local number is whose.

use super::{Engine, Owner, ShardIdentity, corrupt};
use crate::error::{Corruption, StoreError};
use crate::keys::{Family, MetaKey, MetaTag};
use crate::store::{Dataset, ShardStore, StoreInner};
use crate::wire::{Reader, check_crc, put_bytes, put_crc, put_varint};
use model::{ReplicaId, ShardId, WorkspaceId};
use rocksdb::WriteBatch;
use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

const FORMAT: u8 = 1;

/// What a number stands for. The numbers are stored; never change one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum NumberState {
    /// The replica's data.
    Live = 0,
    /// A copy that is being received.
    Staging = 1,
    /// Data that is being removed.
    Doomed = 2,
}

#[derive(Clone, Debug)]
pub(super) struct ShardRow {
    pub(super) local: u32,
    pub(super) identity: ShardIdentity,
    pub(super) state: NumberState,
    pub(super) open: Weak<StoreInner>,
    dataset: Weak<Dataset>,
}

impl ShardRow {
    /// Notes the open handle, and the data that its views may keep for longer.
    pub(super) fn watch(&mut self, store: &ShardStore, dataset: &Arc<Dataset>) {
        self.open = store.downgrade();
        self.dataset = Arc::downgrade(dataset);
    }
}

#[derive(Debug, Default)]
pub(super) struct Registry {
    next_local: u32,
    rows: BTreeMap<u32, ShardRow>,
}

impl Registry {
    /// Reads all numbers; those left staging become doomed.
    pub(super) fn load(engine: &Engine) -> Result<Self, StoreError> {
        let mut registry = Self { next_local: 1, rows: BTreeMap::new() };
        let mut iterator = engine.iterate(Family::Meta, &[], true);
        iterator.seek_to_first();
        while let Some((key, sealed)) = iterator.item() {
            let meta_key = MetaKey::decode(key).map_err(corrupt(Family::Meta, key))?;
            match meta_key.tag {
                MetaTag::Node => {
                    let value = engine.open(Family::Meta, Owner::NODE, key, sealed)?;
                    registry.next_local = decode_node(&value).map_err(corrupt(Family::Meta, key))?;
                }
                MetaTag::Identity => {
                    let value = engine.open(Family::Meta, Owner::NODE, key, sealed)?;
                    let (mut state, identity) = decode_identity(&value).map_err(corrupt(Family::Meta, key))?;
                    if state == NumberState::Staging {
                        state = NumberState::Doomed;
                    }
                    let local = meta_key.local;
                    registry.rows.insert(local, ShardRow { local, identity, state, open: Weak::new(), dataset: Weak::new() });
                }
                MetaTag::Manifest | MetaTag::Pending => {}
            }
            iterator.next();
        }
        iterator.status()?;
        Ok(registry)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &ShardRow> {
        self.rows.values()
    }

    pub(super) fn live(&self) -> impl Iterator<Item = &ShardRow> {
        self.rows.values().filter(|row| row.state == NumberState::Live)
    }

    pub(super) fn find(&mut self, shard: ShardId, replica: ReplicaId) -> Option<&mut ShardRow> {
        self.rows.values_mut().find(|row| row.state == NumberState::Live && row.identity.shard == shard && row.identity.replica == replica)
    }

    /// Uses up a number; durable when it returns.
    pub(super) fn create(&mut self, engine: &Engine, identity: ShardIdentity, state: NumberState) -> Result<u32, StoreError> {
        let local = self.next_local;
        let mut batch = WriteBatch::default();
        put_node(engine, &mut batch, local + 1)?;
        put_identity(engine, &mut batch, local, state, &identity)?;
        engine.write_synced(batch)?;
        self.next_local = local + 1;
        self.rows.insert(local, ShardRow { local, identity, state, open: Weak::new(), dataset: Weak::new() });
        Ok(local)
    }

    /// Marks a number for removal; durable when it returns.
    pub(super) fn doom(&mut self, engine: &Engine, local: u32) -> Result<(), StoreError> {
        let Some(row) = self.rows.get_mut(&local) else { return Ok(()) };
        let mut batch = WriteBatch::default();
        put_identity(engine, &mut batch, local, NumberState::Doomed, &row.identity)?;
        engine.write_synced(batch)?;
        row.state = NumberState::Doomed;
        Ok(())
    }

    /// Makes a staged number live and dooms the one it replaces, in one synced batch.
    pub(super) fn install(&mut self, engine: &Engine, store: &ShardStore, dataset: &Arc<Dataset>) -> Result<(), StoreError> {
        let (local, identity) = (dataset.local, &dataset.identity);
        let old = self.find(identity.shard, identity.replica).map(|row| row.local).ok_or(StoreError::Retired)?;
        let mut batch = WriteBatch::default();
        put_identity(engine, &mut batch, local, NumberState::Live, identity)?;
        put_identity(engine, &mut batch, old, NumberState::Doomed, identity)?;
        engine.write_synced(batch)?;
        if let Some(row) = self.rows.get_mut(&local) {
            row.state = NumberState::Live;
            row.watch(store, dataset);
        }
        if let Some(row) = self.rows.get_mut(&old) {
            row.state = NumberState::Doomed;
            if let Some(open) = row.open.upgrade() {
                open.retire();
            }
        }
        Ok(())
    }

    /// Doomed numbers that nobody reads any more.
    pub(super) fn removable(&self) -> Vec<ShardRow> {
        let idle = |row: &&ShardRow| row.state == NumberState::Doomed && row.dataset.strong_count() == 0;
        self.rows.values().filter(idle).cloned().collect()
    }

    /// Drops the records of a number whose keys are gone. Unsynced: removing nothing twice is harmless.
    pub(super) fn forget(&mut self, engine: &Engine, local: u32) -> Result<(), StoreError> {
        let mut batch = WriteBatch::default();
        for tag in [MetaTag::Manifest, MetaTag::Pending, MetaTag::Identity] {
            engine.delete(&mut batch, Family::Meta, &MetaKey { local, tag }.encode());
        }
        engine.write(batch)?;
        self.rows.remove(&local);
        Ok(())
    }
}

fn put_node(engine: &Engine, batch: &mut WriteBatch, next_local: u32) -> Result<(), StoreError> {
    let key = MetaKey { local: 0, tag: MetaTag::Node }.encode();
    let mut value = vec![FORMAT];
    put_varint(&mut value, u64::from(next_local));
    put_crc(&mut value, 0);
    engine.put(batch, Family::Meta, &key, &engine.seal(Family::Meta, Owner::NODE, &key, &value)?);
    Ok(())
}

fn decode_node(value: &[u8]) -> Result<u32, Corruption> {
    let mut reader = Reader::new(check_crc(value)?);
    if reader.u8()? != FORMAT {
        return Err(Corruption::new("node record of unknown format"));
    }
    let next_local = reader.varint_u32()?;
    reader.end()?;
    Ok(next_local)
}

fn put_identity(
    engine: &Engine,
    batch: &mut WriteBatch,
    local: u32,
    state: NumberState,
    identity: &ShardIdentity,
) -> Result<(), StoreError> {
    let key = MetaKey { local, tag: MetaTag::Identity }.encode();
    let mut value = vec![FORMAT, state as u8];
    put_varint(&mut value, identity.shard.0);
    put_varint(&mut value, identity.replica.0);
    put_bytes(&mut value, identity.workspace.as_str().as_bytes());
    put_crc(&mut value, 0);
    engine.put(batch, Family::Meta, &key, &engine.seal(Family::Meta, Owner::NODE, &key, &value)?);
    Ok(())
}

fn decode_identity(value: &[u8]) -> Result<(NumberState, ShardIdentity), Corruption> {
    let mut reader = Reader::new(check_crc(value)?);
    if reader.u8()? != FORMAT {
        return Err(Corruption::new("identity record of unknown format"));
    }
    let state = match reader.u8()? {
        0 => NumberState::Live,
        1 => NumberState::Staging,
        2 => NumberState::Doomed,
        _ => return Err(Corruption::new("unknown state of a number")),
    };
    let (shard, replica) = (ShardId(reader.varint()?), ReplicaId(reader.varint()?));
    let workspace = WorkspaceId::new(reader.text()?);
    reader.end()?;
    Ok((state, ShardIdentity { shard, replica, workspace }))
}
