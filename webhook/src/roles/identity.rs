//! Role `identity`: serves `POST /identity`. It reads the certificate, the policy and the seal keys from files, and has few
//! rights in the Kubernetes API.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::sync::watch;

use super::serving::{self, Pace, Ports};
use crate::metrics::Metrics;
use crate::serve::exchange::{self, Bounds, Settings};
use crate::serve::seal_keys::SealKeys;
use agent_creds_runtime::api_server::{self, ApiServer, Credentials, MAX_OBJECT};
use agent_creds_runtime::certificates::Files;
use agent_creds_runtime::server::Limits;

/// Arguments of `identity`.
#[derive(Debug, clap::Args)]
pub struct Config {
    /// Policy file
    #[arg(long, value_name = "FILE")]
    policy: PathBuf,
    /// URL of the API server
    #[arg(long, value_name = "URL", default_value = "https://kubernetes.default.svc")]
    api_server: String,
    /// CA bundle of the API server (PEM)
    #[arg(long, value_name = "FILE")]
    api_ca: PathBuf,
    /// Token of the identity server's ServiceAccount; read again as it is renewed
    #[arg(long, value_name = "FILE")]
    token_file: PathBuf,
    /// Issuer of the cluster's ServiceAccount tokens. If set, tokens of other issuers are refused without a TokenReview
    #[arg(long, value_name = "URL")]
    issuer: Option<String>,
    /// Lifetime of the issued tokens, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 3600, value_parser = clap::value_parser!(u32).range(900..=3600))]
    token_seconds: u32,
    /// Directory with the seal keys: `current` and, if present, `previous`; read again when it changes
    #[arg(long, value_name = "DIRECTORY")]
    seal_keys: PathBuf,
    /// Serving certificate and the chain behind it (PEM); read again when it changes
    #[arg(long, value_name = "FILE")]
    tls_cert: PathBuf,
    /// Private key of the serving certificate (PEM)
    #[arg(long, value_name = "FILE")]
    tls_key: PathBuf,
    /// Address of the identity endpoint (HTTPS)
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:8444")]
    listen: SocketAddr,
    /// Address of /healthz, /readyz and /metrics (HTTP)
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:8080")]
    probe_listen: SocketAddr,
}

/// Times and limits that tests change.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// Limits of the endpoint.
    pub limits: Limits,
    /// Limits of the exchange.
    pub bounds: Bounds,
    /// Time limit for one answer of the API server.
    pub api: Duration,
    /// Interval at which the files of certificate and keys are read.
    pub reload: Duration,
    /// How long requests are still accepted after the role becomes not ready: nodes learn of it later.
    pub linger: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        // Every pod of the cluster reaches this port, and none needs more than one connection at a time.
        let limits = Limits { head_bytes: 8 * 1024, connections: 1024, per_source: 32, ..Limits::default() };
        Self {
            limits,
            bounds: Bounds::default(),
            api: Duration::from_secs(5),
            reload: Duration::from_secs(10),
            linger: Duration::from_secs(5),
        }
    }
}

/// A role with loaded files and open ports.
pub struct Prepared {
    context: exchange::Context,
    keys: Arc<SealKeys>,
    ports: Ports,
    timing: Timing,
}

impl Config {
    /// Reads the files and opens the ports; port 0 picks free ones.
    pub async fn prepare(self, timing: Timing) -> anyhow::Result<Prepared> {
        let (policy, ca) = serving::policy(&self.policy, &self.api_ca).await?;
        let bounds = api_server::Bounds { timeout: timing.api, answer: MAX_OBJECT };
        let credentials = Credentials::TokenFile(&self.token_file);
        let roots = api_server::roots(ca.as_bytes())?;
        let api = ApiServer::connect(&self.api_server, roots, credentials, bounds)?;
        let metrics = Metrics::default();
        let files = Files { certificate: self.tls_cert, key: self.tls_key };
        let ports = Ports::open(files, self.listen, self.probe_listen, &metrics).await?;
        let keys = SealKeys::load(self.seal_keys).await;
        let settings = Settings { policy, issuer: self.issuer, token_seconds: self.token_seconds };
        let context = exchange::Context::new(api, Arc::clone(&keys), settings, timing.bounds, metrics);
        Ok(Prepared { context, keys, ports, timing })
    }
}

impl Prepared {
    /// Returns the addresses of the identity endpoint and of the probes.
    pub fn addresses(&self) -> std::io::Result<(SocketAddr, SocketAddr)> {
        self.ports.addresses()
    }
}

/// Reads the files, opens the ports, and serves until SIGTERM. A second signal stops it immediately.
pub async fn main(config: Config) -> anyhow::Result<()> {
    let prepared = config.prepare(Timing::default()).await?;
    let (address, probe_address) = prepared.addresses().context("reading the addresses")?;
    tracing::info!(%address, %probe_address, version = env!("CARGO_PKG_VERSION"), "listening");
    serving::until_signalled(|stopping| run(prepared, stopping)).await
}

/// Serves until it is stopped. `stopping` counts the requests to stop: at 1 the open requests are finished, at 2 they are
/// dropped.
pub async fn run(prepared: Prepared, stopping: watch::Receiver<u8>) {
    let Prepared { context, keys, ports, timing } = prepared;
    let Timing { limits, reload, linger, .. } = timing;
    let router = exchange::router(Arc::new(context));
    serving::serve(ports, router, keys, Pace { limits, reload, linger }, stopping).await;
}
