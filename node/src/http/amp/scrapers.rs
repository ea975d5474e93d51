//! Scrapers: AMP's agents inside its customers' networks, of which there are none here.

use super::ControlError;
use super::input::Input;
use crate::http::respond;
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

/// A configuration to begin with.
const DEFAULT_CONFIGURATION: &str = "global:
  scrape_interval: 30s
scrape_configs:
  - job_name: node
    static_configs:
      - targets: ['localhost:9100']
";

/// `GET /scrapers`.
pub(super) fn list(input: &Input) -> Result<Response, ControlError> {
    input.page()?;
    Ok(respond::json(json!({"scrapers": []}).to_string().into_bytes()))
}

/// `GET /scraperconfiguration`.
pub(super) fn default_configuration() -> Response {
    respond::json(json!({"configuration": STANDARD.encode(DEFAULT_CONFIGURATION)}).to_string().into_bytes())
}
