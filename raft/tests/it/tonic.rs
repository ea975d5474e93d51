//! The transport of production, over loopback.

use bytes::Bytes;
use model::clock::SystemClock;
use model::{ReplicaId, ShardId, StoreId, WorkspaceId, limits};
use raft::testing::{Disk, KvMachine, fast_config};
use raft::transport::{self, Lane};
use raft::{Group, GroupSpec, Groups, Identity, RocksEngine, RocksOptions, TonicTransport, Transport, TransportError};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::time::Instant;
use tokio_stream::wrappers::TcpListenerStream;

const SHARD: ShardId = ShardId(1);

struct Node {
    groups: Arc<Groups>,
    group: Group,
    machine: Arc<KvMachine>,
    disk: Arc<Disk>,
    _directory: tempfile::TempDir,
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

fn identity(store: u64, cluster: &[u8]) -> Identity {
    let identity = Identity::new(StoreId(store), 1, "test", 1);
    identity.set_cluster(cluster).unwrap();
    identity
}

async fn listen() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    (listener, address)
}

async fn start(store: u64, listener: TcpListener, peers: &[(u64, String)]) -> Node {
    let directory = tempfile::tempdir().unwrap();
    let engine = Arc::new(RocksEngine::open(directory.path(), RocksOptions::default()).unwrap());
    let identity = identity(store, b"one");
    let transport = TonicTransport::new(identity.clone());
    let groups = Groups::open(fast_config(), identity, engine, transport, Arc::new(SystemClock::default())).unwrap();
    for (peer, address) in peers {
        groups.set_peer(StoreId(*peer), address);
    }
    let service = transport::server(groups.inbox());
    tokio::spawn(tonic::transport::Server::builder().serve_with_incoming(service, TcpListenerStream::new(listener)));
    let disk = Disk::new();
    let machine = KvMachine::open(&disk);
    let spec = GroupSpec { shard: SHARD, replica: ReplicaId(store), workspace: WorkspaceId::new("w"), is_new: true };
    let group = groups.create(spec, Arc::<KvMachine>::clone(&machine)).await.unwrap();
    Node { groups, group, machine, disk, _directory: directory }
}

async fn three() -> (Vec<Node>, Vec<(u64, String)>) {
    let (mut listeners, mut peers) = (Vec::new(), Vec::new());
    for store in 1..=3 {
        let (listener, address) = listen().await;
        listeners.push((store, listener));
        peers.push((store, address));
    }
    let mut nodes = Vec::new();
    for (store, listener) in listeners {
        nodes.push(start(store, listener, &peers).await);
    }
    (nodes, peers)
}

async fn leader(nodes: &[Node]) -> &Node {
    let deadline = soon();
    loop {
        for node in nodes {
            if node.group.status().is_leader && node.group.read_barrier().await.is_ok() {
                return node;
            }
        }
        assert!(Instant::now() < deadline, "no leader");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_nodes_replicate_read_and_send_a_snapshot_to_a_fourth() {
    let (mut nodes, mut peers) = three().await;
    nodes[0].group.initialize((1..=3).map(|id| (ReplicaId(id), StoreId(id))).collect()).await.unwrap();
    let led = leader(&nodes).await;
    let group = led.group.clone();
    let payloads = (0..1000).map(|number| Bytes::from(format!("k{number}={number}"))).collect();
    assert!(group.propose_many(payloads, None).await.iter().all(Result::is_ok));
    let large = Bytes::from(format!("large={}", "x".repeat(limits::ENTRY_BYTES_MAX - 6)));
    assert!(group.propose(large, None).await.is_ok());
    let (leader_store, reader) = (StoreId(led.group.replica().0), nodes.iter().find(|node| !node.group.status().is_leader).unwrap());
    let index = reader.groups.barrier().confirm(SHARD, leader_store, soon()).await.unwrap();
    reader.group.wait_applied(index, soon()).await.unwrap();
    assert_eq!(reader.machine.rows(), led.machine.rows());

    let point = led.machine.checkpoint().unwrap();
    assert_eq!(led.disk.rows().len(), 1001);
    group.checkpointed(point).await.unwrap();
    let (listener, address) = listen().await;
    for node in &nodes {
        node.groups.set_peer(StoreId(4), &address);
    }
    peers.push((4, address));
    nodes.push(start(4, listener, &peers).await);
    group.add_learner(ReplicaId(4), StoreId(4)).await.unwrap();
    let index = group.read_barrier().await.unwrap();
    nodes[3].group.wait_applied(index, soon()).await.unwrap();
    assert_eq!(nodes[3].machine.rows().len(), 1001);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stranger_is_refused_with_both_values() {
    let (listener, address) = listen().await;
    let _node = start(1, listener, &[]).await;
    let stranger = TonicTransport::new(identity(2, b"two"));
    stranger.set_peer(StoreId(1), &address);
    let refusal = stranger.connect(StoreId(1), Lane::Control).await.unwrap_err();
    assert!(refusal.to_string().contains("cluster id differs: ours is 6f6e65, theirs is 74776f"), "{refusal}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pitfall_09_another_store_under_a_known_address_is_refused() {
    let (listener, address) = listen().await;
    let _node = start(1, listener, &[]).await;
    let peer = TonicTransport::new(identity(2, b"one"));
    // The address was store 7's before its disk was wiped.
    peer.set_peer(StoreId(7), &address);
    let refusal = peer.connect(StoreId(7), Lane::Log).await.unwrap_err();
    assert!(matches!(refusal, TransportError::Hello { store: StoreId(7), .. }), "{refusal}");
    assert!(refusal.to_string().contains("expected 7, reached 1"), "{refusal}");
}
