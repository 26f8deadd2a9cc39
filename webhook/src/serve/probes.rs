//! Probes and metrics, in plain HTTP on a port of their own.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::metrics::Metrics;

const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Whether requests should come here. Starts as no.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<AtomicBool>);

impl Readiness {
    /// Says whether requests should come here.
    pub fn set(&self, ready: bool) {
        self.0.store(ready, Ordering::Release);
    }

    fn get(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// `/healthz`, `/readyz` and `/metrics` of admission.
pub fn router(readiness: Readiness, metrics: Arc<Metrics>) -> Router {
    pages(readiness, move || metrics.render())
}

/// `/healthz`, `/readyz`, and `/metrics` as `render` writes them.
pub fn pages<R>(readiness: Readiness, render: R) -> Router
where
    R: Fn() -> Result<String, fmt::Error> + Clone + Send + Sync + 'static,
{
    let ready = async |State(readiness): State<Readiness>| match readiness.get() {
        true => (StatusCode::OK, "ready\n"),
        false => (StatusCode::SERVICE_UNAVAILABLE, "not ready\n"),
    };
    Router::new()
        .route("/readyz", get(ready))
        .with_state(readiness)
        .route("/healthz", get(async || "ok\n"))
        .route("/metrics", get(async move || page(render())))
}

fn page(rendered: Result<String, fmt::Error>) -> Response {
    match rendered {
        Ok(page) => ([(CONTENT_TYPE, OPENMETRICS)], page).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
