use super::*;

fn other() -> ShardIdentity {
    ShardIdentity { shard: ShardId(78), ..identity() }
}

fn keys_under(store: &ShardStore, local: u32) -> usize {
    let mut count = 0;
    for family in Family::ALL {
        let offset = if matches!(family, Family::Chunk | Family::Index) { 2 } else { 0 };
        let mut iterator = store.0.dataset.iterate(family, &[], true);
        iterator.seek_to_first();
        while let Some(key) = iterator.key() {
            count += usize::from(key[offset..offset + 4] == local.to_be_bytes());
            iterator.next();
        }
    }
    count
}

#[test]
fn shards_are_listed_and_created_once() {
    let disk = Disk::new();
    let db = disk.open();
    let store = db.create_shard(identity()).unwrap();
    db.create_shard(other()).unwrap();
    assert!(matches!(db.create_shard(identity()), Err(StoreError::ShardExists { .. })));
    assert!(matches!(db.open_shard(ShardId(5), REPLICA), Err(StoreError::UnknownShard { .. })));
    assert_eq!(db.shards(), [identity(), other()]);
    checkpoint(&store, 1, &[]).unwrap();
    let again = db.open_shard(SHARD, REPLICA).unwrap();
    assert_eq!(again.point(), Some(point(1)), "a second handle shares the data");
    drop((store, again, db));
    assert_eq!(disk.open().shards(), [identity(), other()]);
}

#[test]
fn removal_is_finished_by_the_next_start_and_touches_no_other_shard() {
    for step in [Step::Doom, Step::DoomedRanges] {
        let disk = Disk::new();
        let series = [Flushed::new(1, 1, samples(DAY, 0, 10))];
        let (local, kept) = {
            let db = disk.open();
            let store = db.create_shard(identity()).unwrap();
            checkpoint(&store, 1, &series).unwrap();
            let kept = db.create_shard(other()).unwrap();
            checkpoint(&kept, 1, &series).unwrap();
            let local = store.0.dataset.local;
            drop(store);
            disk.faults.stop_after(step);
            assert!(matches!(db.destroy_shard(SHARD, REPLICA), Err(StoreError::Stopped(_))));
            (local, read(&kept.view()))
        };
        disk.faults.clear();
        let db = disk.open();
        assert_eq!(db.shards(), [other()]);
        let store = db.open_shard(ShardId(78), REPLICA).unwrap();
        assert_eq!((keys_under(&store, local), read(&store.view())), (0, kept));
        let new = db.create_shard(identity()).unwrap();
        assert!(new.0.dataset.local > store.0.dataset.local, "numbers are never used twice");
        assert_eq!(read(&new.view()).series.len(), 0);
    }
}

#[test]
fn views_outlive_removal_and_writers_are_refused() {
    let disk = Disk::new();
    let db = disk.open();
    let store = db.create_shard(identity()).unwrap();
    checkpoint(&store, 1, &[Flushed::new(1, 1, samples(DAY, 0, 10))]).unwrap();
    let (view, local) = (store.view(), store.0.dataset.local);
    let seen = read(&view);
    db.destroy_shard(SHARD, REPLICA).unwrap();
    assert!(matches!(store.begin_checkpoint(), Err(StoreError::Retired)));
    db.reclaim().unwrap();
    assert_eq!(read(&view), seen);
    drop((store, view));
    db.reclaim().unwrap();
    let probe = db.create_shard(other()).unwrap();
    assert_eq!(keys_under(&probe, local), 0);
}
