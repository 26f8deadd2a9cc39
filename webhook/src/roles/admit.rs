//! Role `admit`: the admission endpoint, with the certificate and the policy as files, and no rights in the
//! Kubernetes API.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use rustls::ServerConfig;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use crate::metrics::Metrics;
use crate::policy::Policy;
use crate::serve::certificates::{Certificates, Files, Reload};
use crate::serve::probes::{self, Readiness};
use crate::serve::review;
use crate::serve::seal_keys::SealKeys;
use crate::serve::tls::{self, Limits};

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
    /// Directory with the seal keys: `current`, and where there is one `previous`; read again when it changes
    #[arg(long, value_name = "DIRECTORY")]
    seal_keys: PathBuf,
    /// Address of the admission endpoint (HTTPS)
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:8443")]
    listen: SocketAddr,
    /// Address of /healthz, /readyz and /metrics (HTTP)
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:8080")]
    probe_listen: SocketAddr,
}

/// What tests set and operators do not.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// Limits of both listeners.
    pub limits: Limits,
    /// How long a body may take to arrive.
    pub body: Duration,
    /// How often the certificate's files are looked at.
    pub reload: Duration,
    /// How long we still accept requests after we said that we are not ready: the API server hears of that later.
    pub linger: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            body: Duration::from_secs(10),
            reload: Duration::from_secs(10),
            linger: Duration::from_secs(5),
        }
    }
}

/// Loaded files and open ports.
#[derive(Debug)]
pub struct Prepared {
    policy: Policy,
    keys: Arc<SealKeys>,
    certificates: Arc<Certificates>,
    reload: Reload,
    metrics: Arc<Metrics>,
    listener: TcpListener,
    probe_listener: TcpListener,
}

/// Loads and binds, then serves until SIGTERM; a second signal ends it at once.
pub async fn main(config: Config) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("waiting for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("waiting for SIGINT")?;
    let mut signals = async || {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    let prepared = config.prepare().await?;
    let (address, probe_address) = prepared.addresses().context("reading the addresses")?;
    tracing::info!(%address, %probe_address, version = env!("CARGO_PKG_VERSION"), "listening");
    let (stop, stopping) = watch::channel(0_u8);
    let serving = run(prepared, Timing::default(), stopping);
    tokio::pin!(serving);
    for _ in 0..2 {
        tokio::select! {
            () = &mut serving => return Ok(()),
            () = signals() => stop.send_modify(|signals| *signals += 1),
        }
    }
    serving.await;
    Ok(())
}

impl Config {
    /// Reads the files and opens the ports; port 0 picks free ones.
    pub async fn prepare(self) -> anyhow::Result<Prepared> {
        let Self { policy, api_ca, tls_cert, tls_key, seal_keys, listen, probe_listen } = self;
        let read = async |path: &PathBuf| {
            tokio::fs::read_to_string(path).await.with_context(|| format!("reading {}", path.display()))
        };
        let (text, ca) = (read(&policy).await?, read(&api_ca).await?);
        let policy =
            Policy::parse(&text, ca.as_bytes()).with_context(|| format!("in {}", policy.display()))?;
        let metrics = Arc::new(Metrics::new());
        let files = Files { certificate: tls_cert, key: tls_key };
        let (certificates, reload) = Certificates::load(files, Arc::clone(&metrics))
            .await
            .context("loading the serving certificate")?;
        let keys = SealKeys::load(seal_keys).await;
        let bind = async |address| {
            TcpListener::bind(address).await.with_context(|| format!("listening on {address}"))
        };
        let (listener, probe_listener) = (bind(listen).await?, bind(probe_listen).await?);
        Ok(Prepared { policy, keys, certificates, reload, metrics, listener, probe_listener })
    }
}

impl Prepared {
    /// The addresses of the admission endpoint and of the probes.
    pub fn addresses(&self) -> std::io::Result<(SocketAddr, SocketAddr)> {
        Ok((self.listener.local_addr()?, self.probe_listener.local_addr()?))
    }
}

/// Serves. `stopping` counts the requests to stop: with 1 the open requests are finished, with 2 they are not.
pub async fn run(prepared: Prepared, timing: Timing, mut stopping: watch::Receiver<u8>) {
    let Prepared { policy, keys, certificates, reload, metrics, listener, probe_listener } = prepared;
    let mut config = ServerConfig::builder()
        .with_no_client_auth()
        .with_cert_resolver(Arc::<Certificates>::clone(&certificates));
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let context = review::Context {
        policy,
        keys: Arc::clone(&keys),
        metrics: Arc::clone(&metrics),
        body_timeout: timing.body,
    };
    let reviews = review::router(Arc::new(context));
    let readiness = Readiness::default();
    let pages = probes::router(readiness.clone(), metrics);

    let (stop, stopped) = watch::channel(false);
    let (_never, going_on) = watch::channel(false);
    let mut again = stopping.clone();
    let orderly = async {
        // Without keys every annotated pod would be refused. Both may be made after the installation.
        let ready = async {
            certificates.available().await;
            keys.available().await;
            readiness.set(true);
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = ready => {}
            () = asked(&mut stopping, 1) => {}
        }
        readiness.set(false);
        tracing::info!("stopping");
        tokio::time::sleep(timing.linger).await;
        stop.send_replace(true);
    };
    let admission = tls::serve(listener, Some(acceptor), reviews, timing.limits, stopped);
    // Probes are answered, and the certificate is renewed, until the last request is through.
    tokio::select! {
        _ = async { tokio::join!(orderly, admission) } => {}
        () = tls::serve(probe_listener, None, pages, timing.limits, going_on) => {}
        () = reload.run(timing.reload) => {}
        () = keys.run(timing.reload) => {}
        () = asked(&mut again, 2) => tracing::warn!("stopped at once"),
    }
}

/// Ends when we were asked to stop `times`.
async fn asked(stopping: &mut watch::Receiver<u8>, times: u8) {
    if stopping.wait_for(|asked| *asked >= times).await.is_err() {
        // Nobody is left who could ask.
        std::future::pending::<()>().await;
    }
}
