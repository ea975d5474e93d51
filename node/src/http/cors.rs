//! Cross-origin headers, as Prometheus sends them.

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::ORIGIN;
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, VARY,
};
use axum::http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use axum::middleware::Next;
use model::regex::{Regex, RegexError};
use std::sync::Arc;

/// Which origins may read answers.
#[derive(Clone, Debug)]
pub enum Origins {
    /// All: `Access-Control-Allow-Origin: *`.
    Any,
    /// Those that match as a whole; they are echoed.
    Matching(Regex),
}

impl Origins {
    /// Reads the pattern of `--web.cors.origin`; `.*` is all.
    ///
    /// # Errors
    /// The pattern is not a regular expression.
    pub fn new(pattern: &str) -> Result<Self, RegexError> {
        if pattern == ".*" { Ok(Self::Any) } else { Ok(Self::Matching(Regex::anchored(pattern)?)) }
    }
}

/// Adds the headers to an answer; `origin` is the request's `Origin`.
pub fn apply(origins: &Origins, origin: Option<&HeaderValue>, headers: &mut HeaderMap) {
    headers.append(VARY, HeaderValue::from_static("Origin"));
    let Some(origin) = origin.filter(|origin| !origin.is_empty()) else { return };
    let allowed = match origins {
        Origins::Any => Some(HeaderValue::from_static("*")),
        Origins::Matching(pattern) => origin.to_str().is_ok_and(|o| pattern.is_match(o)).then(|| origin.clone()),
    };
    headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("Accept, Authorization, Content-Type, Origin"));
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST, OPTIONS"));
    headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("Date"));
    if let Some(allowed) = allowed {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
    }
}

/// Middleware for every route: answers `OPTIONS` of any path with 204, and adds the headers to all answers.
///
/// Use: `axum::middleware::from_fn_with_state(origins, cors::middleware)` on the outermost router.
pub async fn middleware(State(origins): State<Arc<Origins>>, request: Request, next: Next) -> Response<Body> {
    let origin = request.headers().get(ORIGIN).cloned();
    let mut response = if request.method() == Method::OPTIONS {
        let mut preflight = Response::new(Body::empty());
        *preflight.status_mut() = StatusCode::NO_CONTENT;
        preflight
    } else {
        next.run(request).await
    };
    apply(&origins, origin.as_ref(), response.headers_mut());
    response
}

#[cfg(test)]
mod tests;
