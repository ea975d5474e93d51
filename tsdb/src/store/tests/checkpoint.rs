use super::*;

fn first() -> Vec<Flushed> {
    vec![Flushed::new(1, 1, samples(DAY, 0, 200)), Flushed::new(1, 3, samples(DAY, 0, 5)), Flushed::new(2, 2, samples(DAY, 0, 300))]
}

fn second() -> Vec<Flushed> {
    vec![Flushed::new(1, 1, samples(DAY, 200, 100)), Flushed::new(2, 9, samples(DAY, 0, 10))]
}

#[test]
fn c3_part_exists_only_if_the_manifest_lists_it() {
    let disk = Disk::new();
    let whole = Disk::new();
    let reference = whole.open().create_shard(identity()).unwrap();
    checkpoint(&reference, 10, &first()).unwrap();
    let before = read(&reference.view());
    checkpoint(&reference, 20, &second()).unwrap();
    let after = read(&reference.view());
    assert_eq!(after.series[&1].1.len(), 300);
    for step in Step::CHECKPOINT {
        let (parts_of_crash, replica) = {
            let db = disk.open();
            let replica = ReplicaId(step as u64);
            let store = db.create_shard(ShardIdentity { replica, ..identity() }).unwrap();
            checkpoint(&store, 10, &first()).unwrap();
            disk.faults.stop_after(step);
            let result = checkpoint(&store, 20, &second());
            assert!(matches!(result, Err(StoreError::Stopped(s)) if s == step), "{result:?}");
            (stored(&store).0, replica)
        };
        disk.faults.clear();
        let db = disk.open();
        assert_eq!(disk.ingest_files(), 0, "files left after {step:?}");
        let store = db.open_shard(SHARD, replica).unwrap();
        let flipped = matches!(step, Step::Flip | Step::Cleanup);
        assert_eq!(read(&store.view()), *(if flipped { &after } else { &before }), "after {step:?}");
        let (parts, generations) = stored(&store);
        assert_eq!((parts, generations.len()), (listed(&store), 1), "keys that no manifest lists after {step:?}");
        checkpoint(&store, 20, &second()).unwrap();
        let new: BTreeSet<u64> = listed(&store).difference(&parts_of_crash).copied().collect();
        assert!(new.len() >= 2 - usize::from(flipped), "a number was used twice after {step:?}: {new:?} {parts_of_crash:?}");
        assert!(new.iter().all(|id| parts_of_crash.iter().all(|old| id > old)));
        assert_eq!(read(&store.view()).series, after.series);
        drop(store);
        db.destroy_shard(SHARD, replica).unwrap();
    }
}

#[test]
fn c3_view_keeps_replaced_parts_readable() {
    let disk = Disk::new();
    let db = disk.open();
    let store = db.create_shard(identity()).unwrap();
    checkpoint(&store, 10, &first()).unwrap();
    let view = store.view();
    let (seen, parts) = (read(&view), listed(&store));

    let mut writer = store.begin_checkpoint().unwrap();
    writer.remove_day(DAY);
    put_part(&mut writer, DAY, &second()).unwrap();
    writer.commit(point(20), b"").unwrap();
    store.reclaim().unwrap();
    assert_eq!(read(&view), seen, "the old view reads what it listed");
    assert!(stored(&store).0.is_superset(&parts));
    assert_eq!(read(&store.view()).series.keys().copied().collect::<Vec<_>>(), [1, 9], "the new view reads the replacement");
    assert_eq!(samples_of(&store.view(), 1, 1).len(), 100);

    drop(view);
    store.reclaim().unwrap();
    assert_eq!(stored(&store).0, listed(&store));
    assert!(listed(&store).is_disjoint(&parts));
}

#[test]
fn c3_removed_part_takes_only_its_own_samples_along() {
    let disk = Disk::new();
    let db = disk.open();
    let store = db.create_shard(identity()).unwrap();
    checkpoint(&store, 10, &first()).unwrap();
    checkpoint(&store, 20, &second()).unwrap();
    let part = store.view().parts().iter().find(|p| p.kind == PartKind::Flush).unwrap().id;
    let mut writer = store.begin_checkpoint().unwrap();
    writer.remove_part(part);
    writer.commit(point(30), b"").unwrap();
    assert_eq!(stored(&store).0, listed(&store));
    assert_eq!(samples_of(&store.view(), 1, 1), samples(DAY, 200, 100).iter().map(|(t, v)| (*t, v.to_bits())).collect::<Vec<_>>());
    assert_eq!(samples_of(&store.view(), 2, 2), []);
    assert_eq!(sids(&store.view().select(&[], 0, i64::MAX).unwrap()), [1, 2, 3, 9], "the index keeps its day");
}

#[test]
fn dropped_checkpoint_leaves_nothing_visible() {
    let disk = Disk::new();
    let db = disk.open();
    let store = db.create_shard(identity()).unwrap();
    checkpoint(&store, 10, &first()).unwrap();
    let seen = read(&store.view());
    {
        let mut writer = store.begin_checkpoint().unwrap();
        assert!(matches!(store.begin_checkpoint(), Err(StoreError::CheckpointRunning)));
        writer.page(b"never seen").unwrap();
        put_part(&mut writer, DAY, &second()).unwrap();
    }
    assert_eq!((read(&store.view()), disk.ingest_files()), (seen, 0));
    assert_eq!(store.view().find_by_fp128(second()[1].fp128()).unwrap(), None, "a record without a flip does not count");
    checkpoint(&store, 20, &second()).unwrap();
    assert_eq!(store.view().find_by_fp128(second()[1].fp128()).unwrap(), Some(SeriesId(9)));
}

