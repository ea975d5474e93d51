//! Cross-origin headers, as Prometheus sends them.

use crate::config::CorsOrigin;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::ORIGIN;
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, VARY,
};
use axum::http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use axum::middleware::Next;
use std::sync::Arc;

/// Adds the headers to an answer; `origin` is the request's `Origin`.
pub fn apply(origins: &CorsOrigin, origin: Option<&HeaderValue>, headers: &mut HeaderMap) {
    headers.append(VARY, HeaderValue::from_static("Origin"));
    let Some(origin) = origin.filter(|origin| !origin.is_empty()) else { return };
    let allowed = if origins.is_any() {
        Some(HeaderValue::from_static("*"))
    } else {
        origin.to_str().is_ok_and(|o| origins.allows(o)).then(|| origin.clone())
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
pub async fn middleware(State(origins): State<Arc<CorsOrigin>>, request: Request, next: Next) -> Response<Body> {
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
