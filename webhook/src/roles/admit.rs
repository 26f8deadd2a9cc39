//! Role `admit`: serves the admission endpoint. It reads the certificate and the policy from files, and has no rights in the
//! Kubernetes API.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::sync::watch;

use super::serving::{self, Pace, Ports};
use crate::metrics::Metrics;
use crate::policy::Policy;
use crate::serve::review;
use crate::serve::seal_keys::SealKeys;
use agent_creds_runtime::certificates::Files;
use agent_creds_runtime::server::Limits;

/// Arguments of `admit`.
#[derive(Debug, clap::Args)]
pub struct Config {
    /// Policy file
    #[arg(long, value_name = "FILE")]
    policy: PathBuf,
    /// CA bundle of the API server, as sidecars use it (PEM)
    #[arg(long, value_name = "FILE")]
    api_ca: PathBuf,
    /// Serving certificate and the chain behind it (PEM); read again when it changes
    #[arg(long, value_name = "FILE")]
    tls_cert: PathBuf,
    /// Private key of the serving certificate (PEM)
    #[arg(long, value_name = "FILE")]
    tls_key: PathBuf,
    /// Directory with the seal keys: `current` and, if present, `previous`; read again when it changes
    #[arg(long, value_name = "DIRECTORY")]
    seal_keys: PathBuf,
    /// Address of the admission endpoint (HTTPS)
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:8443")]
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
    /// Time limit for receiving a body.
    pub body: Duration,
    /// Interval at which the files of certificate and keys are read.
    pub reload: Duration,
    /// How long requests are still accepted after the role becomes not ready: the API server learns of it later.
    pub linger: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            limits: Limits { head_bytes: 8 * 1024, connections: 256, ..Limits::default() },
            body: Duration::from_secs(10),
            reload: Duration::from_secs(10),
            linger: Duration::from_secs(5),
        }
    }
}

/// A role with loaded files and open ports.
#[derive(Debug)]
pub struct Prepared {
    policy: Policy,
    keys: Arc<SealKeys>,
    metrics: Metrics,
    ports: Ports,
}

/// Reads the files, opens the ports, and serves until SIGTERM. A second signal stops it immediately.
pub async fn main(config: Config) -> anyhow::Result<()> {
    let prepared = config.prepare().await?;
    let (address, probe_address) = prepared.addresses().context("reading the addresses")?;
    tracing::info!(%address, %probe_address, version = env!("CARGO_PKG_VERSION"), "listening");
    serving::until_signalled(|stopping| run(prepared, Timing::default(), stopping)).await
}

impl Config {
    /// Reads the files and opens the ports; port 0 picks free ones.
    pub async fn prepare(self) -> anyhow::Result<Prepared> {
        let (policy, _) = serving::policy(&self.policy, &self.api_ca).await?;
        let metrics = Metrics::default();
        let files = Files { certificate: self.tls_cert, key: self.tls_key };
        let ports = Ports::open(files, self.listen, self.probe_listen, &metrics).await?;
        let keys = SealKeys::load(self.seal_keys).await;
        Ok(Prepared { policy, keys, metrics, ports })
    }
}

impl Prepared {
    /// Returns the addresses of the admission endpoint and of the probes.
    pub fn addresses(&self) -> std::io::Result<(SocketAddr, SocketAddr)> {
        self.ports.addresses()
    }
}

/// Serves until it is stopped. `stopping` counts the requests to stop: at 1 the open requests are finished, at 2 they are
/// dropped.
pub async fn run(prepared: Prepared, timing: Timing, stopping: watch::Receiver<u8>) {
    let Prepared { policy, keys, metrics, ports } = prepared;
    let Timing { limits, body, reload, linger } = timing;
    let context = review::Context {
        policy,
        keys: Arc::clone(&keys),
        metrics,
        body_timeout: body,
        budget: review::budget(),
    };
    let router = review::router(Arc::new(context));
    serving::serve(ports, router, keys, Pace { limits, reload, linger }, stopping).await;
}
