//! A node made of a shared file, to test the harness itself: it takes a node's flags, keeps every promise by itself, and
//! breaks one when told so with `--lie`.
//!
//! All fake nodes of a cluster append what they accept to one file beside their data directories and read it back. A
//! write needs an answer from a majority of the peers over RPC, so the harness's cuts and pauses show.

#![allow(clippy::disallowed_methods, reason = "a real process")]

use parking_lot::Mutex;
use prost::Message;
use proto::prometheus::WriteRequest;
use std::collections::{BTreeMap, HashMap};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};

const STALE_NAN: u64 = 0x7ff0_0000_0000_0002;
const PEER_TIMEOUT: Duration = Duration::from_millis(400);

type Labels = BTreeMap<String, String>;
/// What one write kept: `(timestamp in ms, value bits)` by series.
type Written = Vec<(Labels, Vec<(i64, u64)>)>;

/// What the nodes append to the file.
#[derive(serde::Serialize, serde::Deserialize)]
enum Record {
    Written(Written),
    Deleted { matchers: Vec<(String, String)>, start: i64, end: i64 },
}

#[derive(Clone, Copy, PartialEq)]
enum Lie {
    None,
    /// Acknowledges a sample now and then without keeping it.
    Lose,
    /// Flips a bit of a value now and then.
    Corrupt,
    /// Answers with a point that nobody wrote.
    Phantom,
    /// Answers with a point twice.
    Duplicate,
    /// Forgets the newest records when it starts.
    Forget,
    /// Answers reads from what it knew some writes ago.
    Stale,
    /// Refuses a valid write with 400 now and then.
    Refuse,
    /// Turns a NaN into another NaN.
    Payload,
    /// Drops stale markers.
    Marker,
    /// Panics in a task, and lives on.
    Panic,
    /// Acknowledges deletes and forgets every third of them.
    Undelete,
    /// Counts samples twice.
    Meter,
    /// Ends with an error when it is asked to stop.
    Unclean,
}

struct Store {
    file: std::fs::File,
    read_to: u64,
    rest: String,
    series: HashMap<Labels, BTreeMap<i64, u64>>,
}

struct Node {
    store: Mutex<Store>,
    lie: Lie,
    first: bool,
    peers: Vec<String>,
    quorum: usize,
    counted: AtomicU64,
    deletes: AtomicU64,
}

