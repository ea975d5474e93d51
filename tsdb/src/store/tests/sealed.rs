use super::*;
use model::StoreId;
use model::seal::{DataKey, StoreKeys};
use std::path::Path;

const OTHER: ReplicaId = ReplicaId(2000);

/// The keys of one boot of a store that has its workspace's key.
fn keys(store: u64, boot: u64) -> Seal {
    let seal = locked_keys(store, boot);
    seal.add_workspace(identity().workspace, DataKey::new([7; 32]));
    seal
}

fn locked_keys(store: u64, boot: u64) -> Seal {
    Seal::encrypting(StoreKeys { store: StoreId(store), boot, boots: BTreeMap::from([(boot, DataKey::new([1; 32]))]) })
}

fn open(folder: &Path, seal: Seal) -> Db {
    Db::open(DbOptions { path: folder.into(), memory_bytes: 8 << 20, seal, faults: FaultPlan::default() }).unwrap()
}

fn series() -> Vec<Flushed> {
    (0..300).map(|sid| Flushed::new(sid / 150, sid, samples(DAY, 0, 130))).collect()
}

fn files(folder: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// Files that hold any of `needles`.
fn leaks(folder: &Path, needles: &[&[u8]]) -> Vec<std::path::PathBuf> {
    let holds = |bytes: &[u8]| needles.iter().any(|needle| bytes.windows(needle.len()).any(|window| window == *needle));
    files(folder).into_iter().filter(|path| holds(&std::fs::read(path).unwrap())).collect()
}

#[test]
fn c11_labels_and_their_hashes_are_nowhere_on_disk_also_not_after_a_transfer() {
    let (from, to) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let fp128 = series()[0].fp128();
    let (little, big) = (fp128.to_le_bytes(), fp128.to_be_bytes());
    // RocksDB writes words like "instance" into its own LOG.
    let needles: [&[u8]; 6] = [b"metric_1", b"host-1", b"host-2", b"parity", &little, &big];
    let plain = TempDir::new().unwrap();
    let db = open(plain.path(), Seal::identity());
    checkpoint(&db.create_shard(identity()).unwrap(), 1, &series()).unwrap();
    assert!(!leaks(plain.path(), &needles).is_empty(), "the search finds them where nothing is encrypted");
    assert!(!leaks(plain.path(), &needles[5..]).is_empty());

    let store = open(from.path(), keys(1, 1)).create_shard(identity()).unwrap();
    checkpoint(&store, 1, &series()).unwrap();
    let seen = read(&store.view());
    drop(store);
    let store = open(from.path(), keys(1, 2)).open_shard(SHARD, REPLICA).unwrap();
    assert_eq!(read(&store.view()), seen, "a later boot opens what an earlier one sealed");
    checkpoint(&store, 2, &[Flushed::new(5, 900, samples(DAY, 0, 40))]).unwrap();
    let seen = read(&store.view());

    let db = open(to.path(), keys(2, 3));
    let receiver = db.create_shard(ShardIdentity { replica: OTHER, ..identity() }).unwrap();
    let mut export = store.export();
    let mut staging = receiver.stage(ExportMeta::decode(&export.meta().encode()).unwrap()).unwrap();
    while let Some(block) = export.next_block().unwrap() {
        staging.write(&block).unwrap();
        assert_eq!(leaks(to.path(), &needles), [] as [std::path::PathBuf; 0]);
    }
    let moved = staging.finish().unwrap().install().unwrap();
    assert_eq!(read(&moved.view()), seen);
    assert_eq!(moved.view().find_by_fp128(fp128).unwrap(), store.view().find_by_fp128(fp128).unwrap());
    assert!(moved.view().find_by_fp128(fp128).unwrap().is_some());
    drop((moved, receiver, db));
    let again = open(to.path(), keys(2, 4)).open_shard(SHARD, OTHER).unwrap();
    assert_eq!(read(&again.view()), seen);
    for folder in [&from, &to] {
        assert_eq!(leaks(folder.path(), &needles), [] as [std::path::PathBuf; 0]);
    }
}

#[test]
fn c11_without_the_workspaces_key_nothing_is_flushed_until_it_comes() {
    let folder = TempDir::new().unwrap();
    let seal = locked_keys(1, 1);
    let store = open(folder.path(), seal.clone()).create_shard(identity()).unwrap();
    let error = checkpoint(&store, 1, &series()).unwrap_err();
    assert!(matches!(error, StoreError::NotSealed(_)), "{error:?}");
    assert_eq!(store.point(), None, "so the log is not purged");
    seal.add_workspace(identity().workspace, DataKey::new([7; 32]));
    checkpoint(&store, 1, &series()).unwrap();
    assert_eq!(store.point(), Some(point(1)));
}

#[test]
fn c11_another_workspace_key_opens_nothing() {
    let folder = TempDir::new().unwrap();
    let store = open(folder.path(), keys(1, 1)).create_shard(identity()).unwrap();
    checkpoint(&store, 1, &series()).unwrap();
    drop(store);
    let seal = locked_keys(1, 2);
    let db = open(folder.path(), seal.clone());
    assert!(matches!(db.open_shard(SHARD, REPLICA), Err(StoreError::Sealed { .. })));
    seal.add_workspace(identity().workspace, DataKey::new([8; 32]));
    assert!(matches!(db.open_shard(SHARD, REPLICA), Err(StoreError::Sealed { .. })));
    seal.add_workspace(identity().workspace, DataKey::new([7; 32]));
    assert_eq!(db.open_shard(SHARD, REPLICA).unwrap().point(), Some(point(1)));
}
