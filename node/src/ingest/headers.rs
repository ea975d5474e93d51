//! What the head of a remote write request must say before its body is read.

use crate::ingest::decode::Version;
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE};

const MEDIA_TYPE: &str = "application/x-protobuf";
const MESSAGE_1: &str = "prometheus.WriteRequest";
const MESSAGE_2: &str = "io.prometheus.write.v2.Request";
const SNAPPY: &str = "snappy";

/// A head that asks for something this server does not take; all are 415.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// Another media type.
    #[error("expected {MEDIA_TYPE} as the first (media) part, got {found} content-type")]
    MediaType {
        /// The header as sent.
        found: String,
    },
    /// A parameter that is not `key=value`.
    #[error(
        "as per https://www.rfc-editor.org/rfc/rfc9110#parameter expected parameters to be key-values, got {parameter} in {found} content-type"
    )]
    Parameter {
        /// The parameter.
        parameter: String,
        /// The header as sent.
        found: String,
    },
    /// A message that no version of remote write has.
    #[error("got {found} content type; unknown type for remote write protobuf message {message}, supported: {MESSAGE_1}, {MESSAGE_2}")]
    Message {
        /// The message named.
        message: String,
        /// The header as sent.
        found: String,
    },
    /// A compression other than snappy.
    #[error("{found} encoding (compression) is not accepted by this server; only {SNAPPY} is acceptable")]
    Encoding {
        /// The header as sent.
        found: String,
    },
}

/// Tells the version of the message by `Content-Type`, and checks it and `Content-Encoding`; a missing or empty one is read as remote write 1.0 in snappy.
///
/// `X-Prometheus-Remote-Write-Version` is not looked at, as Prometheus does not.
///
/// # Errors
/// See [`HeaderError`]; the status is 415.
pub fn check_headers(headers: &HeaderMap) -> Result<Version, HeaderError> {
    let text = |name| headers.get(name).map(|v| String::from_utf8_lossy(v.as_bytes()).trim().to_owned()).unwrap_or_default();
    let version = check_content_type(text(CONTENT_TYPE))?;
    let found = text(CONTENT_ENCODING);
    if found.is_empty() || found.eq_ignore_ascii_case(SNAPPY) { Ok(version) } else { Err(HeaderError::Encoding { found }) }
}

fn check_content_type(found: String) -> Result<Version, HeaderError> {
    if found.is_empty() {
        return Ok(Version::V1);
    }
    let mut parts = found.split(';').map(str::trim);
    if !parts.next().is_some_and(|media| media.eq_ignore_ascii_case(MEDIA_TYPE)) {
        return Err(HeaderError::MediaType { found });
    }
    for parameter in parts {
        match parameter.split_once('=') {
            Some(("proto", MESSAGE_1)) => return Ok(Version::V1),
            Some(("proto", MESSAGE_2)) => return Ok(Version::V2),
            Some(("proto", message)) => return Err(HeaderError::Message { message: message.to_owned(), found }),
            Some((_, value)) if !value.contains('=') => {}
            _ => return Err(HeaderError::Parameter { parameter: parameter.to_owned(), found }),
        }
    }
    Ok(Version::V1)
}
