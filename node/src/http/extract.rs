//! Request bodies with a byte limit and a time limit.

use crate::http::error::BodyError;
use axum::body::Body;
use axum::http::HeaderMap;
use axum::http::header::CONTENT_LENGTH;
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use std::time::Duration;

/// What a body may cost.
#[derive(Clone, Copy, Debug)]
pub struct ReadLimits {
    /// Bytes of the body.
    pub bytes: usize,
    /// Time for the whole body.
    pub time: Duration,
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

#[cfg(test)]
mod tests;
