//! What the head of a remote write request must say before its body is read.

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
    /// Remote write 2.0.
    #[error("{MESSAGE_2} protobuf message is not accepted by this server; only accepts {MESSAGE_1}")]
    Version2,
    /// A compression other than snappy.
    #[error("{found} encoding (compression) is not accepted by this server; only {SNAPPY} is acceptable")]
    Encoding {
        /// The header as sent.
        found: String,
    },
}

/// Checks `Content-Type` and `Content-Encoding`; a missing or empty one is read as remote write 1.0 in snappy.
///
/// `X-Prometheus-Remote-Write-Version` is not looked at, as Prometheus does not.
///
/// # Errors
/// See [`HeaderError`]; the status is 415.
pub fn check_headers(headers: &HeaderMap) -> Result<(), HeaderError> {
    let text = |name| headers.get(name).map(|v| String::from_utf8_lossy(v.as_bytes()).trim().to_owned()).unwrap_or_default();
    check_content_type(text(CONTENT_TYPE))?;
    let found = text(CONTENT_ENCODING);
    if found.is_empty() || found == SNAPPY { Ok(()) } else { Err(HeaderError::Encoding { found }) }
}

fn check_content_type(found: String) -> Result<(), HeaderError> {
    if found.is_empty() {
        return Ok(());
    }
    let mut parts = found.split(';').map(str::trim);
    if !parts.next().is_some_and(|media| media.eq_ignore_ascii_case(MEDIA_TYPE)) {
        return Err(HeaderError::MediaType { found });
    }
    for parameter in parts {
        match parameter.split_once('=') {
            Some(("proto", MESSAGE_1)) => return Ok(()),
            Some(("proto", MESSAGE_2)) => return Err(HeaderError::Version2),
            Some(("proto", message)) => return Err(HeaderError::Message { message: message.to_owned(), found }),
            Some((_, value)) if !value.contains('=') => {}
            _ => return Err(HeaderError::Parameter { parameter: parameter.to_owned(), found }),
        }
    }
    Ok(())
}