#[test]
fn checkpoint_without_pages_or_parts_is_one() {
    let disk = Disk::new();
    let store = disk.open().create_shard(identity()).unwrap();
    assert_eq!(store.point(), None);
    for index in [1, 2] {
        store.begin_checkpoint().unwrap().commit(point(index), b"m").unwrap();
        assert_eq!((store.point(), store.view().extra()), (Some(point(index)), &b"m"[..]));
    }
    assert_eq!(store.view().parts(), []);
}

#[test]
fn wrong_order_day_and_size_are_refused() {
    let disk = Disk::new();
    let store = disk.open().create_shard(identity()).unwrap();
    let mut writer = store.begin_checkpoint().unwrap();
    let bad = [Flushed::new(2, 1, samples(DAY, 0, 1)), Flushed::new(1, 2, samples(DAY, 0, 1))];
    assert!(matches!(put_part(&mut writer, DAY, &bad), Err(StoreError::OutOfOrder { metric: 1, sid: 2 })));
    let bad = [Flushed::new(1, 1, samples(DAY, 0, 1)), Flushed::new(1, 1, samples(DAY, 1, 1))];
    assert!(matches!(put_part(&mut writer, DAY, &bad), Err(StoreError::OutOfOrder { .. })));
    let bad = [Flushed::new(1, 1, samples(DAY, 5_759, 2))];
    assert!(matches!(put_part(&mut writer, DAY, &bad), Err(StoreError::ChunkOutsideDay { day: 19_000, .. })));
    assert!(matches!(writer.page(&vec![0; PAGE_BYTES_MAX + 1]), Err(StoreError::PageTooLarge { .. })));
}

#[test]
fn unfinished_part_makes_the_commit_fail() {
    let disk = Disk::new();
    let store = disk.open().create_shard(identity()).unwrap();
    let mut writer = store.begin_checkpoint().unwrap();
    let mut part = writer.part(DAY).unwrap();
    part.series(PartSeries { metric: 1, sid: SeriesId(1), fp128: 1, placement: 1 }, |_| ()).unwrap();
    drop(part);
    assert!(matches!(writer.commit(point(1), b""), Err(StoreError::PartUnfinished { parts: 1 })));
    assert_eq!(store.point(), None);
    checkpoint(&store, 2, &first()).unwrap();
}

#[test]
fn many_series_in_many_groups_are_read_one_by_one_and_in_bulk() {
    let disk = Disk::new();
    let store = disk.open().create_shard(identity()).unwrap();
    let all: Vec<Flushed> = (0..4)
        .flat_map(|metric| (0..700u32).map(move |i| Flushed::new(metric, i * 4 + metric, samples(DAY, 0, 1 + (i as usize % 150)))))
        .collect();
    checkpoint(&store, 1, &all).unwrap();
    let view = store.view();
    assert!(view.parts()[0].keys >= 12, "{:?}", view.parts());
    let wanted: RoaringBitmap = (0..2800).step_by(20).map(|i| i + 2).collect();
    let mut scanned: BTreeMap<u32, usize> = BTreeMap::new();
    view.scan(&wanted, 2, DAY.first_ms(), DAY.last_ms(), |page| {
        *scanned.entry(page.sid.0).or_default() += page.count;
    })
    .unwrap();
    let expected: BTreeMap<u32, usize> =
        all.iter().filter(|f| f.metric == 2 && wanted.contains(f.sid)).map(|f| (f.sid, f.samples.len())).collect();
    assert_eq!(scanned, expected);
    for flushed in all.iter().step_by(37) {
        let (last_ms, last) = flushed.samples[flushed.samples.len() - 1];
        let sid = SeriesId(flushed.sid);
        assert_eq!(samples_of(&view, flushed.sid, flushed.metric).len(), flushed.samples.len());
        assert_eq!(view.lookup(sid, flushed.metric, last_ms).unwrap(), Some(last.to_bits()));
        assert_eq!(view.lookup(sid, flushed.metric, last_ms + 1).unwrap(), None);
        assert_eq!(view.last_sample(sid, flushed.metric).unwrap(), Some((last_ms, last.to_bits())));
    }
    let mut late = 0;
    view.pages_of(SeriesId(149 * 4), 0, DAY.first_ms() + 120 * 15_000, i64::MAX, |_| late += 1).unwrap();
    assert_eq!(late, 1, "chunks before the range are left out");
}

#[test]
fn lowest_log_index_wins_where_chunks_overlap() {
    let disk = Disk::new();
    let store = disk.open().create_shard(identity()).unwrap();
    let t = DAY.first_ms();
    checkpoint(&store, 1, &[Flushed { log_index: 9, ..Flushed::new(1, 1, vec![(t, 1.0)]) }]).unwrap();
    checkpoint(&store, 2, &[Flushed { log_index: 4, ..Flushed::new(1, 1, vec![(t, 2.0), (t + 1, 3.0)]) }]).unwrap();
    assert_eq!(store.view().lookup(SeriesId(1), 1, t).unwrap(), Some(2f64.to_bits()));
    let flushed: Vec<_> = store.view().parts().iter().filter(|p| p.kind == PartKind::Flush).map(|p| p.max_log_index).collect();
    assert_eq!(flushed, [9, 4]);
}
