//! How a refusal is answered: AMP's name in a header, its text in JSON.

use crate::http::error::BodyError;
use crate::http::respond;
use auth::{AuthError, ErrorName};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::json;

/// Why a request is not served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Its credentials are not accepted.
    Credentials(AuthError),
    /// Its path was signed in another form than the one that is served.
    PathForm,
    /// Who asks may not; the text says what.
    Denied(String),
    /// Its body did not arrive, which a signature covers.
    Body(BodyError),
}

impl Refusal {
    fn name(&self) -> Option<ErrorName> {
        match self {
            Self::Credentials(error) => Some(error.name()),
            Self::PathForm => Some(ErrorName::InvalidSignature),
            Self::Denied(_) => Some(ErrorName::AccessDenied),
            Self::Body(_) => None,
        }
    }

    /// The text for the sender.
    #[must_use]
    pub fn message(&self) -> String {
        match self {
            Self::Credentials(error) => error.to_string(),
            Self::PathForm => "The path must be signed as it is sent".to_owned(),
            Self::Denied(message) => message.clone(),
            Self::Body(error) => error.to_string(),
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let Some(name) = self.name() else {
            let Self::Body(error) = self else { return StatusCode::BAD_REQUEST.into_response() };
            return error.into_response();
        };
        // Prometheus's clients read `error`, AWS's `message`.
        let body = json!({"status": "error", "errorType": "forbidden", "error": self.message(), "message": self.message()});
        let status = StatusCode::from_u16(name.status()).unwrap_or(StatusCode::FORBIDDEN);
        let mut response = respond::json_with(status, body.to_string().into_bytes());
        response.headers_mut().insert(HeaderName::from_static("x-amzn-errortype"), HeaderValue::from_static(name.as_str()));
        response
    }
}
