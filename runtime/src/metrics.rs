//! The page that Prometheus reads.

use std::fmt;

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::CONTENT_TYPE;
use prometheus_client::encoding::text;
use prometheus_client::registry::Registry;

const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Prefix of every metric of ours.
pub const PREFIX: &str = "agent_creds";

/// Renders a registry as OpenMetrics text.
///
/// # Errors
/// Where a collector fails.
pub fn render(registry: &Registry) -> Result<String, fmt::Error> {
    let mut page = String::new();
    text::encode(&mut page, registry)?;
    Ok(page)
}

/// The answer to `GET /metrics`.
pub fn page(registry: &Registry) -> Response {
    match render(registry) {
        Ok(page) => ([(CONTENT_TYPE, OPENMETRICS)], page).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
