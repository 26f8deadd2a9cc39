//! Role `manage`: keeps certificates, their CA and the seal keys, and counts pods without the sidecar. Its rights in the
//! Kubernetes API name single objects, and it listens only for probes and metrics.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use agent_creds_runtime::probes::{self, Probes, Readiness};
use agent_creds_runtime::random;
use agent_creds_runtime::signals::Termination;
use anyhow::Context as _;
use tokio::sync::watch;

use crate::manage::api::Api;
use crate::manage::{Duties, Manager, Metrics, names};
use crate::rotation::Timing;

/// Arguments of `manage`.
#[derive(Debug, clap::Args)]
pub struct Config {
    /// Namespace of the release
    #[arg(long, value_name = "NAME")]
    namespace: String,
    /// Where the servers' certificates come from
    #[arg(long, value_enum)]
    certificates: Source,
    /// URL of the API server
    #[arg(long, value_name = "URL")]
    api_server: String,
    /// CA bundle of the API server (PEM)
    #[arg(long, value_name = "FILE")]
    api_ca: PathBuf,
    /// Token of the manager's ServiceAccount; read again as it is renewed
    #[arg(long, value_name = "FILE")]
    token_file: PathBuf,
    /// Name of this pod, written to the Lease
    #[arg(long, value_name = "NAME", default_value = "manage")]
    pod: String,
    /// Address of /healthz, /readyz and /metrics (HTTP)
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:8080")]
    probe_listen: SocketAddr,
    /// Multiplies all pauses
    #[arg(long, hide = true, default_value_t = 1.0)]
    time_scale: f64,
    /// Multiplies the lifetimes of certificates
    #[arg(long, hide = true, default_value_t = 1.0)]
    life_scale: f64,
}

/// Where the servers' certificates come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Source {
    /// The manager issues them.
    SelfManaged,
    /// Another component issues them, such as cert-manager.
    Given,
}

/// Reconciles until SIGTERM.
///
/// # Errors
/// If a file cannot be read, or the probe port cannot be opened.
pub async fn main(config: Config) -> anyhow::Result<()> {
    let mut termination = Termination::listen().context("installing signal handlers")?;
    let read = async |path: &PathBuf| {
        tokio::fs::read(path).await.with_context(|| format!("reading {}", path.display()))
    };
    let api = Api::connect(&config.api_server, &read(&config.api_ca).await?, &config.token_file)?;
    let (metrics, readiness) = (Metrics::default(), Readiness::default());
    let pages = probes::router(readiness.clone(), Arc::new(metrics.registry()));
    let probes = Probes::serve(config.probe_listen, pages)
        .with_context(|| format!("listening on {}", config.probe_listen))?;
    let (probe_address, identity) = (probes.address(), format!("{}_{}", config.pod, random::hex::<8>()));
    tracing::info!(%probe_address, identity, version = env!("CARGO_PKG_VERSION"), "listening");

    let duties = Duties {
        names: (config.certificates == Source::SelfManaged).then(|| names(&config.namespace)),
        namespace: config.namespace,
        identity,
        timing: Timing::default().scaled(config.time_scale, config.life_scale),
    };
    let (stop, stopping) = watch::channel(false);
    let signals = async {
        termination.received().await;
        tracing::info!("stopping");
        stop.send_replace(true);
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = Manager::new(api, duties, metrics).run(readiness, stopping) => {}
        () = signals => {}
    }
    Ok(())
}
