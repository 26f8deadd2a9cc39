//! Role `manage`: certificates and their CA, seal keys, and what is worth counting in the whole cluster. It has rights in
//! the API, by name, and no listener but probes and metrics.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::authority::Timing;
use crate::manage::api::Api;
use crate::manage::{Duties, Manager, Metrics, names};
use crate::random;
use crate::serve::probes::{self, Readiness};
use crate::serve::tls::{self, Limits};

/// Arguments of `manage`.
#[derive(Debug, clap::Args)]
pub struct Config {
    /// Namespace of the release
    #[arg(long, value_name = "NAME")]
    namespace: String,
    /// Where the servers' certificates come from
    #[arg(long, value_enum)]
    certificates: Source,
    /// The API server
    #[arg(long, value_name = "URL")]
    api_server: String,
    /// CA bundle of the API server (PEM)
    #[arg(long, value_name = "FILE")]
    api_ca: PathBuf,
    /// Our ServiceAccount token; read again as it is renewed
    #[arg(long, value_name = "FILE")]
    token_file: PathBuf,
    /// Name of this pod, for people who look at the Lease
    #[arg(long, value_name = "NAME", default_value = "manage")]
    pod: String,
    /// Address of /healthz, /readyz and /metrics (HTTP)
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:8080")]
    probe_listen: SocketAddr,
    /// All pauses, times this
    #[arg(long, hide = true, default_value_t = 1.0)]
    time_scale: f64,
    /// Lives of certificates, times this
    #[arg(long, hide = true, default_value_t = 1.0)]
    life_scale: f64,
}

/// Where the servers' certificates come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Source {
    /// We make them.
    SelfManaged,
    /// Somebody else does.
    Given,
}

/// Keeps what there is to keep until SIGTERM.
pub async fn main(config: Config) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("waiting for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("waiting for SIGINT")?;
    let read = async |path: &PathBuf| {
        tokio::fs::read(path).await.with_context(|| format!("reading {}", path.display()))
    };
    let api = Api::connect(&config.api_server, &read(&config.api_ca).await?, &config.token_file)?;
    let listener = TcpListener::bind(config.probe_listen)
        .await
        .with_context(|| format!("listening on {}", config.probe_listen))?;
    let (probe_address, identity) =
        (listener.local_addr().context("reading the address")?, format!("{}_{}", config.pod, random::tag()));
    tracing::info!(%probe_address, identity, version = env!("CARGO_PKG_VERSION"), "listening");

    let metrics = Arc::new(Metrics::new());
    let readiness = Readiness::default();
    let rendered = Arc::clone(&metrics);
    let pages = probes::pages(readiness.clone(), move || rendered.render());
    let duties = Duties {
        names: (config.certificates == Source::SelfManaged).then(|| names(&config.namespace)),
        namespace: config.namespace,
        identity,
        timing: Timing::default().scaled(config.time_scale, config.life_scale),
    };
    let (stop, stopping) = watch::channel(false);
    let (_never, going_on) = watch::channel(false);
    let signals = async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping");
        stop.send_replace(true);
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = Manager::new(api, duties, metrics).run(readiness, stopping) => {}
        () = tls::serve(listener, None, pages, Limits::plain(), going_on) => {}
        () = signals => {}
    }
    Ok(())
}
