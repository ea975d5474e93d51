//! Answers that are whole in memory.

use super::json::CONTENT_TYPE_JSON;
use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;

/// A JSON answer with status 200.
#[must_use]
pub fn json(body: Vec<u8>) -> Response {
    json_with(StatusCode::OK, body)
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
