//! Refusals of the control plane, as AWS clients parse them: the type in a header, the rest as JSON.

use super::Operation;
use super::shapes::ResourceType;
use crate::cluster::operator::MetaError;
use crate::http::respond;
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::Response;
use serde_json::{Value, json};

/// Why a control-plane request failed, by AMP's names.
#[derive(Clone, Debug, PartialEq)]
pub enum ControlError {
    /// 400.
    Validation {
        /// `UNKNOWN_OPERATION`, `CANNOT_PARSE`, `FIELD_VALIDATION_FAILED` or `OTHER`.
        reason: &'static str,
        /// What is wrong.
        message: String,
        /// Which field, if it is one.
        field: Option<&'static str>,
    },
    /// 404.
    NotFound {
        /// What was named.
        id: String,
        /// What it would be.
        kind: ResourceType,
    },
    /// 409.
    Conflict {
        /// What was named.
        id: String,
        /// What it is.
        kind: ResourceType,
        /// Why not.
        message: String,
    },
    /// 402: there is no room for more.
    Quota {
        /// What was named.
        id: String,
        /// What it is.
        kind: ResourceType,
        /// What is full.
        message: String,
    },
    /// 503: the meta group has no leader now.
    Unavailable(String),
}

impl ControlError {
    /// A field with a value that it cannot have.
    #[must_use]
    pub fn field(field: &'static str, why: &str) -> Self {
        Self::Validation { reason: "FIELD_VALIDATION_FAILED", message: format!("{field}: {why}"), field: Some(field) }
    }

    /// A body that is not what it should be.
    #[must_use]
    pub fn cannot_parse(why: impl ToString) -> Self {
        Self::Validation { reason: "CANNOT_PARSE", message: why.to_string(), field: None }
    }

    /// An operation that AMP has and this service has not.
    #[must_use]
    pub fn unknown_operation(operation: Operation) -> Self {
        Self::Validation { reason: "UNKNOWN_OPERATION", message: format!("{operation:?} is not supported"), field: None }
    }

    /// A workspace that does not exist.
    #[must_use]
    pub fn no_workspace(id: &str) -> Self {
        Self::NotFound { id: id.to_owned(), kind: ResourceType::Workspace }
    }

    fn parts(self) -> (StatusCode, &'static str, Value) {
        let of =
            |message: String, id: String, kind: ResourceType| json!({"message": message, "resourceId": id, "resourceType": kind.name()});
        match self {
            Self::Validation { reason, message, field } => {
                let mut body = json!({"message": message, "reason": reason});
                if let Some(field) = field {
                    body["fieldList"] = json!([{"name": field, "message": message}]);
                }
                (StatusCode::BAD_REQUEST, "ValidationException", body)
            }
            Self::NotFound { id, kind } => {
                (StatusCode::NOT_FOUND, "ResourceNotFoundException", of(format!("{} not found", kind.title()), id, kind))
            }
            Self::Conflict { id, kind, message } => (StatusCode::CONFLICT, "ConflictException", of(message, id, kind)),
            Self::Quota { id, kind, message } => {
                let mut body = of(message, id, kind);
                body["serviceCode"] = json!("aps");
                body["quotaCode"] = json!(kind.quota_code());
                (StatusCode::PAYMENT_REQUIRED, "ServiceQuotaExceededException", body)
            }
            Self::Unavailable(message) => (StatusCode::SERVICE_UNAVAILABLE, "InternalServerException", json!({"message": message})),
        }
    }

    /// The answer: status, error type header, JSON body.
    #[must_use]
    pub fn into_response(self) -> Response {
        let (status, kind, body) = self.parts();
        let mut response = respond::json_with(status, body.to_string().into_bytes());
        response.headers_mut().insert(HeaderName::from_static("x-amzn-errortype"), HeaderValue::from_static(kind));
        response
    }
}

impl From<MetaError> for ControlError {
    fn from(error: MetaError) -> Self {
        Self::Unavailable(error.to_string())
    }
}
