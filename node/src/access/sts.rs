//! STS: temporary credentials and who one is, at the root of the listener, where AWS's clients ask for them.

use super::Refusal;
use crate::http::asker::PeerAddress;
use crate::http::extract::{ReadLimits, read_body};
use crate::http::respond;
use crate::node::Node;
use auth::audit::RequestId;
use auth::policy::Environment;
use auth::sigv4::Service;
use auth::sts::{FORM_BYTES_MAX, GRANT_ENTROPY_BYTES, Reply, StsError, StsRequest, error_xml};
use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderName, HeaderValue, Method, Request, StatusCode};
use axum::response::Response;
use model::limits::REQUEST_BODY_TIMEOUT;
use rand::RngExt;

/// `POST /`, and `GET /` for presigned requests.
pub async fn answer(node: &Node, request: Request<Body>) -> Response {
    let id = RequestId(rand::rng().random());
    let (status, xml) = match serve(node, request).await {
        Ok(reply) => (StatusCode::OK, reply.to_xml(node.gate.home(), id)),
        Err(error) => (StatusCode::from_u16(error.status()).unwrap_or(StatusCode::BAD_REQUEST), error_xml(&error, id)),
    };
    let mut response = respond::text(status, xml);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/xml"));
    if let Ok(id) = HeaderValue::from_str(&id.to_string()) {
        response.headers_mut().insert(HeaderName::from_static("x-amzn-requestid"), id);
    }
    response
}

async fn serve(node: &Node, request: Request<Body>) -> Result<Reply, StsError> {
    let (head, body) = request.into_parts();
    let limits = ReadLimits { bytes: FORM_BYTES_MAX, time: REQUEST_BODY_TIMEOUT };
    let bytes = read_body(&head.headers, body, limits).await.map_err(|_| StsError::NotForm)?;
    let form = if head.method == Method::GET { head.uri.query().unwrap_or("").as_bytes() } else { &bytes };
    let parsed = StsRequest::parse(form)?;
    let meta = node.meta.get();
    let source_ip = head.extensions.get::<PeerAddress>().map(|peer| peer.0.ip());
    let environment = Environment::at(node.clock.now_ms(), source_ip, false);
    let entropy: [u8; GRANT_ENTROPY_BYTES] = rand::rng().random();
    let gate = &node.gate;
    if !gate.is_on() && parsed == StsRequest::GetCallerIdentity {
        let (arn, account) = (gate.home().root(), gate.home().account.clone());
        return Ok(Reply::GetCallerIdentity { arn, user_id: account.clone(), account });
    }
    let principal =
        if parsed.is_signed() { Some(gate.identify(node, &meta, &head, &bytes, Service::Sts).map_err(error_of)?) } else { None };
    gate.with_view(node, &meta, |view| view.answer(gate.issuers(), &parsed, principal.as_ref(), &environment, entropy))
}

fn error_of(refusal: Refusal) -> StsError {
    match refusal {
        Refusal::Credentials(error) => StsError::Auth(error),
        Refusal::PathForm | Refusal::Denied(_) | Refusal::Body(_) => StsError::NotForm,
    }
}
