//! Answers: whole in memory, or written as they are read.

use super::json::CONTENT_TYPE_JSON;
use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use bytes::Bytes;
use futures::{Stream, StreamExt, stream};
use std::io;

/// A JSON answer with status 200.
#[must_use]
pub fn json(body: Vec<u8>) -> Response {
    json_with(StatusCode::OK, body)
}

/// A JSON answer with status 200 of which the beginning is there; the rest is asked for as the client reads.
#[must_use]
pub fn json_stream(first: Vec<u8>, rest: impl Stream<Item = Result<Vec<u8>, io::Error>> + Send + 'static) -> Response {
    let body = Body::from_stream(stream::iter([Ok(first)]).chain(rest).map(|chunk| chunk.map(Bytes::from)));
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE_JSON));
    response
}

/// A JSON answer.
#[must_use]
pub fn json_with(status: StatusCode, body: Vec<u8>) -> Response {
    typed(status, CONTENT_TYPE_JSON, body)
}

/// A plain text answer without the error decorations.
#[must_use]
pub fn text(status: StatusCode, body: impl Into<Vec<u8>>) -> Response {
    typed(status, "text/plain; charset=utf-8", body.into())
}

fn typed(status: StatusCode, content_type: &'static str, body: Vec<u8>) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
