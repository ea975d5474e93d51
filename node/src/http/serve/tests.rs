#![allow(clippy::disallowed_methods, reason = "real sockets")]

use super::*;
use crate::config::CorsOrigin;
use crate::http::cors;
use crate::http::error::WriteError;
use crate::http::extract::{ReadLimits, read_body};
use axum::body::Body;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::routing::{get, post};
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio::sync::oneshot;

const BODY: ReadLimits = ReadLimits { bytes: 1000, time: Duration::from_millis(200) };

async fn write(request: Request) -> Result<StatusCode, WriteError> {
    let (head, body) = request.into_parts();
    crate::ingest::check_headers(&head.headers)?;
    read_body(&head.headers, body, BODY).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn router() -> Router {
    let slow = || async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        "slow"
    };
    Router::new()
        .route("/api/v1/write", post(write))
        .route("/-/healthy", get(|| async { "ok" }))
        .route("/slow", get(slow))
        .route("/stuck", get(|| async { std::future::pending::<&str>().await }))
        .layer(axum::middleware::from_fn_with_state(Arc::new(CorsOrigin::parse(".*").unwrap()), cors::middleware))
}

struct Server {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    ended: tokio::task::JoinHandle<Drained>,
}

async fn start(limits: ServeLimits) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let shutdown = async {
        let _ = stopped.await;
    };
    let ended = tokio::spawn(serve(listener, router(), limits, shutdown));
    Server { address, stop, ended }
}

/// Sends raw bytes and reads until the server closes or falls silent.
async fn exchange(address: SocketAddr, request: &[u8]) -> String {
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut read, mut write) = stream.into_split();
    let request = request.to_vec();
    let sent = tokio::spawn(async move {
        let _ = write.write_all(&request).await;
        write
    });
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(Duration::from_millis(1500), read.read_to_end(&mut answer)).await;
    sent.abort();
    String::from_utf8_lossy(&answer).into_owned()
}

fn status(answer: &str) -> u16 {
    answer.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or(0)
}

#[tokio::test]
async fn hostile_requests_get_their_status() {
    let server = start(ServeLimits::default()).await;
    let head = |first: &str, rest: &str| format!("{first} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{rest}\r\n").into_bytes();
    let with_body = |rest: &str, body: &[u8]| [&head("POST /api/v1/write", rest)[..], body].concat();
    let endless = [b"3e8\r\n".to_vec(), vec![b'x'; 1000], b"\r\n".to_vec()].concat().repeat(100);
    let table: Vec<(&str, Vec<u8>, u16)> = vec![
        ("healthy", head("GET /-/healthy", ""), 200),
        ("a write", with_body("content-length: 3\r\n", b"abc"), 204),
        ("wrong method", head("GET /api/v1/write", ""), 405),
        ("unknown path", head("GET /nothing", ""), 404),
        ("path traversal", head("GET /../../etc/passwd", ""), 404),
        ("encoded path traversal", head("GET /%2e%2e/%2e%2e/etc/passwd", ""), 404),
        ("head of 63 KiB", head("GET /-/healthy", &format!("x: {}\r\n", "a".repeat(63 << 10))), 200),
        ("head of 65 KiB", head("GET /-/healthy", &format!("x: {}\r\n", "a".repeat(65 << 10))), 431),
        ("two hundred headers", head("GET /-/healthy", &"x: y\r\n".repeat(200)), 431),
        ("bare carriage return", head("GET /-/healthy", "x: a\rb\r\n"), 400),
        ("not HTTP", b"\x16\x03\x01 hello\r\n\r\n".to_vec(), 400),
        ("gzip body", with_body("content-encoding: gzip\r\ncontent-length: 3\r\n", b"abc"), 415),
        ("json", with_body("content-type: application/json\r\ncontent-length: 2\r\n", b"{}"), 415),
        ("announced too large", with_body("content-length: 1001\r\n", b""), 413),
        ("sent too large in chunks", with_body("transfer-encoding: chunked\r\n", &endless), 413),
        ("two lengths", with_body("content-length: 3\r\ncontent-length: 4\r\n", b"abcd"), 400),
        ("length without body", with_body("content-length: 10\r\n", b"abc"), 408),
        ("broken chunk", with_body("transfer-encoding: chunked\r\n", b"zz\r\nabc"), 400),
        ("preflight of any path", head("OPTIONS /any/path", "origin: http://a\r\n"), 204),
    ];
    for (name, request, expected) in table {
        let answer = exchange(server.address, &request).await;
        assert_eq!(status(&answer), expected, "{name}: {answer}");
    }
    let preflight = exchange(server.address, &head("OPTIONS /x", "origin: http://a\r\n")).await;
    assert!(preflight.contains("access-control-allow-origin: *"), "{preflight}");
}

