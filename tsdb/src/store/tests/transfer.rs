use super::*;
use crate::error::TransferError;

const OTHER: ReplicaId = ReplicaId(2000);

/// A shard with two checkpoints, so that there is something unlisted to leave out.
fn sender(disk: &Disk) -> ShardStore {
    let store = disk.open().create_shard(identity()).unwrap();
    let rough = |sid: u32| samples(DAY, 0, 130).into_iter().map(|(t, v)| (t, (v + f64::from(sid)).sin())).collect();
    let series: Vec<Flushed> = (0..1500).map(|sid| Flushed::new(sid / 750, sid, rough(sid))).collect();
    checkpoint(&store, 10, &series).unwrap();
    let mut writer = store.begin_checkpoint().unwrap();
    writer.page(b"page").unwrap();
    put_part(&mut writer, Day(DAY.0 + 1), &[Flushed::new(1, 7_000, samples(Day(DAY.0 + 1), 0, 50))]).unwrap();
    put_part(&mut writer, DAY, &[Flushed::new(1, 800, samples(DAY, 200, 50))]).unwrap();
    writer.commit(point(20), b"members").unwrap();
    store
}

fn receiver(disk: &Disk) -> (Db, ShardStore) {
    let db = disk.open();
    let store = db.create_shard(ShardIdentity { replica: OTHER, ..identity() }).unwrap();
    checkpoint(&store, 3, &[Flushed::new(9, 1, samples(DAY, 0, 3))]).unwrap();
    (db, store)
}

fn blocks(export: &mut ShardExport) -> Vec<Vec<u8>> {
    std::iter::from_fn(|| export.next_block().unwrap()).collect()
}

fn receive(store: &ShardStore, meta: &ExportMeta, blocks: &[Vec<u8>]) -> Result<ShardStore, StoreError> {
    let meta = ExportMeta::decode(&meta.encode()).unwrap();
    let mut staging = store.stage(meta)?;
    blocks.iter().try_for_each(|block| staging.write(block))?;
    staging.finish()?.install()
}

#[test]
fn c3_transfer_brings_exactly_what_the_view_lists() {
    let (from, to) = (Disk::new(), Disk::new());
    let source = sender(&from);
    let mut export = source.export();
    let seen = read(&source.view());
    checkpoint(&source, 30, &[Flushed::new(1, 9_999, samples(DAY, 0, 5))]).unwrap();
    let all = blocks(&mut export);
    assert!(all.iter().all(|block| block.len() < snapshot::BLOCK_BYTES_TARGET * 2));
    let (db, old) = receiver(&to);
    let (old_view, old_seen) = (old.view(), read(&old.view()));
    let new = receive(&old, export.meta(), &all).unwrap();
    assert_eq!(read(&new.view()), seen, "the state of the export, not of the checkpoint after it");
    assert_eq!((new.view().extra(), new.point()), (&b"members"[..], Some(point(20))));
    assert!(matches!(old.begin_checkpoint(), Err(StoreError::Retired)));
    assert_eq!(read(&old_view), old_seen, "the old view stays readable");
    drop((old, old_view));
    db.reclaim().unwrap();
    assert_eq!(stored(&new).0, listed(&new));
    checkpoint(&new, 40, &[Flushed::new(3, 8_000, samples(DAY, 0, 5))]).unwrap();
    drop((new, db));
    let store = to.open().open_shard(SHARD, OTHER).unwrap();
    assert_eq!((store.point(), read(&store.view()).series.len()), (Some(point(40)), seen.series.len() + 1));
}

#[test]
fn c3_crash_during_a_transfer_leaves_the_old_or_the_new() {
    let from = Disk::new();
    let source = sender(&from);
    let mut export = source.export();
    let (all, new_seen) = (blocks(&mut export), read(&source.view()));
    for step in Step::TRANSFER {
        let to = Disk::new();
        let old_seen = {
            let (_db, old) = receiver(&to);
            let seen = read(&old.view());
            to.faults.stop_after(step);
            let result = receive(&old, export.meta(), &all);
            let stops = !matches!(step, Step::Doom | Step::DoomedRanges);
            assert_eq!(matches!(result, Err(StoreError::Stopped(s)) if s == step), stops, "{step:?}");
            seen
        };
        to.faults.clear();
        let db = to.open();
        let store = db.open_shard(SHARD, OTHER).unwrap();
        let installed = !matches!(step, Step::StageBegin | Step::Staged | Step::BeforeInstall);
        assert_eq!(read(&store.view()), *(if installed { &new_seen } else { &old_seen }), "after {step:?}");
        assert_eq!(stored(&store).0, listed(&store), "keys left after {step:?}");
        assert_eq!(db.shards().len(), 1);
    }
}

#[test]
fn c3_transfer_that_differs_from_its_promise_is_refused() {
    let (from, to) = (Disk::new(), Disk::new());
    let source = sender(&from);
    let mut export = source.export();
    let all = blocks(&mut export);
    assert!(all.len() >= 2, "{} blocks", all.len());
    let (_db, old) = receiver(&to);
    let seen = read(&old.view());
    let refused = |blocks: &[Vec<u8>]| match receive(&old, export.meta(), blocks) {
        Err(StoreError::Transfer(error)) => error,
        other => panic!("{other:?}"),
    };
    let mut flipped = all.clone();
    flipped[0][1000] ^= 1;
    assert!(matches!(refused(&flipped), TransferError::Block { index: 0, .. }));
    assert!(matches!(refused(&all[..all.len() - 1]), TransferError::Block { .. }));
    assert!(matches!(refused(&[all[0].clone(), all[0].clone()]), TransferError::Order { index: 1 }));
    let mut truncated = all.clone();
    truncated[0].truncate(100);
    assert!(matches!(refused(&truncated), TransferError::Block { index: 0, .. }));
    let mut other = ExportMeta::decode(&export.meta().encode()).unwrap();
    other.manifest_mut().parts[0].hash ^= 1;
    let error = receive(&old, &other, &all).unwrap_err();
    assert!(matches!(error, StoreError::Transfer(TransferError::Content { .. })), "{error:?}");
    other.manifest_mut().parts.remove(0);
    let error = receive(&old, &other, &all).unwrap_err();
    assert!(matches!(error, StoreError::Transfer(TransferError::Unlisted { .. })), "{error:?}");
    assert_eq!(read(&old.view()), seen);
    assert_eq!(stored(&old).0, listed(&old), "what was refused is gone");
    receive(&old, export.meta(), &all).unwrap();
}
