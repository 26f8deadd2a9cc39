//! The parts that the serving roles share: two ports, a certificate, and a graceful shutdown.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use agent_creds_runtime::certificates::{Certificates, Files, Reload};
use agent_creds_runtime::probes::{self, Probes, Readiness};
use agent_creds_runtime::server::{self, Limits};
use agent_creds_runtime::signals::Termination;
use anyhow::Context as _;
use axum::Router;
use rustls::ServerConfig;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use crate::metrics::Metrics;
use crate::policy::Policy;
use crate::serve::seal_keys::SealKeys;

/// The ports, and the certificate of the first.
#[derive(Debug)]
pub(super) struct Ports {
    certificates: Arc<Certificates>,
    reload: Reload,
    listener: TcpListener,
    probes: Probes,
    readiness: Readiness,
}

impl Ports {
    /// Loads the certificate and binds the ports; port 0 picks a free one. Probes are answered from now on.
    pub(super) async fn open(
        files: Files,
        listen: SocketAddr,
        probe_listen: SocketAddr,
        metrics: &Metrics,
    ) -> anyhow::Result<Self> {
        let (certificate, key) = (files.certificate.display().to_string(), files.key.display().to_string());
        let loading = || format!("loading the serving certificate {certificate} and its key {key}");
        let (certificates, reload) = Certificates::load(files).await.with_context(loading)?;
        let listening = |address| move || format!("listening on {address}");
        let listener = TcpListener::bind(listen).await.with_context(listening(listen))?;
        let readiness = Readiness::default();
        let registry = Arc::new(metrics.registry(Arc::clone(&certificates)));
        let pages = probes::router(readiness.clone(), registry);
        let probes = Probes::serve(probe_listen, pages).with_context(listening(probe_listen))?;
        Ok(Self { certificates, reload, listener, probes, readiness })
    }

    /// Returns the addresses of the endpoint and of the probes.
    pub(super) fn addresses(&self) -> std::io::Result<(SocketAddr, SocketAddr)> {
        Ok((self.listener.local_addr()?, self.probes.address()))
    }
}

/// Limits and intervals.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// Limits of the endpoint.
    pub(super) limits: Limits,
    /// Interval at which the files of certificate and keys are read.
    pub(super) reload: Duration,
    /// How long requests are still accepted after the role becomes not ready.
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

/// Runs the future that `start` returns until SIGTERM. A second signal stops it immediately.
pub(super) async fn until_signalled<F: Future<Output = ()>>(
    start: impl FnOnce(watch::Receiver<u8>) -> F,
) -> anyhow::Result<()> {
    let mut termination = Termination::listen().context("installing signal handlers")?;
    let (stop, stopping) = watch::channel(0_u8);
    let serving = start(stopping);
    tokio::pin!(serving);
    for _ in 0..2 {
        tokio::select! {
            () = &mut serving => return Ok(()),
            () = termination.received() => {}
        }
        stop.send_modify(|signals| *signals += 1);
    }
    serving.await;
    Ok(())
}

/// Serves `router` over TLS. The role becomes ready when it has a certificate and seal keys. `stopping` counts the requests
/// to stop: at 1 the open requests are finished, at 2 they are dropped.
pub(super) async fn serve(
    ports: Ports,
    router: Router,
    keys: Arc<SealKeys>,
    pace: Pace,
    mut stopping: watch::Receiver<u8>,
) {
    let Ports { certificates, reload, listener, probes, readiness } = ports;
    let resolver = Arc::<Certificates>::clone(&certificates);
    let mut config = ServerConfig::builder().with_no_client_auth().with_cert_resolver(resolver);
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));

    let (stop, stopped) = watch::channel(false);
    let mut again = stopping.clone();
    let orderly = async {
        // Both may be created after this process starts.
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
    let endpoint = server::serve(listener, Some(acceptor), router, pace.limits, stopped);
    // The certificate is renewed until the last request is finished.
    tokio::select! {
        _ = async { tokio::join!(orderly, endpoint) } => {}
        () = reload.run(pace.reload) => {}
        () = keys.run(pace.reload) => {}
        () = asked(&mut again, 2) => tracing::warn!("stopped at once"),
    }
    drop(probes);
}

/// Waits until the role was asked to stop `times` times.
async fn asked(stopping: &mut watch::Receiver<u8>, times: u8) {
    if stopping.wait_for(|asked| *asked >= times).await.is_err() {
        // The sender is gone, so no request can come.
        std::future::pending::<()>().await;
    }
}