#[tokio::test]
async fn a_head_that_never_ends_is_cut_off() {
    let server = start(ServeLimits { head_time: Duration::from_millis(100), ..ServeLimits::default() }).await;
    let answer = exchange(server.address, b"GET /-/healthy HTTP/1.1\r\nhost: a\r\n").await;
    assert!(matches!(status(&answer), 0 | 408), "{answer}");
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(b"GET /-/heal").await.unwrap();
    let closed = tokio::time::timeout(Duration::from_secs(2), stream.read_to_end(&mut Vec::new())).await;
    assert!(closed.is_ok(), "the connection stays open");
}

#[tokio::test]
async fn http2_is_served_on_the_same_port() {
    let server = start(ServeLimits::default()).await;
    let channel = tonic::transport::Endpoint::from_shared(format!("http://{}", server.address)).unwrap().connect().await.unwrap();
    let request = |padding: usize| {
        let request = axum::http::Request::get(format!("http://{}/-/healthy", server.address)).header("x", "a".repeat(padding));
        request.body(tonic::body::Body::empty()).unwrap()
    };
    let mut channel = channel;
    for (padding, expected) in [(10, 200), (80 << 10, 431)] {
        std::future::poll_fn(|cx| Service::<axum::http::Request<tonic::body::Body>>::poll_ready(&mut channel, cx)).await.unwrap();
        let response = Service::call(&mut channel, request(padding)).await.unwrap();
        assert_eq!(response.status().as_u16(), expected);
    }
}

#[tokio::test]
async fn a_shutdown_lets_open_requests_end_and_takes_no_more() {
    let server = start(ServeLimits::default()).await;
    let address = server.address;
    let open = tokio::spawn(async move { exchange(address, b"GET /slow HTTP/1.1\r\nhost: a\r\n\r\n").await });
    let idle = TcpStream::connect(address).await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    server.stop.send(()).unwrap();
    let answer = open.await.unwrap();
    assert!(status(&answer) == 200 && answer.ends_with("slow"), "{answer}");
    assert_eq!(server.ended.await.unwrap(), Drained { cut: 0 });
    assert!(TcpStream::connect(address).await.is_err());
    drop(idle);
}

#[tokio::test]
async fn a_drain_ends_by_its_deadline() {
    let server = start(ServeLimits { drain: Duration::from_millis(100), ..ServeLimits::default() }).await;
    let address = server.address;
    let stuck = tokio::spawn(async move { exchange(address, b"GET /stuck HTTP/1.1\r\nhost: a\r\n\r\n").await });
    tokio::time::sleep(Duration::from_millis(100)).await;
    server.stop.send(()).unwrap();
    assert_eq!(server.ended.await.unwrap(), Drained { cut: 1 });
    assert_eq!(stuck.await.unwrap(), "");
}

#[tokio::test]
async fn connections_beyond_the_limit_wait() {
    let server = start(ServeLimits { connections: 1, ..ServeLimits::default() }).await;
    let first = TcpStream::connect(server.address).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    let address = server.address;
    let second = tokio::spawn(async move { exchange(address, b"GET /-/healthy HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await });
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!second.is_finished());
    drop(first);
    assert_eq!(status(&second.await.unwrap()), 200);
}

#[tokio::test]
async fn bodies_are_streamed_through_one_connection_of_any_kind() {
    let (client, server) = tokio::io::duplex(1 << 10);
    let router = Router::new().route("/", get(|| async { Body::from(vec![b'x'; 5000]) }));
    let served = tokio::spawn(async move {
        let peer = PeerAddress("127.0.0.1:1".parse().unwrap());
        serve_connection(&connection_builder(&ServeLimits::default()), server, peer, router, &CancellationToken::new()).await;
    });
    let (mut read, mut write) = tokio::io::split(client);
    write.write_all(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    read.read_to_end(&mut answer).await.unwrap();
    assert!(answer.ends_with(&vec![b'x'; 5000]));
    served.await.unwrap();
}
