//! What a whole node takes for a million active series of twelve labels: resident bytes a series, CPU a sample, and the time from
//! `kill -9` until it says that it is ready.
//!
//! `cargo bench -p node --bench million -- [SERIES] [SCRAPES]`; by default 1,000,000 series and 20 scrapes. Linux only: memory and
//! CPU are read off `/proc`.
#![allow(missing_docs)]
#![allow(clippy::disallowed_methods, reason = "a sender has its own clock")]

use prost::Message;
use proto::prometheus::{Label, Sample, TimeSeries, WriteRequest};
use rustix::process::{Pid, Signal, kill_process};
use std::io::Write;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Series of one target.
const PER_TARGET: usize = 1000;
/// Series of one request.
const PER_REQUEST: usize = 2000;
const CONNECTIONS: usize = 4;
const INTERVAL_MS: i64 = 15_000;
const SETTLE: Duration = Duration::from_secs(15);
const RESTARTS: usize = 3;
/// Clock ticks a second in `/proc`; the same on every Linux that user programs see.
const TICKS: f64 = 100.0;

fn labels(series: usize) -> Vec<Label> {
    let label = |name: &str, value: String| Label { name: name.into(), value };
    let (target, metric) = (series / PER_TARGET, series % PER_TARGET);
    vec![
        label("__name__", format!("service_metric_{:03}_total", metric / 4)),
        label("cluster", "production-eu-west-1".into()),
        label("container", format!("container-{}", target % 13)),
        label("device", format!("nvme{}n1", metric % 2)),
        label("environment", "production".into()),
        label("instance", format!("10.20.{}.{}:9100", target / 250, target % 250)),
        label("job", format!("job-{}", target % 20)),
        label("mode", ["idle", "system"][metric / 2 % 2].into()),
        label("namespace", format!("team-{}", target % 50)),
        label("node", format!("ip-10-20-{}-{}.compute.internal", target / 250, target % 250)),
        label("pod", format!("service-{}-7d4b9c6f5-{target:05x}", target % 20)),
        label("zone", format!("eu-west-1{}", ["a", "b", "c"][target % 3])),
    ]
}

/// Half never changes, a quarter counts, the rest walks with two decimals.
fn value(series: usize, scrape: usize) -> f64 {
    match series % 4 {
        0 | 1 => series as f64,
        2 => (scrape * (series % 97)) as f64,
        _ => ((series * 31 + scrape * scrape * 7) % 10_000) as f64 / 100.0,
    }
}

fn request(first: usize, end: usize, scrape: usize, start_ms: i64) -> Vec<u8> {
    let timeseries = (first..end).map(|series| {
        let timestamp = start_ms + scrape as i64 * INTERVAL_MS + (series / PER_TARGET) as i64 % 1000;
        TimeSeries { labels: labels(series), samples: vec![Sample { value: value(series, scrape), timestamp }], exemplars: vec![] }
    });
    let message = WriteRequest { timeseries: timeseries.collect(), metadata: vec![] };
    snap::raw::Encoder::new().compress_vec(&message.encode_to_vec()).expect("a body below 4 GiB")
}

struct Node {
    child: Child,
    url: String,
}

impl Node {
    /// Starts the node; gives the time until it was ready.
    fn start(folder: &Path, ports: [u16; 2]) -> (Self, Duration) {
        let began = Instant::now();
        let [http, rpc] = ports.map(|port| format!("127.0.0.1:{port}"));
        let child = Command::new(env!("CARGO_BIN_EXE_flotilla"))
            .arg("serve")
            .arg("--data")
            .arg(folder)
            .args(["--web.listen-address", &http, "--rpc.listen-address", &rpc, "--rpc.advertise-address", &rpc])
            .args(["--initial-nodes", &rpc, "--bootstrap", "--limits.late-window=24h", "--log.level=warn"])
            .stdin(Stdio::null())
            .spawn()
            .expect("the node starts");
        let node = Self { child, url: format!("http://{http}") };
        while !node.is_ready(&http) {
            assert!(began.elapsed() < Duration::from_secs(120), "the node is not ready");
            std::thread::sleep(Duration::from_millis(5));
        }
        (node, began.elapsed())
    }

    fn is_ready(&self, address: &str) -> bool {
        use std::io::Read;
        let Ok(mut stream) = std::net::TcpStream::connect(address) else { return false };
        let mut answer = [0; 12];
        stream.write_all(b"GET /-/ready HTTP/1.1\r\nhost: node\r\nconnection: close\r\n\r\n").is_ok()
            && stream.read_exact(&mut answer).is_ok()
            && &answer == b"HTTP/1.1 200"
    }

