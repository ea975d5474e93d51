use super::*;
use crate::wire::put_crc;
use model::MatchOp;
use proptest::prelude::*;
use rocksdb::WriteBatch;

/// Changes every value of a part.
pub(crate) fn damage_part(store: &ShardStore, part: &Part, change: impl Fn(&mut Vec<u8>)) {
    damage_where(store, part.kind.family(), |key| ChunkKey::decode(key).unwrap().part == part.id, change);
    store.0.dataset.forget_segment(part.id);
}

/// Changes every value of a family.
fn damage(store: &ShardStore, family: Family, change: impl Fn(&mut Vec<u8>)) {
    damage_where(store, family, |_| true, change);
}

fn damage_where(store: &ShardStore, family: Family, is_meant: impl Fn(&[u8]) -> bool, change: impl Fn(&mut Vec<u8>)) {
    let engine = store.0.dataset.engine();
    let mut iterator = store.0.dataset.iterate(family, &[], true);
    let mut batch = WriteBatch::default();
    iterator.seek_to_first();
    while let Some((key, value)) = iterator.item() {
        if is_meant(key) {
            let mut value = value.to_vec();
            change(&mut value);
            engine.put(&mut batch, family, key, &value);
        }
        iterator.next();
    }
    assert!(!batch.is_empty(), "nothing of {family:?} to damage");
    engine.write(batch).unwrap();
}

fn with_data() -> (Disk, ShardStore) {
    let disk = Disk::new();
    let store = disk.open().create_shard(identity()).unwrap();
    checkpoint(&store, 1, &[Flushed::new(1, 1, samples(DAY, 0, 100))]).unwrap();
    (disk, store)
}

fn ask(view: &StoreView, family: Family) -> Result<(), StoreError> {
    match family {
        Family::Chunk => view.lookup(SeriesId(1), 1, DAY.first_ms(), 0).map(drop),
        Family::Index => view.select(&[Matcher::equal("parity", "odd")], 0, i64::MAX).map(drop),
        Family::Series => view.series(SeriesId(1)).map(drop),
        Family::Fpr => view.find_by_fp128(Flushed::new(1, 1, vec![]).fp128()).map(drop),
        Family::Head => view.pages(|_| Ok(())),
        Family::Meta => unreachable!("read at open only"),
    }
}

#[test]
fn corrupted_value_is_an_error_that_names_it() {
    for family in [Family::Chunk, Family::Index, Family::Series, Family::Fpr, Family::Head] {
        let (_disk, store) = with_data();
        ask(&store.view(), family).unwrap();
        damage(&store, family, |value| {
            let last = value.len() - 1;
            value[last / 2 + 1] ^= 0x10;
        });
        store.0.dataset.forget_segment(store.view().parts()[1].id);
        let error = ask(&store.view(), family).unwrap_err();
        assert!(matches!(&error, StoreError::Corrupt { family: f, .. } if *f == family.name()), "{error:?}");
    }
}

#[test]
fn unknown_seal_and_format_versions_are_refused() {
    for family in [Family::Chunk, Family::Index, Family::Series, Family::Fpr, Family::Head] {
        let (_disk, store) = with_data();
        damage(&store, family, |value| value[0] = 9);
        let error = ask(&store.view(), family).unwrap_err();
        let unknown = model::seal::OpenError::UnknownVersion(9);
        assert!(matches!(&error, StoreError::Sealed { source, .. } if *source == unknown), "{error:?}");
    }
    for family in [Family::Series, Family::Fpr, Family::Head, Family::Chunk] {
        let (_disk, store) = with_data();
        damage(&store, family, |value| {
            value[1] = 9;
            let end = value.len() - 4;
            let crc = crc32c::crc32c(&value[1..end]);
            value[end..].copy_from_slice(&crc.to_le_bytes());
        });
        let error = ask(&store.view(), family).unwrap_err();
        assert!(error.to_string().contains("unknown"), "{error}");
    }
}

#[test]
fn damaged_or_unknown_manifest_is_refused_at_open() {
    let (disk, store) = with_data();
    damage(&store, Family::Meta, |value| {
        let last = value.len() - 1;
        value[last] ^= 1;
    });
    drop(store);
    let options = DbOptions { path: disk.folder.path().into(), memory_bytes: 8 << 20, seal: Seal::identity(), faults: disk.faults.clone() };
    assert!(matches!(Db::open(options), Err(StoreError::Corrupt { family: "meta", .. })));
}

#[test]
fn missing_page_is_an_error() {
    let (_disk, store) = with_data();
    let engine = store.0.dataset.engine();
    let key = HeadKey { local: store.0.dataset.local, generation: 1, page: 1 }.encode();
    let mut batch = WriteBatch::default();
    engine.delete(&mut batch, Family::Head, &key);
    engine.write(batch).unwrap();
    assert!(matches!(ask(&store.view(), Family::Head), Err(StoreError::Missing { family: "head", .. })));
}

proptest! {
    #[test]
    fn forged_values_with_a_right_checksum_never_panic(
        start in prop::sample::select(vec![vec![1u8], vec![0, 1], vec![1, 1], vec![1, 0]]),
        bytes in prop::collection::vec(prop_oneof![0u8..4, any::<u8>()], 0..200),
        from_manifest in any::<bool>(),
        at: prop::sample::Index,
        change: u8,
    ) {
        let mut value = [start, bytes].concat();
        if from_manifest {
            let manifest = Manifest { point: Some(point(3)), series: (0..300).collect(), pages: 7, ..Manifest::default() };
            value = manifest.encode();
            value.truncate(value.len() - 4);
            let i = at.index(value.len());
            value[i] = change;
        }
        put_crc(&mut value, 0);
        let _ = Manifest::decode(&value);
        let _ = Pending::decode(&value);
        let _ = ExportMeta::decode(&value);
        let _ = SeriesRecord::decode(&value);
        let _ = segment::Directory::decode(&value);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn forged_index_pages_never_panic_a_look_up(bytes in prop::collection::vec(prop_oneof![0u8..6, b'a'..=b'z', any::<u8>()], 0..120)) {
        let disk = Disk::new();
        let store = disk.open().create_shard(identity()).unwrap();
        let series: Vec<Flushed> = (0..400).map(|sid| Flushed::new(1, sid, samples(DAY, 0, 1))).collect();
        checkpoint(&store, 1, &series).unwrap();
        let is_page = |key: &[u8]| crate::keys::IndexKey::decode(key).unwrap().section > 0;
        damage_where(&store, Family::Index, is_page, |value| {
            value.truncate(1);
            value.extend_from_slice(&pack::pack_plain(&bytes));
        });
        let view = store.view();
        for (op, value) in [(MatchOp::Equal, "even"), (MatchOp::NotEqual, "host-7"), (MatchOp::Regex, "host-1.*"), (MatchOp::NotRegex, ".*d")] {
            for name in ["parity", "instance", "__name__"] {
                let _ = view.select(&[Matcher::new(name, op, value).unwrap()], 0, i64::MAX);
                for among in [None, Some((0..9).collect())] {
                    let (mut few, mut merged) = (crate::select::OneByOne::never(), crate::select::Merged::new(0));
                    let _ = view.values_into(name, (0, i64::MAX), among.as_ref(), &mut few, &mut merged);
                }
            }
        }
    }
}