#[tokio::main]
async fn main() {
    let mut flags: HashMap<String, String> = HashMap::new();
    let mut args = std::env::args().skip(1).filter(|a| a != "serve");
    while let Some(name) = args.next() {
        let (name, value) = match name.split_once('=') {
            Some((name, value)) => (name.to_string(), value.to_string()),
            None => (name, args.next().unwrap_or_default()),
        };
        flags.insert(name, value);
    }
    let lie = match flags.get("--lie").map(String::as_str) {
        None => Lie::None,
        Some("lose") => Lie::Lose,
        Some("corrupt") => Lie::Corrupt,
        Some("phantom") => Lie::Phantom,
        Some("duplicate") => Lie::Duplicate,
        Some("forget") => Lie::Forget,
        Some("stale") => Lie::Stale,
        Some("refuse") => Lie::Refuse,
        Some("payload") => Lie::Payload,
        Some("marker") => Lie::Marker,
        Some("panic") => Lie::Panic,
        Some("undelete") => Lie::Undelete,
        Some("meter") => Lie::Meter,
        Some("unclean") => Lie::Unclean,
        Some("crash") => std::process::exit(3),
        Some(other) => panic!("no such lie: {other}"),
    };
    if lie == Lie::Panic {
        let _panicked = tokio::spawn(async { panic!("as told") }).await;
    }
    let log = PathBuf::from(&flags["--data"]).ancestors().nth(2).expect("a data directory has a parent").join("fake.log");
    let file = std::fs::OpenOptions::new().create(true).append(true).read(true).open(&log).expect("the shared file opens");
    let store = Store { file, read_to: 0, rest: String::new(), series: HashMap::new() };
    if lie == Lie::Forget {
        let length = store.file.metadata().expect("the shared file has a length").len();
        store.file.set_len(length * 9 / 10).expect("the shared file is cut");
    }
    let all: Vec<&str> = flags["--initial-nodes"].split(',').collect();
    let own = &flags["--rpc.advertise-address"];
    let peers = all.iter().filter(|a| *a != own).map(ToString::to_string).collect();
    let first = flags["--node-name"] == "node-1";
    let (counted, deletes) = (AtomicU64::new(0), AtomicU64::new(0));
    let node = Arc::new(Node { store: Mutex::new(store), lie, first, peers, quorum: all.len() / 2, counted, deletes });
    let rpc = TcpListener::bind(&flags["--rpc.listen-address"]).await.expect("the RPC port is free");
    let http = TcpListener::bind(&flags["--web.listen-address"]).await.expect("the HTTP port is free");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = rpc.accept().await {
            tokio::spawn(async move {
                let mut byte = [0u8];
                while stream.read_exact(&mut byte).await.is_ok() && stream.write_all(&byte).await.is_ok() {}
            });
        }
    });
    let mut stop = signal(SignalKind::terminate()).expect("signals can be listened to");
    tokio::spawn(async move {
        stop.recv().await;
        std::process::exit(if lie == Lie::Unclean { 1 } else { 0 });
    });
    while let Ok((stream, _)) = http.accept().await {
        tokio::spawn(serve(Arc::clone(&node), stream));
    }
}

async fn serve(node: Arc<Node>, stream: TcpStream) -> Option<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let (mut path, mut length, mut line) = (String::new(), 0usize, String::new());
        loop {
            line.clear();
            if stream.read_line(&mut line).await.ok()? == 0 {
                return None;
            }
            let lower = line.to_ascii_lowercase();
            if path.is_empty() {
                path = line.split(' ').nth(1)?.to_string();
            } else if let Some(n) = lower.strip_prefix("content-length:") {
                length = n.trim().parse().ok()?;
            } else if line == "\r\n" {
                break;
            }
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await.ok()?;
        let (status, text) = node.answer(&path, body).await;
        let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n\r\n", text.len());
        stream.write_all(head.as_bytes()).await.ok()?;
        stream.write_all(text.as_bytes()).await.ok()?;
    }
}

