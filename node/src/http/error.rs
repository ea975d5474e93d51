//! Errors as clients see them: Prometheus's JSON types with their statuses, and the plain texts of remote write.

use crate::http::json;
use crate::ingest::decode::DecodeError;
use crate::ingest::headers::HeaderError;
use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderValue, Response, StatusCode};
use axum::response::IntoResponse;
use std::fmt;
use std::time::Duration;

/// Prometheus's `errorType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorType {
    /// The request is wrong.
    BadData,
    /// The query failed.
    Execution,
    /// The client went away.
    Canceled,
    /// The query took too long.
    Timeout,
    /// A fault of the server.
    Internal,
    /// Nothing there.
    NotFound,
    /// No answer in an accepted form.
    NotAcceptable,
    /// The workspace asks for too much at once; not one of Prometheus's, which has no workspaces.
    TooManyRequests,
    /// A shard cannot answer, or the server is not ready; worth a retry.
    Unavailable,
}

impl ErrorType {
    /// The text in the envelope.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BadData => "bad_data",
            Self::Execution => "execution",
            Self::Canceled => "canceled",
            Self::Timeout => "timeout",
            Self::Internal => "internal",
            Self::NotFound => "not_found",
            Self::NotAcceptable => "not_acceptable",
            Self::TooManyRequests => "too_many_requests",
            Self::Unavailable => "unavailable",
        }
    }

    /// The status; `unavailable` is 503 where Prometheus, which has no shards, says 500.
    #[must_use]
    pub fn status(self) -> StatusCode {
        match self {
            Self::BadData => StatusCode::BAD_REQUEST,
            Self::Execution => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Canceled => client_closed_request(),
            Self::Timeout | Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::NotAcceptable => StatusCode::NOT_ACCEPTABLE,
            Self::TooManyRequests => StatusCode::TOO_MANY_REQUESTS,
        }
    }
}

fn client_closed_request() -> StatusCode {
    StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST)
}

/// An error of the query API: the JSON envelope.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {message}", error_type.as_str())]
pub struct ApiError {
    /// Its type, which gives the status.
    pub error_type: ErrorType,
    /// The text for the client.
    pub message: String,
}

impl ApiError {
    /// An error of any type.
    pub fn new(error_type: ErrorType, message: impl fmt::Display) -> Self {
        Self { error_type, message: message.to_string() }
    }

    /// The request is wrong.
    pub fn bad_data(message: impl fmt::Display) -> Self {
        Self::new(ErrorType::BadData, message)
    }

    /// A parameter is wrong: `invalid parameter "step": <cause>`.
    pub fn invalid_parameter(name: &str, cause: impl fmt::Display) -> Self {
        Self::bad_data(format_args!("invalid parameter {}: {cause}", model::labels::quote(name)))
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response<Body> {
        let body = json::error_body(self.error_type, &self.message);
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = self.error_type.status();
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(json::CONTENT_TYPE_JSON));
        if matches!(self.error_type, ErrorType::Unavailable | ErrorType::TooManyRequests) {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

/// Why a body could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// More bytes than the limit, announced or sent.
    #[error("request body larger than max ({limit} bytes)")]
    TooLarge {
        /// Bytes allowed.
        limit: usize,
    },
    /// The client took too long.
    #[error("request body not received within {} s", after.as_secs())]
    Timeout {
        /// Time allowed.
        after: Duration,
    },
    /// The connection broke, or the transfer coding is wrong.
    #[error("request body cut off")]
    Incomplete,
}

impl BodyError {
    /// 413, 408 or 400.
    #[must_use]
    pub fn status(self) -> StatusCode {
        match self {
            Self::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Timeout { .. } => StatusCode::REQUEST_TIMEOUT,
            Self::Incomplete => StatusCode::BAD_REQUEST,
        }
    }
}

impl IntoResponse for BodyError {
    fn into_response(self) -> Response<Body> {
        plain(self.status(), &self.to_string())
    }
}

/// A refused write request, answered in plain text. Senders repeat 5xx (and 429 if told to), and drop the data on any other 4xx.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum WriteError {
    /// Media type or encoding.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// The body did not arrive.
    #[error(transparent)]
    Body(#[from] BodyError),
    /// The body as a whole is malformed or too large.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// Some series were refused for good; the others are stored.
    #[error("{text}")]
    Rejected {
        /// What was refused, the first in request order first.
        text: String,
    },
    /// Refused before anything was sent to a shard.
    #[error("ingestion rate limit ({limit}) exceeded while adding {samples} samples and {metadata} metadata")]
    RateLimited {
        /// Samples per second allowed.
        limit: f64,
        /// Samples of the request.
        samples: u32,
        /// Metadata entries of the request.
        metadata: u32,
        /// When to come back.
        retry_after: Duration,
    },
    /// Some part has no final outcome; a repetition is safe.
    #[error("{text}")]
    Unavailable {
        /// Why.
        text: String,
        /// When to come back.
        retry_after: Duration,
    },
}

impl WriteError {
    /// The status a sender acts on.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Header(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Body(error) => error.status(),
            Self::Decode(DecodeError::TooLarge { .. }) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Decode(_) | Self::Rejected { .. } => StatusCode::BAD_REQUEST,
            Self::RateLimited { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::Unavailable { .. } => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::RateLimited { retry_after, .. } | Self::Unavailable { retry_after, .. } => Some(*retry_after),
            Self::Header(_) | Self::Body(_) | Self::Decode(_) | Self::Rejected { .. } => None,
        }
    }
}

impl IntoResponse for WriteError {
    fn into_response(self) -> Response<Body> {
        let mut response = plain(self.status(), &self.to_string());
        if let Some(after) = self.retry_after() {
            insert_retry_after(&mut response, after);
        }
        response
    }
}

/// Sets `Retry-After` to `after` in whole seconds, at least one.
pub fn insert_retry_after(response: &mut Response<Body>, after: Duration) {
    let seconds = after.as_millis().div_ceil(1000).max(1);
    if let Ok(value) = HeaderValue::from_str(&seconds.to_string()) {
        response.headers_mut().insert(RETRY_AFTER, value);
    }
}

/// The answer of every route while the server is not ready: 503 in plain text, and whether it is about to stop.
#[must_use]
pub fn not_ready(stopping: bool) -> Response<Body> {
    let mut response = plain(StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable");
    let value = HeaderValue::from_static(if stopping { "true" } else { "false" });
    response.headers_mut().insert("x-prometheus-stopping", value);
    response
}

/// A plain text answer as Go's `http.Error` gives it: the text, a newline, `nosniff`.
#[must_use]
pub fn plain(status: StatusCode, text: &str) -> Response<Body> {
    let mut response = Response::new(Body::from(format!("{text}\n")));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

#[cfg(test)]
mod tests;
