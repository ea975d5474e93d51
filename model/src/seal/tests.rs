use super::*;
use proptest::prelude::*;

const BOOT: u64 = 0x0102_0304_0506_0708;

fn workspace(id: &str) -> WorkspaceId {
    WorkspaceId::new(id)
}

fn sealer(store: u64, boot: u64) -> Seal {
    let boots = BTreeMap::from([(boot, DataKey::new([9; 32]))]);
    let seal = Seal::encrypting(StoreKeys { store: StoreId(store), boot, boots });
    seal.add_workspace(workspace("a"), DataKey::new([1; 32]));
    seal.add_workspace(workspace("b"), DataKey::new([2; 32]));
    seal
}

fn context<'a>(key: &'a [u8], class: SealClass<'a>) -> SealContext<'a> {
    SealContext { column_family: "chunk", shard: ShardId(7), key, class }
}

fn sealed(seal: &Seal, context: SealContext<'_>, value: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    seal.seal(context, value, &mut out).unwrap();
    out
}

#[test]
fn without_keys_values_stay_readable_and_unknown_versions_are_refused() {
    let (id, seal) = (workspace("a"), Seal::identity());
    for class in [SealClass::Readable, SealClass::Store, SealClass::Workspace(&id)] {
        let context = context(b"k", class);
        assert_eq!(sealed(&seal, context, b"value"), b"\0value");
        assert_eq!(seal.open(context, b"\0value").unwrap().as_ref(), b"value");
        assert_eq!(seal.open(context, b""), Err(OpenError::Empty));
        assert_eq!(seal.open(context, b"\x09value"), Err(OpenError::UnknownVersion(9)));
        assert_eq!(seal.label_hash(class, 5), Ok(5));
    }
}

#[test]
fn c11_a_sealed_value_has_these_bytes() {
    let id = workspace("a");
    let bytes = sealed(&sealer(300, BOOT), context(b"k", SealClass::Workspace(&id)), b"value");
    assert_eq!(&bytes[..12], b"\x01\xac\x02\x08\x07\x06\x05\x04\x03\x02\x01\x00");
    let hex: String = bytes[12..].iter().map(|b| format!("{b:02x}")).collect();
    assert_eq!(hex, GOLDEN);
}

const GOLDEN: &str = "2f3fd52fe25ef9cac1e241ed87e5f58ebb71791295";

#[test]
fn c11_a_value_opens_only_where_and_for_whom_it_was_sealed() {
    let (a, b) = (workspace("a"), workspace("b"));
    let seal = sealer(1, BOOT);
    let right = context(b"k", SealClass::Workspace(&a));
    let bytes = sealed(&seal, right, b"value");
    assert_eq!(seal.open(right, &bytes).unwrap().as_ref(), b"value");
    for wrong in [
        SealContext { column_family: "index", ..right },
        SealContext { shard: ShardId(8), ..right },
        SealContext { key: b"l", ..right },
        SealContext { key: b"", ..right },
        SealContext { class: SealClass::Workspace(&b), ..right },
    ] {
        assert_eq!(seal.open(wrong, &bytes), Err(OpenError::Refused), "{wrong:?}");
    }
    assert_eq!(seal.open(SealContext { class: SealClass::Store, ..right }, &bytes), Err(OpenError::Refused));
    assert_eq!(seal.open(SealContext { class: SealClass::Readable, ..right }, &bytes), Err(OpenError::UnknownVersion(1)));
    assert_eq!(seal.open(right, b"\0value"), Err(OpenError::UnknownVersion(0)), "no readable value in place of a sealed one");
    let stranger = Seal::encrypting(StoreKeys { store: StoreId(1), boot: BOOT, boots: BTreeMap::new() });
    assert_eq!(stranger.open(right, &bytes), Err(OpenError::NoKey(a.clone())));
    stranger.add_workspace(a.clone(), DataKey::new([3; 32]));
    assert_eq!(stranger.open(right, &bytes), Err(OpenError::Refused));
}

