//! What the roles that serve have in common: two ports, a certificate, and an orderly end.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use rustls::ServerConfig;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use crate::metrics::Metrics;
use crate::policy::Policy;
use crate::serve::certificates::{Certificates, Files, Reload};
use crate::serve::probes::{self, Readiness};
use crate::serve::seal_keys::SealKeys;
use crate::serve::tls::{self, Limits};

/// The ports, and the certificate of the first.
#[derive(Debug)]
pub(super) struct Ports {
    pub(super) certificates: Arc<Certificates>,
    pub(super) reload: Reload,
    pub(super) listener: TcpListener,
    pub(super) probe_listener: TcpListener,
}

impl Ports {
    /// Loads and binds; port 0 picks a free one.
    pub(super) async fn open(
        files: Files,
        listen: SocketAddr,
        probe_listen: SocketAddr,
        metrics: Arc<Metrics>,
    ) -> anyhow::Result<Self> {
        let (certificate, key) = (files.certificate.display().to_string(), files.key.display().to_string());
        let loading = || format!("loading the serving certificate {certificate} and its key {key}");
        let (certificates, reload) = Certificates::load(files, metrics).await.with_context(loading)?;
        let bind = async |address| {
            TcpListener::bind(address).await.with_context(|| format!("listening on {address}"))
        };
        let (listener, probe_listener) = (bind(listen).await?, bind(probe_listen).await?);
        Ok(Self { certificates, reload, listener, probe_listener })
    }

    /// The addresses of the endpoint and of the probes.
    pub(super) fn addresses(&self) -> std::io::Result<(SocketAddr, SocketAddr)> {
        Ok((self.listener.local_addr()?, self.probe_listener.local_addr()?))
    }
}

/// Limits and intervals.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// Limits of both listeners.
    pub(super) limits: Limits,
    /// How often the files of certificate and keys are looked at.
    pub(super) reload: Duration,
    /// How long requests are still accepted after we said that we are not ready.
    pub(super) linger: Duration,
}

/// Reads the policy and the CA bundle of the API server.
pub(super) async fn policy(policy: &Path, api_ca: &Path) -> anyhow::Result<(Policy, String)> {
    let read = async |path: &Path| {
        tokio::fs::read_to_string(path).await.with_context(|| format!("reading {}", path.display()))
    };
    let (text, ca) = (read(policy).await?, read(api_ca).await?);
    let policy = Policy::parse(&text, ca.as_bytes()).with_context(|| {
        format!("in {}, with the API server's CA in {}", policy.display(), api_ca.display())
    })?;
    Ok((policy, ca))
}

/// Serves what `start` makes until SIGTERM; a second signal ends it at once.
pub(super) async fn until_signalled<F: Future<Output = ()>>(
    start: impl FnOnce(watch::Receiver<u8>) -> F,
) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("waiting for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("waiting for SIGINT")?;
    let (stop, stopping) = watch::channel(0_u8);
    let serving = start(stopping);
    tokio::pin!(serving);
    for _ in 0..2 {
        tokio::select! {
            () = &mut serving => return Ok(()),
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        stop.send_modify(|signals| *signals += 1);
    }
    serving.await;
    Ok(())
}

/// Serves what needs a certificate and the seal keys: until there are some we are not ready. `stopping` counts the requests to stop: with 1
/// the open requests are finished, with 2 they are not.
pub(super) async fn serve(
    ports: Ports,
    router: Router,
    keys: Arc<SealKeys>,
    metrics: Arc<Metrics>,
    pace: Pace,
    mut stopping: watch::Receiver<u8>,
) {
    let Ports { certificates, reload, listener, probe_listener } = ports;
    let resolver = Arc::<Certificates>::clone(&certificates);
    let mut config = ServerConfig::builder().with_no_client_auth().with_cert_resolver(resolver);
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let readiness = Readiness::default();
    let pages = probes::router(readiness.clone(), metrics);

    let (stop, stopped) = watch::channel(false);
    let (_never, going_on) = watch::channel(false);
    let mut again = stopping.clone();
    let orderly = async {
        // Both may be made after the installation.
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
        tokio::time::sleep(pace.linger).await;
        stop.send_replace(true);
    };
    let endpoint = tls::serve(listener, Some(acceptor), router, pace.limits, stopped);
    // Probes are answered, and the certificate is renewed, until the last request is through.
    tokio::select! {
        _ = async { tokio::join!(orderly, endpoint) } => {}
        () = tls::serve(probe_listener, None, pages, Limits::plain(), going_on) => {}
        () = reload.run(pace.reload) => {}
        () = keys.run(pace.reload) => {}
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
