//! From a proposal to its answer by apply, and the synced batch of the log.

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use model::ReplicaId;
use raft::log_store::LogOp;
use raft::testing::{TestCluster, fast_config};
use raft::{LogEngine, RocksEngine, RocksOptions};
use std::hint::black_box;
use tokio::runtime::Runtime;

/// Payload of one entry.
const PAYLOAD_BYTES: usize = 1 << 10;
/// Proposals in flight at once.
const PIPELINE: usize = 64;

fn payload() -> Bytes {
    Bytes::from(format!("k={}", "x".repeat(PAYLOAD_BYTES - 2)))
}

fn propose(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime starts");
    let mut group = criterion.benchmark_group("propose");
    for replicas in [1, 3] {
        let cluster = runtime.block_on(TestCluster::founded(replicas, fast_config())).expect("the cluster is founded");
        let leader = runtime.block_on(cluster.leader());
        let leader = cluster.group(leader);
        group.throughput(Throughput::Elements(1));
        group.bench_function(BenchmarkId::new("one_in_flight", replicas), |bencher| {
            bencher.iter(|| runtime.block_on(leader.propose(payload(), None)).expect("the leader stays"));
        });
        group.throughput(Throughput::Elements(PIPELINE as u64));
        group.bench_function(BenchmarkId::new("64_in_flight", replicas), |bencher| {
            bencher.iter(|| {
                let answers = runtime.block_on(leader.propose_many(vec![payload(); PIPELINE], None));
                assert!(black_box(answers).iter().all(Result::is_ok), "the leader stays");
            });
        });
    }
    group.finish();
}

fn synced_batch(criterion: &mut Criterion) {
    let directory = tempfile::tempdir().expect("a directory");
    let engine = RocksEngine::open(directory.path(), RocksOptions::default()).expect("the engine opens");
    let mut group = criterion.benchmark_group("rocks_synced_batch");
    for groups in [1_u64, 16, 64] {
        let mut index = 0;
        group.throughput(Throughput::Elements(groups));
        group.bench_function(BenchmarkId::from_parameter(groups), |bencher| {
            bencher.iter(|| {
                index += 1;
                let put = |replica| LogOp::PutEntry { replica: ReplicaId(replica), index, value: payload() };
                engine.write(&(0..groups).map(put).collect::<Vec<_>>(), true).expect("the disk works");
            });
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20).measurement_time(std::time::Duration::from_secs(3));
    targets = propose, synced_batch
}
criterion_main!(benches);
