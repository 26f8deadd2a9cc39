//! `/healthz`, `/readyz` and `/metrics` in plain HTTP, on a port and a thread of their own: a request that keeps the main thread
//! busy does not delay the kubelet's probes.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use http::StatusCode;
use prometheus_client::registry::Registry;
use tokio::sync::watch;

use crate::metrics;
use crate::server::{self, Limits};

/// Whether the process is ready to take requests. Starts as no.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<AtomicBool>);

impl Readiness {
    /// Sets whether the process is ready.
    pub fn set(&self, ready: bool) {
        self.0.store(ready, Ordering::Release);
    }

    fn get(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// The limits of the probe port: the kubelet and Prometheus have one connection each.
fn limits() -> Limits {
    let short = Duration::from_secs(5);
    Limits { first_head: short, connections: 64, per_source: 16, request: Some(short), ..Limits::default() }
}

/// The pages.
pub fn router(readiness: Readiness, registry: Arc<Registry>) -> Router {
    let ready = async |State(readiness): State<Readiness>| match readiness.get() {
        true => (StatusCode::OK, "ready\n"),
        false => (StatusCode::SERVICE_UNAVAILABLE, "not ready\n"),
    };
    Router::new()
        .route("/readyz", get(ready))
        .with_state(readiness)
        .route("/healthz", get(async || "ok\n"))
        .route("/metrics", get(async move || metrics::page(&registry)))
}

/// A thread that serves the pages. It ends when this is dropped.
#[derive(Debug)]
pub struct Probes {
    address: SocketAddr,
    _stop: watch::Sender<bool>,
}

impl Probes {
    /// Binds `address` (port 0 picks a free one) and serves `router` on a thread of its own.
    ///
    /// # Errors
    /// Where the address cannot be bound or the thread not started.
    pub fn serve(address: SocketAddr, router: Router) -> io::Result<Self> {
        let listener = std::net::TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let (stop, stopped) = watch::channel(false);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        std::thread::Builder::new().name("probes".to_owned()).spawn(move || {
            runtime.block_on(async move {
                match tokio::net::TcpListener::from_std(listener) {
                    Ok(listener) => server::serve(listener, None, router, limits(), stopped).await,
                    Err(error) => tracing::error!(%error, "the probe port cannot be served"),
                }
            });
        })?;
        Ok(Self { address, _stop: stop })
    }

    /// The address that was bound.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}
