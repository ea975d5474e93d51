mod sealed;

use super::*;
use crate::config::FatalHandler;
use crate::error::OpenError;
use crate::state_machine::{ApplyPool, Machine};
use crate::types::{Blob, CommittedLeader, Entry, LogId, Payload, TypeConfig, Vote};
use crate::{AppliedEntry, Durable, SnapshotSink, SnapshotSource, Staged, StateMachine, StateMachineError};
use bytes::Bytes;
use model::clock::SystemClock;
use model::seal::Seal;
use model::{ReplicaId, ShardId, WorkspaceId, limits};
use openraft::StorageError;
use openraft::storage::{IOFlushed, RaftLogStorage, RaftLogStorageExt};
use openraft::testing::log::{StoreBuilder, Suite};
use openraft::{RaftLogReader, type_config::TypeConfigExt};
use parking_lot::Mutex;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

const REPLICA: (ShardId, ReplicaId) = (ShardId(1), ReplicaId(1));

struct Opened {
    store: LogStore,
    writer: Arc<LogWriter>,
    fatal_count: Arc<AtomicU64>,
}

fn open(engine: &Arc<dyn LogEngine>, tail_bytes: usize) -> Opened {
    let fatal_count = Arc::<AtomicU64>::default();
    let counted = Arc::clone(&fatal_count);
    let fatal = FatalHandler::new(move |_| {
        counted.fetch_add(1, Ordering::SeqCst);
    });
    let writer = LogWriter::start(Arc::clone(engine), 1 << 20, fatal, Arc::new(SystemClock::default())).unwrap();
    let store =
        LogStore::open(REPLICA, Arc::clone(engine), Arc::clone(&writer), TailBudget::new(tail_bytes), (None, Seal::identity())).unwrap();
    Opened { store, writer, fatal_count }
}

fn id(term: u64, index: u64) -> LogId {
    LogId::new(CommittedLeader { term, node: 1 }, index)
}

fn entry(term: u64, index: u64, payload: &[u8]) -> Entry {
    Entry { log_id: id(term, index), payload: Payload::Normal(Blob(Bytes::copy_from_slice(payload))) }
}

async fn indices(store: &mut LogStore) -> Vec<u64> {
    let entries = store.get_log_reader().await.try_get_log_entries(..).await.unwrap();
    entries.iter().map(|entry| entry.log_id.index).collect()
}

struct Builder {
    rocks: bool,
}

impl StoreBuilder<TypeConfig, LogStore, Machine, Option<tempfile::TempDir>> for Builder {
    async fn build(&self) -> Result<(Option<tempfile::TempDir>, LogStore, Machine), StorageError<TypeConfig>> {
        let (directory, engine): (_, Arc<dyn LogEngine>) = if self.rocks {
            let directory = tempfile::tempdir().unwrap();
            let engine = RocksEngine::open(directory.path(), RocksOptions::default()).unwrap();
            (Some(directory), Arc::new(engine))
        } else {
            (None, MemoryEngine::new())
        };
        let pool = ApplyPool::start(1).unwrap();
        let (applied, _) = tokio::sync::watch::channel(None);
        let machine = Machine::new(Arc::new(AnyOrder::default()), pool, Arc::new(SystemClock::default()), Arc::new(applied)).unwrap();
        Ok((directory, open(&engine, 1 << 20).store, machine))
    }
}

/// The suite applies entries of its own numbering and expects a checkpoint after each: this machine keeps nothing but that.
#[derive(Clone, Debug, Default)]
struct AnyOrder {
    durable: Arc<Mutex<Option<Durable>>>,
}

impl StateMachine for AnyOrder {
    fn durable(&self) -> Option<Durable> {
        self.durable.lock().clone()
    }

    fn apply(&self, batch: Vec<AppliedEntry>) -> Result<Vec<Bytes>, StateMachineError> {
        let mut durable = self.durable.lock();
        for entry in &batch {
            let former = durable.take().map(|durable| durable.membership).unwrap_or_default();
            *durable = Some(Durable { point: entry.point, membership: entry.membership.clone().unwrap_or(former) });
        }
        Ok(vec![Bytes::new(); batch.len()])
    }