    fn pid(&self) -> Pid {
        i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a process has a number")
    }

    fn kill(mut self) {
        kill_process(self.pid(), Signal::KILL).expect("the node is killed");
        self.child.wait().expect("the node ends");
    }

    fn resident_bytes(&self, field: &str) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("the node's status");
        let line = status.lines().find(|line| line.starts_with(field)).expect("a line of memory");
        line.split_whitespace().nth(1).and_then(|kib| kib.parse::<f64>().ok()).expect("a number") * 1024.0
    }

    fn cpu_seconds(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).expect("the node's times");
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks = |at: usize| fields.get(at).and_then(|t: &&str| t.parse::<f64>().ok()).expect("a number");
        (ticks(11) + ticks(12)) / TICKS
    }
}

async fn write(node: &Node, series: usize, scrapes: usize, start_ms: i64) {
    let client = reqwest::Client::builder().pool_max_idle_per_host(CONNECTIONS).build().expect("a client");
    let share = series.div_ceil(CONNECTIONS).next_multiple_of(PER_REQUEST);
    for scrape in 0..scrapes {
        let senders = (0..CONNECTIONS).map(|connection| {
            let (client, url) = (client.clone(), format!("{}/api/v1/write", node.url));
            tokio::spawn(async move {
                let end = series.min((connection + 1) * share);
                for first in (connection * share..end).step_by(PER_REQUEST) {
                    let body = request(first, end.min(first + PER_REQUEST), scrape, start_ms);
                    send(&client, &url, body).await;
                }
            })
        });
        for sender in senders.collect::<Vec<_>>() {
            sender.await.expect("a sender ends well");
        }
    }
}

/// Sends one request until it is taken.
async fn send(client: &reqwest::Client, url: &str, body: Vec<u8>) {
    let body = bytes::Bytes::from(body);
    loop {
        let post = client.post(url).header("content-encoding", "snappy").header("content-type", "application/x-protobuf");
        match post.body(body.clone()).send().await {
            Ok(answer) if answer.status().is_success() => return,
            Ok(answer) if answer.status().is_server_error() => tokio::time::sleep(Duration::from_millis(50)).await,
            other => panic!("a write was not taken: {other:?}"),
        }
    }
}

fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |t| i64::try_from(t.as_millis()).unwrap_or(0))
}

fn free_ports() -> [u16; 2] {
    let listeners = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").expect("a free port"));
    listeners.map(|listener| listener.local_addr().expect("an address").port())
}

fn main() {
    let numbers: Vec<usize> = std::env::args().skip(1).filter_map(|argument| argument.parse().ok()).collect();
    let (series, scrapes) = (numbers.first().copied().unwrap_or(1_000_000), numbers.get(1).copied().unwrap_or(20).max(1));
    let mut out = std::io::stdout().lock();
    let folder = tempfile::tempdir().expect("a folder");
    let ports = free_ports();
    let (node, _) = Node::start(folder.path(), ports);
    let empty = node.resident_bytes("VmRSS");
    let (samples, per_series) = ((series * scrapes) as f64, |bytes: f64| bytes / series as f64);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let before = node.cpu_seconds();
    runtime.block_on(write(&node, series, scrapes, now_ms() - scrapes as i64 * INTERVAL_MS));
    let mut say = |what: &str, n: f64| writeln!(out, "{what:<44} {n:>10.3}").expect("written");
    say("series", series as f64);
    say("scrapes", scrapes as f64);
    say("resident bytes a series after the writes", per_series(node.resident_bytes("VmRSS")));
    say("resident bytes a series at the peak", per_series(node.resident_bytes("VmHWM")));
    std::thread::sleep(SETTLE);
    say("CPU seconds a million samples, settled", (node.cpu_seconds() - before) / samples * 1e6);
    say("resident bytes a series, settled", per_series(node.resident_bytes("VmRSS")));
    say("resident MiB of the node before any series", empty / f64::from(1 << 20));
    let mut node = node;
    for _ in 0..RESTARTS {
        node.kill();
        let (again, took) = Node::start(folder.path(), ports);
        node = again;
        say("seconds from the start after kill -9 to ready", took.as_secs_f64());
        say("resident bytes a series after the restart", per_series(node.resident_bytes("VmRSS")));
    }
    node.kill();
}