#[test]
fn c11_another_store_with_the_workspaces_key_opens_what_was_sent_to_it() {
    let a = workspace("a");
    let right = context(b"k", SealClass::Workspace(&a));
    let receiver = sealer(2, 5);
    for boot in 0..2 * DERIVED_MAX as u64 {
        let bytes = sealed(&sealer(1, boot), right, b"value");
        assert_eq!(receiver.open(right, &bytes).unwrap().as_ref(), b"value");
        assert_eq!(receiver.open(right, &bytes).unwrap().as_ref(), b"value");
    }
    let log = context(b"k", SealClass::Store);
    assert_eq!(receiver.open(log, &sealed(&sealer(1, 5), log, b"value")), Err(OpenError::Refused), "a log stays with its store");
}

#[test]
fn c11_the_log_opens_as_long_as_its_boots_key_is_kept() {
    let log = context(b"k", SealClass::Store);
    let old = sealed(&sealer(1, 4), log, b"value");
    assert_eq!(boot_of(&old), Some(4));
    let boots = |known: &[u64]| known.iter().map(|boot| (*boot, DataKey::new([9; 32]))).collect();
    let both = Seal::encrypting(StoreKeys { store: StoreId(1), boot: 5, boots: boots(&[4, 5]) });
    assert_eq!(both.open(log, &old).unwrap().as_ref(), b"value");
    let new = Seal::encrypting(StoreKeys { store: StoreId(1), boot: 5, boots: boots(&[5]) });
    assert_eq!(new.open(log, &old), Err(OpenError::NoBoot(4)));
    assert_eq!(boot_of(b"\0value"), None);
}

#[test]
fn c11_a_workspace_whose_key_is_missing_is_never_written_in_the_clear() {
    let a = workspace("a");
    let right = context(b"k", SealClass::Workspace(&a));
    for seal in [Seal::identity(), sealer(1, BOOT)] {
        seal.lock_workspace(a.clone());
        let mut out = vec![1];
        assert_eq!(seal.seal(right, b"value", &mut out), Err(SealError::NoKey(a.clone())));
        assert_eq!(out, [1]);
        assert_eq!(seal.open(right, b"\0value"), Err(OpenError::NoKey(a.clone())));
        assert_eq!(seal.label_hash(right.class, 5), Err(SealError::NoKey(a.clone())));
    }
}

#[test]
fn c11_no_nonce_is_used_twice_also_not_after_a_restart() {
    let a = workspace("a");
    let mut seen = std::collections::BTreeSet::new();
    for boot in [1, 2] {
        let seal = sealer(1, boot);
        for class in [SealClass::Workspace(&a), SealClass::Store] {
            for _ in 0..100 {
                let header = Header::read(&sealed(&seal, context(b"k", class), b"value")).unwrap();
                assert!(seen.insert((header.store, header.boot, header.counter)));
            }
        }
    }
}

#[test]
fn c11_hashes_of_labels_are_keyed_per_workspace() {
    let (a, b) = (workspace("a"), workspace("b"));
    let hash = |store, id| sealer(store, BOOT).label_hash(SealClass::Workspace(id), 5).unwrap();
    assert_eq!(hash(1, &a), hash(2, &a), "every replica has the same keys");
    assert_ne!(hash(1, &a), hash(1, &b));
    assert_ne!(hash(1, &a), 5);
}

proptest! {
    #[test]
    fn values_come_back_and_any_damage_is_noticed(value: Vec<u8>, key: Vec<u8>, at: proptest::sample::Index, bit in 0..8_u8, cut: proptest::sample::Index) {
        let a = workspace("a");
        let seal = sealer(1, BOOT);
        for class in [SealClass::Workspace(&a), SealClass::Store] {
            let context = context(&key, class);
            let mut bytes = sealed(&seal, context, &value);
            let opened = seal.open(context, &bytes).unwrap().into_owned();
            prop_assert_eq!(opened, value.clone());
            prop_assert!(seal.open(context, &bytes[..cut.index(bytes.len())]).is_err());
            let at = at.index(bytes.len());
            bytes[at] ^= 1_u8 << bit;
            prop_assert!(seal.open(context, &bytes).is_err());
        }
    }

    #[test]
    fn opening_any_bytes_never_panics(bytes: Vec<u8>) {
        let a = workspace("a");
        let seal = sealer(1, BOOT);
        for class in [SealClass::Readable, SealClass::Workspace(&a), SealClass::Store] {
            let _ = seal.open(context(b"k", class), &bytes);
        }
    }
}
