use super::*;
use crate::net::Effect;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::time::timeout;

const SOON: Duration = Duration::from_secs(5);
const QUIET: Duration = Duration::from_millis(150);

/// An echo server as node 1 behind a proxy; the caller is whoever `caller` says.
struct Bench {
    links: Arc<Links>,
    address: SocketAddr,
    caller: Arc<AtomicU64>,
    _proxy: Proxy,
}

async fn bench() -> Bench {
    let echo = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = echo.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = echo.accept().await.unwrap();
            tokio::spawn(async move {
                let (mut r, mut w) = stream.split();
                let _ended = tokio::io::copy(&mut r, &mut w).await;
            });
        }
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, links, caller) = (listener.local_addr().unwrap(), Arc::new(Links::default()), Arc::new(AtomicU64::new(0)));
    let who = Arc::clone(&caller);
    let identify: IdentifyCaller = Arc::new(move |_, _| Some(who.load(Ordering::SeqCst) as usize));
    let proxy = Proxy::start(listener, 1, target, Arc::clone(&links), identify);
    Bench { links, address, caller, _proxy: proxy }
}

impl Bench {
    async fn connect_as(&self, node: u64) -> TcpStream {
        self.caller.store(node, Ordering::SeqCst);
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        // The caller is looked up after the accept: an echo shows that it happened, if the link is open.
        if self.links.state(node as usize, 1) == Gate::Open {
            assert!(echoes(&mut stream).await);
        }
        stream
    }
}

async fn echoes(stream: &mut TcpStream) -> bool {
    let mut answer = [0u8; 4];
    stream.write_all(b"ping").await.is_ok()
        && matches!(timeout(SOON, stream.read_exact(&mut answer)).await, Ok(Ok(_)))
        && answer == *b"ping"
}

/// Whether the connection ends without another byte.
async fn is_closed(stream: &mut TcpStream) -> bool {
    let _refused = stream.write_all(b"ping").await;
    matches!(timeout(SOON, stream.read(&mut [0u8; 4])).await, Ok(Ok(0) | Err(_)))
}

async fn is_silent(stream: &mut TcpStream) -> bool {
    timeout(QUIET, stream.read(&mut [0u8; 4])).await.is_err()
}

#[tokio::test]
async fn bytes_flow_both_ways_while_the_link_is_open() {
    let bench = bench().await;
    let mut stream = bench.connect_as(0).await;
    for _ in 0..100 {
        assert!(echoes(&mut stream).await);
    }
}

#[tokio::test]
async fn a_refused_link_kills_connections_of_that_caller_only_until_healed() {
    let bench = bench().await;
    let (mut cut, mut other) = (bench.connect_as(0).await, bench.connect_as(2).await);
    let id = bench.links.apply(vec![(0, 1)], Effect::Cut(Gate::Refused));
    assert!(is_closed(&mut cut).await);
    assert!(echoes(&mut other).await);
    assert!(is_closed(&mut bench.connect_as(0).await).await);
    assert!(echoes(&mut bench.connect_as(2).await).await);
    bench.links.heal(id);
    assert!(echoes(&mut bench.connect_as(0).await).await);
}

#[tokio::test]
async fn a_cut_of_the_other_direction_changes_nothing() {
    let bench = bench().await;
    let mut stream = bench.connect_as(0).await;
    bench.links.apply(vec![(1, 0), (1, 2)], Effect::Cut(Gate::Refused));
    assert!(echoes(&mut stream).await);
    assert!(echoes(&mut bench.connect_as(0).await).await);
}

#[tokio::test]
async fn a_black_hole_accepts_and_forwards_nothing() {
    let bench = bench().await;
    let mut old = bench.connect_as(0).await;
    let id = bench.links.apply(vec![(0, 1)], Effect::Cut(Gate::BlackHole));
    assert!(is_closed(&mut old).await);
    let mut new = bench.connect_as(0).await;
    new.write_all(b"ping").await.unwrap();
    assert!(is_silent(&mut new).await);
    bench.links.heal(id);
    assert!(is_closed(&mut new).await);
    assert!(echoes(&mut bench.connect_as(0).await).await);
}

#[tokio::test]
async fn a_stalled_link_delivers_after_the_heal() {
    let bench = bench().await;
    let mut old = bench.connect_as(0).await;
    let id = bench.links.apply(vec![(0, 1)], Effect::Cut(Gate::Stalled));
    let mut new = bench.connect_as(0).await;
    for stream in [&mut old, &mut new] {
        stream.write_all(b"late").await.unwrap();
        assert!(is_silent(stream).await);
    }
    bench.links.heal(id);
    for stream in [&mut old, &mut new] {
        let mut answer = [0u8; 4];
        timeout(SOON, stream.read_exact(&mut answer)).await.unwrap().unwrap();
        assert_eq!(&answer, b"late");
    }
}

#[tokio::test]
async fn the_newest_of_overlapping_cuts_rules_and_each_heals_alone() {
    let links = Links::default();
    let first = links.apply(vec![(0, 1), (1, 0)], Effect::Cut(Gate::Refused));
    let second = links.apply(vec![(0, 1)], Effect::Cut(Gate::Stalled));
    assert_eq!((links.state(0, 1), links.state(1, 0), links.state(0, 2)), (Gate::Stalled, Gate::Refused, Gate::Open));
    links.heal(second);
    assert_eq!(links.state(0, 1), Gate::Refused);
    links.heal(first);
    assert_eq!(links.state(1, 0), Gate::Open);
}

#[tokio::test]
async fn an_unknown_caller_is_turned_away() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let _proxy = Proxy::start(listener, 0, address, Arc::new(Links::default()), Arc::new(|_, _| None));
    assert!(is_closed(&mut TcpStream::connect(address).await.unwrap()).await);
}

#[tokio::test]
async fn a_child_process_is_told_from_its_sockets() {
    let echo = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (target, address) = (echo.local_addr().unwrap(), listener.local_addr().unwrap());
    let (links, pids) = (Arc::new(Links::default()), Arc::new(owner::Pids::new(2)));
    let known = Arc::clone(&pids);
    let _proxy = Proxy::start(listener, 1, target, Arc::clone(&links), Arc::new(move |c, l| known.caller(c, l)));
    let script = format!("exec 3<>/dev/tcp/127.0.0.1/{}; echo hello >&3; read -r -u 3 answer; echo got:$answer", address.port());
    let run = || {
        let child = tokio::process::Command::new("bash")
            .args(["-c", &script])
            .stderr(std::process::Stdio::null())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        pids.set(0, child.id());
        child.wait_with_output()
    };
    let answered = async {
        let (mut stream, _) = echo.accept().await.unwrap();
        stream.read_exact(&mut [0u8; 6]).await.unwrap();
        stream.write_all(b"hi\n").await.unwrap();
    };
    let (output, ()) = timeout(SOON, async { tokio::join!(run(), answered) }).await.unwrap();
    assert_eq!(output.unwrap().stdout, b"got:hi\n");
    links.apply(vec![(0, 1)], Effect::Cut(Gate::Refused));
    assert_eq!(timeout(SOON, run()).await.unwrap().unwrap().stdout, b"got:\n");
}