    fn snapshot(&self) -> Result<Option<Box<dyn SnapshotSource>>, StateMachineError> {
        Ok(self.durable().map(|meta| Box::new(Whole { meta, target: self.clone() }) as Box<dyn SnapshotSource>))
    }

    fn stage(&self, meta: Durable) -> Result<Box<dyn SnapshotSink>, StateMachineError> {
        Ok(Box::new(Whole { meta, target: self.clone() }))
    }
}

struct Whole {
    meta: Durable,
    target: AnyOrder,
}

impl SnapshotSource for Whole {
    fn meta(&self) -> Durable {
        self.meta.clone()
    }

    fn next_block(&mut self) -> Result<Option<Bytes>, StateMachineError> {
        Ok(None)
    }
}

impl SnapshotSink for Whole {
    fn write(&mut self, _block: Bytes) -> Result<(), StateMachineError> {
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Box<dyn Staged>, StateMachineError> {
        Ok(self)
    }
}

impl Staged for Whole {
    fn install(self: Box<Self>) -> Result<(), StateMachineError> {
        *self.target.durable.lock() = Some(self.meta);
        Ok(())
    }
}

#[test]
fn memory_engine_passes_openrafts_contract() {
    TypeConfig::run(async { Suite::test_all(Builder { rocks: false }).await.unwrap() });
}

#[test]
fn rocks_engine_passes_openrafts_contract() {
    TypeConfig::run(async { Suite::test_all(Builder { rocks: true }).await.unwrap() });
}

#[tokio::test]
async fn log_comes_back_after_a_reopen_with_vote_and_purge() {
    let directory = tempfile::tempdir().unwrap();
    let reopen = || -> Arc<dyn LogEngine> { Arc::new(RocksEngine::open(directory.path(), RocksOptions::default()).unwrap()) };
    {
        let mut opened = open(&reopen(), 1 << 20);
        opened.store.save_vote(&Vote::new(3, 1)).await.unwrap();
        opened.store.blocking_append((0..10).map(|index| entry(3, index, b"x"))).await.unwrap();
        opened.store.purge(id(3, 4)).await.unwrap();
        opened.writer.close();
    }
    let mut opened = open(&reopen(), 1 << 20);
    let state = opened.store.get_log_state().await.unwrap();
    assert_eq!((state.last_purged_log_id, state.last_log_id), (Some(id(3, 4)), Some(id(3, 9))));
    assert_eq!(opened.store.get_log_reader().await.read_vote().await.unwrap(), Some(Vote::new(3, 1)));
    assert_eq!(indices(&mut opened.store).await, [5, 6, 7, 8, 9]);
}

#[tokio::test]
async fn reads_join_the_engine_and_the_tail_and_stop_at_one_mebibyte() {
    let engine: Arc<dyn LogEngine> = MemoryEngine::new();
    let mut opened = open(&engine, 1 << 20);
    let payload = vec![7; 300 << 10];
    for index in 0..12 {
        opened.store.blocking_append([entry(1, index, &payload)]).await.unwrap();
    }
    let mut reader = opened.store.get_log_reader().await;
    assert_eq!(indices(&mut opened.store).await, (0..12).collect::<Vec<_>>());
    for from in 0..12 {
        let some = reader.limited_get_log_entries(from, 12).await.unwrap();
        assert!((1..=3).contains(&some.len()), "{} entries from {from}", some.len());
        assert_eq!(some[0].log_id.index, from);
    }
    let large = vec![8; limits::ENTRY_BYTES_MAX];
    opened.store.blocking_append([entry(1, 12, &large)]).await.unwrap();
    assert_eq!(reader.limited_get_log_entries(12, 13).await.unwrap().len(), 1);
}

#[tokio::test]
async fn entries_rewritten_after_a_truncation_are_never_read_as_their_former_selves() {
    let memory = MemoryEngine::new();
    let engine: Arc<dyn LogEngine> = Arc::<MemoryEngine>::clone(&memory);
    let mut opened = open(&engine, 0);
    opened.store.blocking_append((0..5).map(|index| entry(1, index, b"old"))).await.unwrap();
    memory.set_sync_delay(Duration::from_millis(20));
    opened.store.truncate_after(Some(id(1, 2))).await.unwrap();
    let (sender, written) = TypeConfig::oneshot();
    opened.store.append([entry(2, 3, b"new")], IOFlushed::signal(sender)).await.unwrap();
    let mut reader = opened.store.get_log_reader().await;
    assert_eq!(reader.try_get_log_entries(3..9).await.unwrap(), [entry(2, 3, b"new")]);
    written.await.unwrap().unwrap();
    assert_eq!(reader.try_get_log_entries(3..9).await.unwrap(), [entry(2, 3, b"new")]);
}

#[tokio::test]
async fn replicas_do_not_see_each_other_and_a_destroyed_one_is_gone() {
    let directory = tempfile::tempdir().unwrap();
    let engine: Arc<dyn LogEngine> = Arc::new(RocksEngine::open(directory.path(), RocksOptions::default()).unwrap());
    let mut opened = open(&engine, 1 << 20);
    let next = (ShardId(1), ReplicaId(2));
    let mut other =
        LogStore::open(next, Arc::clone(&engine), Arc::clone(&opened.writer), TailBudget::new(0), (None, Seal::identity())).unwrap();
    opened.store.save_vote(&Vote::new(1, 1)).await.unwrap();
    opened.store.blocking_append((0..3).map(|index| entry(1, index, b"a"))).await.unwrap();
    other.save_vote(&Vote::new(1, 2)).await.unwrap();
    other.blocking_append((0..5).map(|index| entry(1, index, b"b"))).await.unwrap();
    assert_eq!(indices(&mut opened.store).await, [0, 1, 2]);
    assert_eq!(engine.replicas().unwrap(), [ReplicaId(1), ReplicaId(2)]);
    opened.writer.destroy(ReplicaId(1)).await.unwrap();
    assert_eq!(engine.replicas().unwrap(), [ReplicaId(2)]);
    assert_eq!(engine.last_index(ReplicaId(1)).unwrap(), None);
    assert_eq!(engine.last_index(ReplicaId(2)).unwrap(), Some(4));
}

#[tokio::test]
async fn purged_entries_give_their_space_back_when_the_log_is_flushed() {
    let directory = tempfile::tempdir().unwrap();
    let engine: Arc<dyn LogEngine> = Arc::new(RocksEngine::open(directory.path(), RocksOptions::default()).unwrap());
    let mut opened = open(&engine, 1 << 20);
    let payload = vec![7; 64 << 10];
    opened.store.blocking_append((0..100).map(|index| entry(1, index, &payload))).await.unwrap();
    let kept = 4 * payload.len() as u64;
    opened.store.purge(id(1, 95)).await.unwrap();
    opened.store.save_vote(&Vote::new(1, 1)).await.unwrap();
    let on_disk = || -> u64 {
        let files = std::fs::read_dir(directory.path()).unwrap().map(|file| file.unwrap());
        let holds_entries = |name: &str| name.ends_with(".log") || name.ends_with(".sst");
        files.filter(|file| holds_entries(&file.file_name().to_string_lossy())).map(|file| file.metadata().unwrap().len()).sum()
    };
    assert!(engine.stored_bytes() > 90 * payload.len() as u64 && on_disk() > 90 * payload.len() as u64);
    engine.flush().unwrap();
    assert!((kept..2 * kept).contains(&engine.stored_bytes()), "{}", engine.stored_bytes());
    assert!(on_disk() < 2 * kept, "{}", on_disk());
    assert_eq!(indices(&mut opened.store).await, [96, 97, 98, 99]);
}

#[tokio::test]
async fn pitfall_02_callbacks_come_in_order_and_only_when_all_older_appends_are_durable() {
    let memory = MemoryEngine::new();
    memory.set_sync_delay(Duration::from_millis(1));
    let engine: Arc<dyn LogEngine> = Arc::<MemoryEngine>::clone(&memory);
    let opened = open(&engine, 1 << 20);
    let done = Arc::new(Mutex::new(Vec::new()));
    for number in 0..200_u64 {
        let (done, engine) = (Arc::clone(&done), Arc::clone(&memory));
        let op = LogOp::PutEntry { replica: REPLICA.1, index: number, value: Bytes::from_static(b"v") };
        let callback = Box::new(move |result: std::io::Result<()>| {
            assert!(result.is_ok());
            assert_eq!(engine.unsynced_count(), 0, "acknowledged before the sync");
            done.lock().push(number);
        });
        opened.writer.append(REPLICA.1, vec![op], callback).await.unwrap();
    }
    opened.writer.close();
    assert_eq!(*done.lock(), (0..200).collect::<Vec<_>>());
    assert!(memory.sync_count() < 200, "requests that wait share one sync: {}", memory.sync_count());
}

#[tokio::test]
async fn pitfall_03_vote_is_durable_when_it_returns_and_precedes_the_entries_of_its_term() {
    let memory = MemoryEngine::new();
    let engine: Arc<dyn LogEngine> = Arc::<MemoryEngine>::clone(&memory);
    let mut opened = open(&engine, 1 << 20);
    opened.store.save_vote(&Vote::new(5, 1)).await.unwrap();
    opened.store.append([entry(5, 0, b"x")], IOFlushed::noop()).await.unwrap();
    for kept in 0..3 {
        let after: Arc<dyn LogEngine> = memory.crash(kept);
        let mut again = open(&after, 1 << 20);
        let vote = again.store.get_log_reader().await.read_vote().await.unwrap();
        assert_eq!(vote, Some(Vote::new(5, 1)), "with {kept} unsynced batches kept");
    }
}

#[tokio::test]
async fn pitfall_04_purge_beyond_the_synced_checkpoint_is_refused() {
    let engine: Arc<dyn LogEngine> = MemoryEngine::new();
    let opened = open(&engine, 1 << 20);
    let guard: PurgeGuard = Arc::new(|| Some(5));
    let mut store =
        LogStore::open((ShardId(2), ReplicaId(2)), engine, Arc::clone(&opened.writer), TailBudget::new(0), (Some(guard), Seal::identity()))
            .unwrap();
    store.blocking_append((0..10).map(|index| entry(1, index, b"x"))).await.unwrap();
    assert!(store.purge(id(1, 6)).await.is_err());
    store.purge(id(1, 5)).await.unwrap();
    assert_eq!(indices(&mut store).await, [6, 7, 8, 9]);
}

#[tokio::test]
async fn pitfall_06_purged_point_is_there_after_a_restart() {
    let memory = MemoryEngine::new();
    let engine: Arc<dyn LogEngine> = Arc::<MemoryEngine>::clone(&memory);
    let mut opened = open(&engine, 1 << 20);
    opened.store.blocking_append((0..10).map(|index| entry(1, index, b"x"))).await.unwrap();
    opened.store.purge(id(1, 9)).await.unwrap();
    opened.writer.close();
    // The purge was not synced: both outcomes of the power cut must open.
    let kept: Arc<dyn LogEngine> = memory.crash(usize::MAX);
    let state = open(&kept, 0).store.get_log_state().await.unwrap();
    assert_eq!((state.last_purged_log_id, state.last_log_id), (Some(id(1, 9)), Some(id(1, 9))));
    let lost: Arc<dyn LogEngine> = memory.crash(0);
    let state = open(&lost, 0).store.get_log_state().await.unwrap();
    assert_eq!((state.last_purged_log_id, state.last_log_id), (None, Some(id(1, 9))));
}

fn first_file(directory: &Path, suffix: &str) -> std::path::PathBuf {
    let mut files: Vec<_> = std::fs::read_dir(directory).unwrap().map(|file| file.unwrap().path()).collect();
    files.retain(|path| path.to_string_lossy().ends_with(suffix));
    files.sort();
    files.into_iter().max_by_key(|path| std::fs::metadata(path).unwrap().len()).unwrap()
}

#[tokio::test]
async fn pitfall_10_flipped_byte_in_the_middle_of_the_log_never_passes_unseen() {
    let directory = tempfile::tempdir().unwrap();
    {
        let engine: Arc<dyn LogEngine> = Arc::new(RocksEngine::open(directory.path(), RocksOptions::default()).unwrap());
        let mut opened = open(&engine, 1 << 20);
        for index in 0..100 {
            opened.store.blocking_append([entry(1, index, &[7; 1000])]).await.unwrap();
        }
        opened.writer.close();
    }
    let wal = first_file(directory.path(), ".log");
    let mut bytes = std::fs::read(&wal).unwrap();
    assert!(bytes.len() > 90_000, "the entries are in the write-ahead file");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x40;
    std::fs::write(&wal, bytes).unwrap();
    match RocksEngine::open(directory.path(), RocksOptions::default()) {
        Ok(engine) => {
            let loss = engine.loss().unwrap();
            assert!(loss.latest < loss.ledger && loss.replicas.contains(&REPLICA.1), "{loss:?}");
        }
        Err(OpenError::Database { .. }) => {}
        Err(other) => panic!("{other}"),
    }
}

#[tokio::test]
async fn pitfall_10_log_that_ends_before_its_ledger_knows_of_its_loss_for_ever() {
    let directory = tempfile::tempdir().unwrap();
    {
        let engine: Arc<dyn LogEngine> = Arc::new(RocksEngine::open(directory.path(), RocksOptions::default()).unwrap());
        assert_eq!(engine.loss(), None);
        let mut opened = open(&engine, 1 << 20);
        opened.store.blocking_append((0..10).map(|index| entry(1, index, b"x"))).await.unwrap();
        opened.writer.close();
    }
    // What a disk that lied about its syncs leaves: a log that ends too early.
    ledger::write(directory.path(), 1000).unwrap();
    let first = RocksEngine::open(directory.path(), RocksOptions::default()).unwrap().loss().cloned().unwrap();
    assert!(first.latest < 1000, "{first:?}");
    assert_eq!((first.ledger, &first.replicas), (1000, &[REPLICA.1].into()));
    // What is written afterwards makes the log look whole; the loss stays known, and a new replica is not drawn into it.
    for round in 1..=2 {
        let engine: Arc<dyn LogEngine> = Arc::new(RocksEngine::open(directory.path(), RocksOptions::default()).unwrap());
        assert_eq!(engine.loss(), Some(&first));
        let opened = open(&engine, 0);
        let second = (ShardId(2), ReplicaId(2));
        let mut fresh =
            LogStore::open(second, Arc::clone(&engine), Arc::clone(&opened.writer), TailBudget::new(0), (None, Seal::identity())).unwrap();
        for term in 1..50 {
            fresh.save_vote(&Vote::new(round * 100 + term, 2)).await.unwrap();
        }
        opened.writer.close();
    }
    let engine = RocksEngine::open(directory.path(), RocksOptions::default()).unwrap();
    assert_eq!((engine.loss(), engine.replicas().unwrap()), (Some(&first), vec![ReplicaId(1), ReplicaId(2)]));
}

#[tokio::test]
async fn pitfall_09_image_older_than_what_others_heard_of_is_a_loss_once() {
    let directory = tempfile::tempdir().unwrap();
    let opened =
        |synced_elsewhere| RocksEngine::open(directory.path(), RocksOptions { synced_elsewhere, ..RocksOptions::default() }).unwrap();
    let engine: Arc<dyn LogEngine> = Arc::new(opened(0));
    let mut log = open(&engine, 0);
    log.store.blocking_append((0..10).map(|index| entry(1, index, b"x"))).await.unwrap();
    log.writer.close();
    let told = engine.synced();
    assert!(told > 0);
    drop((log, engine));
    assert_eq!(opened(told).loss(), None, "others know no more than it has");
    let lost = opened(told + 5);
    let loss = lost.loss().cloned().unwrap();
    assert_eq!((loss.ledger, &loss.replicas), (told + 5, &[REPLICA.1].into()));
    assert!(lost.synced() >= told + 5, "it counts on from there");
    drop(lost);
    assert_eq!(opened(told + 5).loss(), Some(&loss), "others remember the same number, and it is no second loss");
}

#[tokio::test]
async fn pitfall_09_a_killed_process_reaches_as_far_as_it_told_though_its_ledger_lags() {
    let directory = tempfile::tempdir().unwrap();
    let engine: Arc<dyn LogEngine> = Arc::new(RocksEngine::open(directory.path(), RocksOptions::default()).unwrap());
    let mut log = open(&engine, 0);
    log.store.blocking_append((0..10).map(|index| entry(1, index, b"x"))).await.unwrap();
    log.writer.close();
    let told = engine.synced();
    drop((log, engine));
    // What a kill leaves: the log whole, its ledger some writes behind.
    super::ledger::write(directory.path(), told - 1).unwrap();
    let again = RocksEngine::open(directory.path(), RocksOptions { synced_elsewhere: told, ..RocksOptions::default() }).unwrap();
    assert_eq!((again.loss(), again.synced()), (None, told - 1));
    assert!(again.reaches() >= told);
}

#[tokio::test]
async fn log_without_its_ledger_does_not_open() {
    let directory = tempfile::tempdir().unwrap();
    drop(RocksEngine::open(directory.path(), RocksOptions::default()).unwrap());
    std::fs::remove_file(directory.path().join("LEDGER")).unwrap();
    assert!(matches!(RocksEngine::open(directory.path(), RocksOptions::default()), Err(OpenError::LedgerDamaged { .. })));
}

#[tokio::test]
async fn pitfall_17_failed_write_is_reported_never_retried_and_stops_the_process() {
    let memory = MemoryEngine::new();
    let engine: Arc<dyn LogEngine> = Arc::<MemoryEngine>::clone(&memory);
    let mut opened = open(&engine, 1 << 20);
    opened.store.blocking_append([entry(1, 0, b"x")]).await.unwrap();
    memory.fail_next_write();
    assert!(opened.store.blocking_append([entry(1, 1, b"x")]).await.is_err());
    assert!(opened.store.save_vote(&Vote::new(2, 1)).await.is_err(), "the disk would work again, but nothing is known about it");
    opened.writer.close();
    assert_eq!(opened.fatal_count.load(Ordering::SeqCst), 1);
    assert_eq!(memory.sync_count(), 1);
}

#[tokio::test]
async fn tails_of_all_replicas_share_one_bound() {
    let engine: Arc<dyn LogEngine> = MemoryEngine::new();
    let opened = open(&engine, 0);
    let budget = TailBudget::new(100_000);
    let mut first = LogStore::open(
        (ShardId(2), ReplicaId(2)),
        Arc::clone(&engine),
        Arc::clone(&opened.writer),
        Arc::clone(&budget),
        (None, Seal::identity()),
    )
    .unwrap();
    first.blocking_append((0..90).map(|index| entry(1, index, &[0; 1000]))).await.unwrap();
    let in_tail = |store: &LogStore| store.log.state.lock().tail.first();
    assert_eq!(in_tail(&first), Some(2), "88 entries of 1,128 bytes fit");
    let _second =
        LogStore::open((ShardId(3), ReplicaId(3)), Arc::clone(&engine), Arc::clone(&opened.writer), budget, (None, Seal::identity()))
            .unwrap();
    assert_eq!(in_tail(&first), Some(46), "half the share is left");
}

const OTHER: ReplicaId = ReplicaId(2);

fn put(replica: ReplicaId, index: u64, bytes: usize) -> Vec<LogOp> {
    vec![LogOp::PutEntry { replica, index, value: vec![0; bytes].into() }]
}

/// A writer over a slow disk with replica 1 in a workspace of its own and replica 2 in another.
fn two_workspaces(queue_bytes: usize) -> (Arc<MemoryEngine>, Arc<LogWriter>) {
    let memory = MemoryEngine::new();
    memory.set_sync_delay(Duration::from_millis(20));
    let engine: Arc<dyn LogEngine> = Arc::<MemoryEngine>::clone(&memory);
    let writer = LogWriter::start(engine, queue_bytes, FatalHandler::default(), Arc::new(SystemClock::default())).unwrap();
    writer.register(REPLICA.1, &WorkspaceId::new("flooded"));
    writer.register(OTHER, &WorkspaceId::new("quiet"));
    (memory, writer)
}

#[tokio::test]
async fn c16_flood_of_one_workspace_delays_another_by_one_batch_at_most() {
    let (memory, writer) = two_workspaces(256 << 20);
    for index in 0..64 {
        writer.append(REPLICA.1, put(REPLICA.1, index, 1 << 20), Box::new(|_| {})).await.unwrap();
    }
    let before = memory.sync_count();
    writer.write_durably(OTHER, put(OTHER, 0, 100)).await.unwrap();
    let batches = memory.sync_count() - before;
    assert!(batches <= 2, "{batches} batches: more than the one being written and its own");
    let flood = memory.last_index(REPLICA.1).unwrap().unwrap();
    assert!(flood < 32, "the flood was not over when the other came through: {flood}");
    writer.close();
    assert_eq!(memory.last_index(REPLICA.1).unwrap(), Some(63), "nothing is lost");
}

#[tokio::test]
async fn c16_flood_that_fills_the_queue_leaves_another_workspace_its_share_of_it() {
    let (memory, writer) = two_workspaces(1 << 20);
    let flood = {
        let writer = Arc::clone(&writer);
        tokio::spawn(async move {
            for index in 0..64 {
                writer.append(REPLICA.1, put(REPLICA.1, index, 1 << 20), Box::new(|_| {})).await.unwrap();
            }
        })
    };
    while memory.sync_count() < 2 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let before = memory.sync_count();
    let (sender, written) = tokio::sync::oneshot::channel();
    writer.append(OTHER, put(OTHER, 0, 100), Box::new(|result| drop(sender.send(result)))).await.unwrap();
    written.await.unwrap().unwrap();
    assert!(memory.sync_count() - before <= 2);
    assert!(!flood.is_finished(), "the queue is bounded");
    flood.await.unwrap();
    writer.close();
    assert_eq!(memory.last_index(REPLICA.1).unwrap(), Some(63));
}

#[tokio::test]
async fn c16_votes_entries_truncations_and_the_end_of_a_replica_keep_their_order() {
    let (memory, writer) = two_workspaces(64 << 20);
    let order = Arc::new(Mutex::new(Vec::new()));
    let note = |what: &'static str| {
        let order = Arc::clone(&order);
        Box::new(move |_| order.lock().push(what))
    };
    writer.append(OTHER, put(OTHER, 0, 8 << 20), note("entries")).await.unwrap();
    writer.enqueue(OTHER, vec![LogOp::Truncate { replica: OTHER, index: 0 }]).unwrap();
    writer.append(OTHER, put(OTHER, 0, 10), note("rewritten")).await.unwrap();
    writer.append(REPLICA.1, put(REPLICA.1, 0, 10), note("of another group")).await.unwrap();
    let vote = vec![LogOp::PutState { replica: OTHER, tag: StateTag::Vote, value: Bytes::from_static(b"v") }];
    writer.write_durably(OTHER, vote).await.unwrap();
    order.lock().retain(|what| *what != "of another group");
    assert_eq!(*order.lock(), ["entries", "rewritten"], "before the vote that followed them");
    assert_eq!(memory.entries(OTHER, 0, 2, usize::MAX).unwrap().len(), 1);
    assert_eq!(memory.entries(OTHER, 0, 1, usize::MAX).unwrap()[0].1.len(), 10);
    writer.enqueue(OTHER, vec![LogOp::PutState { replica: OTHER, tag: StateTag::Purged, value: Bytes::from_static(b"p") }]).unwrap();
    writer.destroy(OTHER).await.unwrap();
    assert_eq!(memory.replicas().unwrap(), [REPLICA.1], "nothing comes after the end");
}
