//! Compressed answers: gzip or deflate, whichever `Accept-Encoding` names first.

use axum::body::{Body, HttpBody};
use axum::extract::Request;
use axum::http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, VARY};
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode};
use axum::middleware::Next;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use futures::StreamExt;
use futures::stream;
use std::io::{self, Write};

/// Answers of known size below this are sent as they are.
pub const COMPRESS_BYTES_MIN: u64 = 1024;
/// Bytes compressed between two moments at which the task may yield.
const SLICE_BYTES: usize = 32 << 10;

/// A compression of answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContentEncoding {
    /// RFC 1952.
    Gzip,
    /// RFC 1950, which HTTP calls deflate.
    Deflate,
}

impl ContentEncoding {
    /// The first encoding in `Accept-Encoding` that this server has; q-values do not rank, `q=0` excludes.
    #[must_use]
    pub fn choose(headers: &HeaderMap) -> Option<Self> {
        let accepted = headers.get(ACCEPT_ENCODING)?.to_str().ok()?;
        accepted.split(',').find_map(|token| {
            let mut parts = token.split(';').map(str::trim);
            let encoding = match parts.next()? {
                "gzip" => Self::Gzip,
                "deflate" => Self::Deflate,
                _ => return None,
            };
            let excluded = parts.any(|p| p.strip_prefix("q=").and_then(|q| q.parse::<f32>().ok()).is_some_and(|q| q <= 0.0));
            (!excluded).then_some(encoding)
        })
    }

    fn token(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
        })
    }
}

enum Encoder {
    Gzip(GzEncoder<Vec<u8>>),
    Deflate(ZlibEncoder<Vec<u8>>),
}

impl Encoder {
    fn new(encoding: ContentEncoding) -> Self {
        match encoding {
            ContentEncoding::Gzip => Self::Gzip(GzEncoder::new(Vec::new(), Compression::fast())),
            ContentEncoding::Deflate => Self::Deflate(ZlibEncoder::new(Vec::new(), Compression::fast())),
        }
    }

    /// Compresses a slice and gives what is ready.
    fn write(&mut self, slice: &[u8]) -> io::Result<Bytes> {
        let ready = match self {
            Self::Gzip(encoder) => {
                encoder.write_all(slice)?;
                encoder.get_mut()
            }
            Self::Deflate(encoder) => {
                encoder.write_all(slice)?;
                encoder.get_mut()
            }
        };
        Ok(Bytes::from(std::mem::take(ready)))
    }

    fn finish(self) -> io::Result<Bytes> {
        match self {
            Self::Gzip(encoder) => encoder.finish(),
            Self::Deflate(encoder) => encoder.finish(),
        }
        .map(Bytes::from)
    }
}

/// Compresses `response` if the request (its `headers`) accepts it; small, empty, already encoded answers and event streams stay as
/// they are.
/// Sets `Vary: Accept-Encoding` in any case. Compresses as the client reads: a slow client holds one slice.
#[must_use]
pub fn compress(headers: &HeaderMap, mut response: Response<Body>) -> Response<Body> {
    response.headers_mut().append(VARY, HeaderValue::from_static("Accept-Encoding"));
    let small = response.body().size_hint().exact().is_some_and(|n| n < COMPRESS_BYTES_MIN);
    let bodiless = matches!(response.status(), StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    if small || bodiless || is_event_stream(response.headers()) || response.headers().contains_key(CONTENT_ENCODING) {
        return response;
    }
    let Some(encoding) = ContentEncoding::choose(headers) else { return response };
    response.headers_mut().remove(CONTENT_LENGTH);
    response.headers_mut().insert(CONTENT_ENCODING, encoding.token());
    response.map(|body| compressed_body(encoding, body))
}

/// An encoder would hold events back until a block is full.
fn is_event_stream(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(b"text/event-stream"))
}

/// Middleware for the query API: [`compress`] on every answer.
pub async fn middleware(request: Request, next: Next) -> Response<Body> {
    let accept = request.headers().get(ACCEPT_ENCODING).cloned();
    let response = next.run(request).await;
    compress(&accept.into_iter().map(|value| (ACCEPT_ENCODING, value)).collect(), response)
}

fn compressed_body(encoding: ContentEncoding, body: Body) -> Body {
    let slices = body.into_data_stream().flat_map(|frame| {
        stream::iter(match frame {
            Ok(bytes) => slices_of(bytes).map(Ok).collect(),
            Err(error) => vec![Err(error)],
        })
    });
    let compressed = stream::unfold(Some((Encoder::new(encoding), slices.boxed())), |state| async move {
        let (mut encoder, mut slices) = state?;
        loop {
            let ready = match slices.next().await {
                Some(Ok(slice)) => encoder.write(&slice),
                Some(Err(error)) => Err(io::Error::other(error)),
                None => return Some((encoder.finish(), None)),
            };
            match ready {
                Ok(ready) if ready.is_empty() => tokio::task::yield_now().await,
                Ok(ready) => return Some((Ok(ready), Some((encoder, slices)))),
                Err(error) => return Some((Err(error), None)),
            }
        }
    });
    Body::from_stream(compressed)
}

fn slices_of(mut bytes: Bytes) -> impl Iterator<Item = Bytes> {
    std::iter::from_fn(move || (!bytes.is_empty()).then(|| bytes.split_to(bytes.len().min(SLICE_BYTES))))
}

#[cfg(test)]
mod tests;
