//! Asks an HTTP server for one status code. Enough for health checks, and without a client's weight.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::config::{Address, AddressError};

/// Time for one whole answer.
pub const PROBE_TIMEOUT: Duration = Duration::from_secs(2);

/// Bytes in which the status line must have ended.
const STATUS_LINE_BYTES_MAX: u64 = 256;

/// Where to ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Host and port.
    pub address: Address,
    /// Path, with its leading slash, and query.
    pub path: String,
}

/// Why there is no status code.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// Not a URL of the form `http://HOST:PORT/PATH`.
    #[error("{url:?} is not of the form http://HOST:PORT/PATH")]
    NotHttp {
        /// The text.
        url: String,
    },
    /// The URL's host or port.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// The connection.
    #[error("no answer: {0}")]
    Io(#[from] io::Error),
    /// The answer is not HTTP.
    #[error("the answer is not HTTP")]
    BadAnswer,
    /// The server is not well.
    #[error("the answer is {0}, not 200")]
    NotOk(u16),
    /// No status line within [`PROBE_TIMEOUT`].
    #[error("no answer within {PROBE_TIMEOUT:?}")]
    Timeout,
}

impl Target {
    /// Makes a target.
    pub fn new(address: Address, path: &str) -> Self {
        Target { address, path: path.to_owned() }
    }

    /// Parses `http://HOST:PORT/PATH`; without a path it is `/`.
    ///
    /// # Errors
    /// Another scheme, a missing port or a path that would break out of the request line.
    pub fn parse(url: &str) -> Result<Self, ProbeError> {
        let not_http = || ProbeError::NotHttp { url: url.to_owned() };
        let rest = url.strip_prefix("http://").ok_or_else(not_http)?;
        let split = rest.find('/').unwrap_or(rest.len());
        let (authority, path) = rest.split_at(split);
        if path.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Err(not_http());
        }
        Ok(Target { address: Address::parse_dialable(authority)?, path: if path.is_empty() { "/".to_owned() } else { path.to_owned() } })
    }

    /// Sends a GET and returns the status code of the answer.
    ///
    /// # Errors
    /// No connection, no HTTP, or no answer in time.
    pub async fn status(&self) -> Result<u16, ProbeError> {
        tokio::time::timeout(PROBE_TIMEOUT, self.ask()).await.map_err(|_| ProbeError::Timeout)?
    }

    /// Returns when an answer is 200; asks again `interval` after each other outcome.
    pub async fn until_ok(&self, interval: Duration) {
        while !matches!(self.status().await, Ok(200)) {
            tokio::time::sleep(interval).await;
        }
    }

    #[allow(clippy::disallowed_methods, reason = "asks a real node, from outside")]
    async fn ask(&self) -> Result<u16, ProbeError> {
        let mut stream = TcpStream::connect((self.address.host(), self.address.port())).await?;
        let request = format!("GET {} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.path, self.address);
        stream.write_all(request.as_bytes()).await?;
        let mut answer = stream.take(STATUS_LINE_BYTES_MAX);
        let mut line = Vec::new();
        while !line.contains(&b'\n') {
            if answer.read_buf(&mut line).await? == 0 {
                return Err(ProbeError::BadAnswer);
            }
        }
        status_of(&line).ok_or(ProbeError::BadAnswer)
    }
}

/// Asks once and blocks until there is an answer: what a container's health check runs.
///
/// # Errors
/// Any answer but 200, or none.
pub fn check(target: &Target) -> Result<(), ProbeError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match runtime.block_on(target.status())? {
        200 => Ok(()),
        code => Err(ProbeError::NotOk(code)),
    }
}

fn status_of(line: &[u8]) -> Option<u16> {
    let line = line.split(|byte| *byte == b'\r' || *byte == b'\n').next()?;
    let mut words = std::str::from_utf8(line).ok()?.split(' ');
    words.next().filter(|version| version.starts_with("HTTP/1."))?;
    words.next()?.parse().ok().filter(|code| (100..600).contains(code))
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "real sockets")]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    async fn serve_once(answer: &'static [u8]) -> Target {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 1024];
            let n = stream.read(&mut request).await.unwrap();
            assert!(request[..n].starts_with(b"GET /-/ready HTTP/1.1\r\n"));
            stream.write_all(answer).await.unwrap();
        });
        Target::new(Address::new("127.0.0.1", port), "/-/ready")
    }

    #[tokio::test]
    async fn reads_the_status_and_refuses_what_is_not_http() {
        assert_eq!(serve_once(b"HTTP/1.1 200 OK\r\n\r\n").await.status().await.unwrap(), 200);
        assert_eq!(serve_once(b"HTTP/1.1 503 Service Unavailable\r\n\r\nno leader").await.status().await.unwrap(), 503);
        assert!(matches!(serve_once(b"SSH-2.0-OpenSSH\r\n").await.status().await, Err(ProbeError::BadAnswer)));
        assert!(matches!(serve_once(b"").await.status().await, Err(ProbeError::BadAnswer | ProbeError::Io(_))));
        assert!(matches!(serve_once(&[b'x'; 1000]).await.status().await, Err(ProbeError::BadAnswer)));
    }

    #[test]
    fn urls_are_http_with_host_and_port() {
        let target = Target::parse("http://localhost:9480/-/ready").unwrap();
        assert_eq!(target, Target::new(Address::new("localhost", 9480), "/-/ready"));
        assert_eq!(Target::parse("http://[::1]:80").unwrap(), Target::new(Address::new("::1", 80), "/"));
        for bad in ["https://h:1/", "h:1/", "http://h/", "http://:9480/", "http://h:1/ x", "http://h:1/\r\nEvil: 1"] {
            assert!(Target::parse(bad).is_err(), "{bad}");
        }
    }
}
