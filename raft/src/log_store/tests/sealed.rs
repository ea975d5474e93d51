use super::*;
use crate::log_store::boots_in_use;
use model::StoreId;
use model::seal::{DataKey, StoreKeys};
use std::collections::{BTreeMap, BTreeSet};

fn keys(boot: u64, known: impl IntoIterator<Item = u64>) -> Seal {
    let boots: BTreeMap<u64, DataKey> = known.into_iter().map(|boot| (boot, DataKey::new([boot as u8; 32]))).collect();
    Seal::encrypting(StoreKeys { store: StoreId(1), boot, boots })
}

fn open_sealed(engine: &Arc<dyn LogEngine>, seal: Seal) -> std::io::Result<(LogStore, Arc<LogWriter>)> {
    let writer = LogWriter::start(Arc::clone(engine), 1 << 20, FatalHandler::default(), Arc::new(SystemClock::default()))?;
    Ok((LogStore::open(REPLICA, Arc::clone(engine), Arc::clone(&writer), TailBudget::new(0), (None, seal))?, writer))
}

fn sealed_entry(index: u64) -> Entry {
    let payload = Payload::Normal(Blob(format!("distinctive-{index}").into_bytes().into()));
    Entry { log_id: LogId::new(CommittedLeader { term: 1, node: 1 }, index), payload }
}

async fn append_one(store: &mut LogStore, index: u64) {
    store.blocking_append([sealed_entry(index)]).await.unwrap();
}

#[tokio::test]
async fn c11_a_log_of_several_boots_replays_and_names_the_keys_it_needs() {
    let folder = tempfile::tempdir().unwrap();
    for boot in 1..=3 {
        let engine: Arc<dyn LogEngine> = Arc::new(RocksEngine::open(folder.path(), RocksOptions::default()).unwrap());
        let (mut store, writer) = open_sealed(&engine, keys(boot, 1..=boot)).unwrap();
        store.save_vote(&Vote::new(boot, 1)).await.unwrap();
        append_one(&mut store, boot).await;
        writer.close();
    }
    let engine: Arc<dyn LogEngine> = Arc::new(RocksEngine::open(folder.path(), RocksOptions::default()).unwrap());
    assert_eq!(boots_in_use(&*engine).unwrap(), BTreeSet::from([1, 3]), "the first entry's, and the vote's");
    let (mut store, writer) = open_sealed(&engine, keys(4, 1..=4)).unwrap();
    let entries = store.get_log_reader().await.try_get_log_entries(1..4).await.unwrap();
    assert_eq!(entries, (1..4).map(sealed_entry).collect::<Vec<_>>());
    store.purge(sealed_entry(2).log_id).await.unwrap();
    append_one(&mut store, 4).await;
    writer.close();
    assert_eq!(boots_in_use(&*engine).unwrap(), BTreeSet::from([3, 4]), "the vote is sealed anew at each start");
    assert!(open_sealed(&engine, keys(5, [3, 5])).is_err(), "the key of boot 4 is missing");
    let (mut store, _writer) = open_sealed(&engine, keys(5, [3, 4, 5])).unwrap();
    assert_eq!(store.get_log_reader().await.try_get_log_entries(3..5).await.unwrap().len(), 2);
    engine.flush().unwrap();
    for file in std::fs::read_dir(folder.path()).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        assert!(!bytes.windows(11).any(|window| window == b"distinctive"));
    }
}
