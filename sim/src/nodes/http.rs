//! The least HTTP/1.1 client there can be: one request, one connection.

use std::io;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use turmoil::net::TcpStream;

/// A request.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) method: &'static str,
    pub(super) path: String,
    pub(super) headers: Vec<(&'static str, &'static str)>,
    pub(super) body: Vec<u8>,
}

/// Sends a request; returns the status and the body.
///
/// # Errors
/// The connection broke, or what came is no answer.
pub(super) async fn send(host: &str, port: u16, request: &Request) -> io::Result<(u16, Vec<u8>)> {
    let mut stream = TcpStream::connect((host, port)).await?;
    let mut head = format!(
        "{} {} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\ncontent-length: {}\r\n",
        request.method,
        request.path,
        request.body.len()
    );
    for (name, value) in &request.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(&request.body).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    parse(&answer).ok_or_else(|| io::Error::new(io::ErrorKind::UnexpectedEof, "half an answer"))
}

/// Takes an answer apart; `None` if it is not whole.
fn parse(answer: &[u8]) -> Option<(u16, Vec<u8>)> {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = std::str::from_utf8(answer.get(..end)?).ok()?.to_ascii_lowercase();
    let body = answer.get(end + 4..)?;
    let status = head.split_whitespace().nth(1)?.parse().ok()?;
    let header = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim);
    if header("transfer-encoding").is_some_and(|coding| coding.contains("chunked")) {
        return Some((status, unchunk(body)?));
    }
    let length = header("content-length").and_then(|length| length.parse::<usize>().ok()).unwrap_or(0);
    Some((status, body.get(..length)?.to_vec()))
}

fn unchunk(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line = rest.windows(2).position(|two| two == b"\r\n")?;
        let size = usize::from_str_radix(std::str::from_utf8(rest.get(..line)?).ok()?.trim(), 16).ok()?;
        rest = rest.get(line + 2..)?;
        if size == 0 {
            return Some(body);
        }
        body.extend_from_slice(rest.get(..size)?);
        rest = rest.get(size + 2..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_answers_come_apart_and_half_ones_are_none() {
        let plain = b"HTTP/1.1 204 No Content\r\ncontent-length: 2\r\n\r\nok";
        assert_eq!(parse(plain), Some((204, b"ok".to_vec())));
        assert_eq!(parse(&plain[..plain.len() - 1]), None);
        let chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n1\r\nd\r\n0\r\n\r\n";
        assert_eq!(parse(chunked), Some((200, b"abcd".to_vec())));
        assert_eq!(parse(&chunked[..chunked.len() - 6]), None);
    }
}