impl Node {
    async fn answer(&self, path: &str, body: Vec<u8>) -> (u16, String) {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        match path {
            "/-/ready" => (if self.has_quorum().await { 200 } else { 503 }, String::new()),
            "/metrics" => {
                let (leads, counted) = (u8::from(self.first), self.counted.load(Relaxed));
                let counter = format!("flotilla_ingest_samples_total{{workspace=\"default\"}} {counted}\n");
                (200, format!("flotilla_raft_leader{{group=\"1\"}} {leads}\n{counter}"))
            }
            "/api/v1/admin/tsdb/delete_series" => {
                if !self.has_quorum().await {
                    return (503, "no quorum".into());
                }
                self.delete(query)
            }
            "/api/v1/write" => {
                if !self.has_quorum().await {
                    return (503, "no quorum".into());
                }
                let raw = snap::raw::Decoder::new().decompress_vec(&body).expect("the harness sends snappy");
                self.write(WriteRequest::decode(raw.as_slice()).expect("the harness sends a write request"))
            }
            "/api/v1/query" => {
                if !self.has_quorum().await {
                    return (503, "no quorum".into());
                }
                self.query(&String::from_utf8_lossy(&body))
            }
            "/cluster/status" => (200, r#"{"data":{"groups":1,"groupsAtTarget":1,"changes":0,"groupsWithoutLeaderHere":[]}}"#.into()),
            _ => (404, String::new()),
        }
    }

    async fn has_quorum(&self) -> bool {
        let mut reached = 0;
        for peer in &self.peers {
            let echo = async {
                let mut stream = TcpStream::connect(peer).await.ok()?;
                stream.write_all(b"x").await.ok()?;
                stream.read_exact(&mut [0u8]).await.ok()
            };
            reached += usize::from(matches!(tokio::time::timeout(PEER_TIMEOUT, echo).await, Ok(Some(_))));
            if reached >= self.quorum {
                return true;
            }
        }
        reached >= self.quorum
    }

    fn write(&self, request: WriteRequest) -> (u16, String) {
        let mut store = self.store.lock();
        store.catch_up();
        let mut record: Written = Vec::new();
        for ts in request.timeseries {
            let labels: Labels = ts.labels.into_iter().map(|l| (l.name, l.value)).collect();
            let mut samples: Vec<(i64, u64)> = ts.samples.iter().map(|s| (s.timestamp, s.value.to_bits())).collect();
            for (t, bits) in &mut samples {
                let sent = *bits;
                if self.lie == Lie::Corrupt && sent % 997 == 0 {
                    *bits ^= 1;
                }
                if self.lie == Lie::Payload && sent == 0x7ff4_dead_beef_0001 {
                    *bits = 0x7ff8_0000_0000_0001;
                }
                let known = store.series.get(&labels).and_then(|s| s.get(t));
                let differs = known.is_some_and(|k| *k != if self.lie == Lie::Corrupt { *bits } else { sent });
                if self.lie == Lie::Refuse && sent % 997 == 0 || differs {
                    return (400, "duplicate sample for timestamp".into());
                }
            }
            let known = store.series.get(&labels);
            let fresh = samples.iter().filter(|(t, _)| known.is_none_or(|s| !s.contains_key(t))).count() as u64;
            self.counted.fetch_add(if self.lie == Lie::Meter { 2 * fresh } else { fresh }, Relaxed);
            samples.retain(|(_, bits)| self.lie != Lie::Lose || bits % 997 != 0);
            samples.retain(|(_, bits)| self.lie != Lie::Marker || *bits != STALE_NAN);
            record.push((labels, samples));
        }
        store.append(&Record::Written(record));
        (204, String::new())
    }

    fn delete(&self, query: &str) -> (u16, String) {
        let form = decode_form(query);
        let at = |name: &str| (form[name].parse::<f64>().expect("a time is a number") * 1000.0).round() as i64;
        let deleted = Record::Deleted { matchers: matchers(&form["match[]"]), start: at("start"), end: at("end") };
        if self.lie != Lie::Undelete || !self.deletes.fetch_add(1, Relaxed).is_multiple_of(3) {
            self.store.lock().append(&deleted);
        }
        (204, String::new())
    }

    fn query(&self, form: &str) -> (u16, String) {
        let form = decode_form(form);
        let expr = &form["query"];
        let end = (form["time"].parse::<f64>().expect("time is a number") * 1000.0).round() as i64;
        let (selector, rest) = expr.split_once('}').expect("a selector in braces");
        let width: i64 = rest.trim_start_matches('[').split("ms").next().and_then(|n| n.parse().ok()).expect("a window in ms");
        let wanted = matchers(selector);
        let mut store = self.store.lock();
        if self.lie != Lie::Stale || !self.first || store.series.is_empty() {
            store.catch_up();
        }
        let counts = expr.starts_with("count_over_time");
        let mut rows = Vec::new();
        for (labels, samples) in &store.series {
            if !matches(&wanted, labels) {
                continue;
            }
            let mut points: Vec<(f64, String)> = samples
                .range(end - width + 1..=end)
                .filter(|(_, bits)| **bits != STALE_NAN)
                .map(|(t, bits)| (*t as f64 / 1000.0, text(f64::from_bits(*bits))))
                .collect();
            if points.is_empty() {
                continue;
            }
            if self.lie == Lie::Phantom && points.len().is_multiple_of(7) {
                points.push((points[0].0 + 0.001, "1".into()));
            }
            if self.lie == Lie::Duplicate && points.len().is_multiple_of(7) {
                points.push(points[0].clone());
            }
            let mut metric = labels.clone();
            rows.push(if counts {
                metric.remove("__name__");
                serde_json::json!({"metric": metric, "value": (end as f64 / 1000.0, points.len().to_string())})
            } else {
                serde_json::json!({"metric": metric, "values": points})
            });
        }
        (200, serde_json::json!({"status": "success", "data": {"resultType": "matrix", "result": rows}}).to_string())
    }
}

impl Store {
    /// Reads what the nodes appended since the last time; torn records are skipped.
    fn catch_up(&mut self) {
        self.file.seek(SeekFrom::Start(self.read_to)).expect("the shared file can be read");
        let mut fresh = String::new();
        self.read_to += self.file.read_to_string(&mut fresh).expect("the shared file is text") as u64;
        self.rest.push_str(&fresh);
        let Some(end) = self.rest.rfind('\n') else { return };
        let complete: String = self.rest.drain(..=end).collect();
        for line in complete.lines().filter(|l| !l.is_empty()) {
            let Ok(record) = serde_json::from_str::<Record>(line) else { continue };
            match record {
                Record::Written(written) => {
                    for (labels, samples) in written {
                        let series = self.series.entry(labels).or_default();
                        for (t, bits) in samples {
                            series.entry(t).or_insert(bits);
                        }
                    }
                }
                Record::Deleted { matchers, start, end } => {
                    for (_, samples) in self.series.iter_mut().filter(|(labels, _)| matches(&matchers, labels)) {
                        samples.retain(|t, _| !(start..=end).contains(t));
                    }
                }
            }
        }
    }

