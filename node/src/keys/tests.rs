use super::*;
use model::ShardId;
use model::seal::{SealClass, SealContext};

const STORE: StoreId = StoreId(1);

fn key_file(folder: &Path, name: &str, byte: &str) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, byte.repeat(32)).unwrap();
    path
}

fn context<'a>(class: SealClass<'a>) -> SealContext<'a> {
    SealContext { column_family: "log", shard: ShardId(1), key: b"k", class }
}

fn sealed(keys: &NodeKeys, class: SealClass<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    keys.seal.seal(context(class), b"value", &mut out).unwrap();
    out
}

#[test]
fn c11_a_directory_without_a_key_file_stays_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let keys = NodeKeys::open(folder.path(), None, STORE).unwrap();
    assert!(!keys.seal.encrypts());
    assert_eq!(keys.new_workspace_key("a"), None);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    fs::create_dir(folder.path().join("raftdb")).unwrap();
    let outside = tempfile::tempdir().unwrap();
    let file = key_file(outside.path(), "key", "0f");
    assert!(matches!(NodeKeys::check(folder.path(), Some(&file)), Err(KeysError::NotEncrypted)));
}

#[test]
fn c11_a_wrong_or_missing_key_file_is_refused_and_nothing_is_touched() {
    let (folder, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (right, wrong) = (key_file(outside.path(), "right", "0f"), key_file(outside.path(), "wrong", "f0"));
    NodeKeys::open(folder.path(), Some(&right), STORE).unwrap();
    let before = fs::read(folder.path().join(FILE)).unwrap();
    assert!(matches!(NodeKeys::open(folder.path(), None, STORE), Err(KeysError::KeyFileMissing)));
    assert!(matches!(NodeKeys::open(folder.path(), Some(&wrong), STORE), Err(KeysError::WrongKey { .. })));
    assert!(matches!(NodeKeys::open(folder.path(), Some(&right), StoreId(2)), Err(KeysError::Wrapped { .. })));
    fs::write(&wrong, "short").unwrap();
    assert!(matches!(NodeKeys::open(folder.path(), Some(&wrong), STORE), Err(KeysError::KeyFile { .. })));
    assert!(matches!(NodeKeys::open(folder.path(), Some(&outside.path().join("none")), STORE), Err(KeysError::Io { .. })));
    assert_eq!(fs::read(folder.path().join(FILE)).unwrap(), before);
    assert!(!String::from_utf8(before).unwrap().contains("0f0f0f0f"));
}

#[test]
fn c11_each_boot_has_a_key_that_stays_until_its_log_is_gone() {
    let (folder, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let file = key_file(outside.path(), "key", "0f");
    let open = || NodeKeys::open(folder.path(), Some(&file), STORE).unwrap();
    let values: Vec<Vec<u8>> = (0..3).map(|_| sealed(&open(), SealClass::Store)).collect();
    let boots: Vec<u64> = values.iter().map(|value| model::seal::boot_of(value).unwrap()).collect();
    let fourth = open();
    for value in &values {
        assert_eq!(fourth.seal.open(context(SealClass::Store), value).unwrap().as_ref(), b"value");
    }
    assert_eq!(fourth.retire_boots(&BTreeSet::from([boots[1]])).unwrap(), 3, "the second, the third, and its own");
    let fifth = open();
    assert!(fifth.seal.open(context(SealClass::Store), &values[0]).is_err());
    assert!(fifth.seal.open(context(SealClass::Store), &values[1]).is_ok());
    assert!(fifth.seal.open(context(SealClass::Store), &values[2]).is_ok());
    assert_eq!(fifth.retire_boots(&BTreeSet::new()).unwrap(), 1);
}

#[test]
fn c11_nodes_with_the_same_key_file_share_a_workspaces_key() {
    let (one, two, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let file = key_file(outside.path(), "key", "0f");
    let one = NodeKeys::open(one.path(), Some(&file), StoreId(1)).unwrap();
    let two = NodeKeys::open(two.path(), Some(&file), StoreId(2)).unwrap();
    let id = WorkspaceId::new("a");
    let wrapped = one.new_workspace_key("a").unwrap();
    assert!(one.take_workspace(&id, Some(&wrapped)) && two.take_workspace(&id, Some(&wrapped)));
    let value = sealed(&one, SealClass::Workspace(&id));
    assert_eq!(two.seal.open(context(SealClass::Workspace(&id)), &value).unwrap().as_ref(), b"value");
}

#[test]
fn c11_a_workspace_whose_key_cannot_be_had_is_locked() {
    let (folder, plain, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let file = key_file(outside.path(), "key", "0f");
    let keys = NodeKeys::open(folder.path(), Some(&file), STORE).unwrap();
    let id = WorkspaceId::new("a");
    let wrapped = keys.new_workspace_key("b").unwrap();
    assert!(!keys.take_workspace(&id, Some(&wrapped)), "a key wrapped for another workspace");
    assert!(!keys.take_workspace(&id, None), "a workspace made without a key");
    let plain = NodeKeys::open(plain.path(), None, STORE).unwrap();
    assert!(!plain.take_workspace(&id, Some(&wrapped)), "a node without a key file");
    for keys in [&keys, &plain] {
        assert!(keys.seal.seal(context(SealClass::Workspace(&id)), b"value", &mut Vec::new()).is_err());
    }
    let wrapped = keys.new_workspace_key("a").unwrap();
    assert!(keys.take_workspace(&id, Some(&wrapped)), "once it comes, it is taken");
}
