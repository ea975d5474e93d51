//! Request bodies with a byte limit and a time limit.

use crate::http::error::{ApiError, BodyError};
use crate::http::params::Params;
use axum::body::Body;
use axum::extract::{FromRequest, Request};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderMap, Method, Response};
use axum::response::IntoResponse;
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use model::limits::{HTTP_FORM_BYTES_MAX, REMOTE_WRITE_COMPRESSED_BYTES_MAX, REQUEST_BODY_TIMEOUT};
use std::time::Duration;

/// What a body may cost.
#[derive(Clone, Copy, Debug)]
pub struct ReadLimits {
    /// Bytes of the body.
    pub bytes: usize,
    /// Time for the whole body.
    pub time: Duration,
}

impl ReadLimits {
    /// Of a remote write request.
    pub const REMOTE_WRITE: Self = Self { bytes: REMOTE_WRITE_COMPRESSED_BYTES_MAX, time: REQUEST_BODY_TIMEOUT };
    /// Of a form.
    pub const FORM: Self = Self { bytes: HTTP_FORM_BYTES_MAX, time: REQUEST_BODY_TIMEOUT };
}

/// Reads a whole body. An announced length over the limit is refused before a byte is read; memory grows with what arrives, never
/// with what is announced. Dropping the future drops what was read.
///
/// # Errors
/// See [`BodyError`].
pub async fn read_body(headers: &HeaderMap, body: Body, limits: ReadLimits) -> Result<Bytes, BodyError> {
    let announced = headers.get(CONTENT_LENGTH).and_then(|v| v.to_str().ok()).and_then(|v| v.parse::<u64>().ok());
    if announced.is_some_and(|n| n > limits.bytes as u64) {
        return Err(BodyError::TooLarge { limit: limits.bytes });
    }
    match tokio::time::timeout(limits.time, collect(body, limits.bytes)).await {
        Ok(read) => read,
        Err(_) => Err(BodyError::Timeout { after: limits.time }),
    }
}

async fn collect(body: Body, limit: usize) -> Result<Bytes, BodyError> {
    let mut frames = body.into_data_stream();
    let mut first = Bytes::new();
    let mut all = BytesMut::new();
    while let Some(frame) = frames.next().await {
        let frame = frame.map_err(|_| BodyError::Incomplete)?;
        if first.len() + all.len() + frame.len() > limit {
            return Err(BodyError::TooLarge { limit });
        }
        if first.is_empty() && all.is_empty() {
            first = frame;
            continue;
        }
        if all.is_empty() {
            all.extend_from_slice(&first);
            first = Bytes::new();
        }
        all.extend_from_slice(&frame);
    }
    Ok(if all.is_empty() { first } else { all.freeze() })
}

/// Why the parameters of a request could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParamsError {
    /// The body did not arrive.
    #[error(transparent)]
    Body(#[from] BodyError),
    /// The form is malformed.
    #[error(transparent)]
    Form(#[from] ApiError),
}

impl IntoResponse for ParamsError {
    fn into_response(self) -> Response<Body> {
        match self {
            Self::Body(error) => error.into_response(),
            Self::Form(error) => error.into_response(),
        }
    }
}

/// Handlers take [`Params`]: the URL's query, merged with the body of a form.
impl<S: Send + Sync> FromRequest<S> for Params {
    type Rejection = ParamsError;

    async fn from_request(request: Request, _state: &S) -> Result<Self, ParamsError> {
        let (head, body) = request.into_parts();
        let form = if takes_form(&head.method) && is_form(&head.headers) {
            Some(read_body(&head.headers, body, ReadLimits::FORM).await?)
        } else {
            None
        };
        Ok(Self::new(head.uri.query().unwrap_or(""), form.as_deref())?)
    }
}

fn takes_form(method: &Method) -> bool {
    matches!(*method, Method::POST | Method::PUT | Method::PATCH)
}

fn is_form(headers: &HeaderMap) -> bool {
    let media_type = headers.get(CONTENT_TYPE).and_then(|v| v.to_str().ok()).and_then(|v| v.split(';').next());
    media_type.is_some_and(|media| media.trim().eq_ignore_ascii_case("application/x-www-form-urlencoded"))
}

#[cfg(test)]
mod tests;