    fn append(&mut self, record: &Record) {
        let line = serde_json::to_string(record).expect("a record is JSON");
        self.file.write_all(format!("\n{line}\n").as_bytes()).expect("the shared file takes a record");
    }
}

/// The matchers of a selector that may lack its closing brace: `(name, value)`, the value with `~` in front for alternatives.
fn matchers(selector: &str) -> Vec<(String, String)> {
    let (metric, inside) = selector.split_once('{').expect("a selector in braces");
    let metric = metric.rsplit('(').next().unwrap_or_default();
    let named = inside.trim_end_matches('}').split(',').filter_map(|m| m.split_once('='));
    let mut all: Vec<(String, String)> = named.map(|(n, v)| (n.into(), v.replace('"', ""))).collect();
    all.push(("__name__".into(), metric.into()));
    all
}

fn matches(matchers: &[(String, String)], labels: &Labels) -> bool {
    matchers.iter().all(|(name, wanted)| {
        let value = labels.get(name).map_or("", String::as_str);
        wanted.strip_prefix('~').map_or(value == wanted, |any| any.split('|').any(|one| one == value))
    })
}

fn text(value: f64) -> String {
    if value.is_infinite() { format!("{}Inf", if value > 0.0 { '+' } else { '-' }) } else { value.to_string() }
}

fn decode_form(form: &str) -> HashMap<String, String> {
    let decode = |s: &str| {
        let mut bytes = Vec::new();
        let mut rest = s.as_bytes();
        while let Some((&b, tail)) = rest.split_first() {
            rest = tail;
            bytes.push(match b {
                b'+' => b' ',
                b'%' => {
                    let hex = std::str::from_utf8(&rest[..2]).expect("escapes are ASCII");
                    rest = &rest[2..];
                    u8::from_str_radix(hex, 16).expect("escapes are hexadecimal")
                }
                b => b,
            });
        }
        String::from_utf8(bytes).expect("forms are UTF-8")
    };
    form.split('&').filter_map(|pair| pair.split_once('=')).map(|(k, v)| (decode(k), decode(v))).collect()
}
