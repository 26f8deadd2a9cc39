//! `serve`: the wiring. Binds first, so that a port that somebody else holds ends the process before anything is
//! read; then one keeper per grant, and the listeners.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use agent_creds_core::pod::{AGENT_SOCKET, API_TOKEN_FILE, CALLER_KEY_FILE, PROBE_SOCKET};
use anyhow::{Context, bail};
use axum::Router;
use axum::routing::get;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::CONTENT_TYPE;
use prometheus_client::registry::Registry;
use rustix::net::sockopt::set_ipv6_v6only;
use rustls::RootCertStore;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use tokio::net::{TcpListener, TcpSocket, UnixListener};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::args::{GrantArg, Identity, ServeArgs, StoreArg};
use crate::clock::Clock;
use crate::grant::fingerprint::of_cluster;
use crate::grant::rules::Timing;
use crate::keeper::{Keeper, Logins, Tools};
use crate::lifecycle::{Phase, advance, terminated};
use crate::metrics::Metrics;
use crate::present::connect::Connector;
use crate::refusals::Refusals;
use crate::serve::api::Api;
use crate::serve::caller_key::CallerKey;
use crate::serve::probe::Probe;
use crate::serve::serve;
use crate::shelf::Shelf;
use crate::spool::Spool;
use crate::store::Store;
use crate::store::directory::Directory;
use crate::store::kubernetes::Kubernetes;

/// Serves until SIGTERM, and until what is under way then is stored.
pub async fn run(args: ServeArgs) -> anyhow::Result<()> {
    if let Err(sentence) = args.validate() {
        bail!(sentence);
    }
    let clock = Clock::system();
    match &args.store {
        StoreArg::Directory(path) => run_with(Directory::new(path.clone()), None, clock, &args).await,
        StoreArg::Kubernetes => {
            let Identity::Pod = args.identity;
            let roots = certificates("--api-ca-data", args.api_ca_data.as_deref().unwrap_or_default())?;
            let cluster = of_cluster(&public_keys(&roots).context("--api-ca-data")?);
            let roots = roots.into_iter().map(|root| root.to_vec()).collect();
            let token = args.identity_dir.join(API_TOKEN_FILE);
            let store = Kubernetes::connect(&args.api_server, roots, &token, clock.clone())
                .with_context(|| format!("the Kubernetes store, with the token in {}", token.display()))?;
            run_with(store, Some(cluster), clock, &args).await
        }
    }
}

async fn run_with<S: Store>(
    store: S,
    cluster: Option<String>,
    clock: Clock,
    args: &ServeArgs,
) -> anyhow::Result<()> {
    let api_port = bind((Ipv4Addr::LOCALHOST, args.port))?;
    let metrics_port = bind_everywhere(args.metrics_port)?;
    let agent_socket = socket(&args.shared_dir.join(AGENT_SOCKET), 0o666)?;
    let probe_socket = socket(&args.spool_dir.join(PROBE_SOCKET), 0o600)?;
    let key_file = args.shared_dir.join(CALLER_KEY_FILE);
    let key = CallerKey::load_or_create(&key_file)
        .with_context(|| format!("the caller key in {}", key_file.display()))?;
    let roots = args.provider_roots_data.as_deref().map(|data| certificates("--provider-roots-data", data));
    let connector =
        Connector::new(roots.transpose()?.unwrap_or_default()).context("--provider-roots-data")?;

    let names: Vec<_> = args.grants.iter().map(|grant| grant.name.clone()).collect();
    let spool = Spool::open(&args.spool_dir, &names);
    let spool = spool.with_context(|| format!("the spool in {}", args.spool_dir.display()))?;
    let metrics = Metrics::default();
    let (phase, phases) = watch::channel(Phase::Running);
    let timing = Timing::PRODUCTION.scaled(args.time_scale);
    let patience = Duration::try_from(timing.budget).unwrap_or_default();
    let shelf = |grant: &GrantArg| {
        Arc::new(Shelf::new(grant.name.clone(), grant.secret.clone(), Refusals::new(patience)))
    };
    let shelves: Vec<_> = args.grants.iter().map(shelf).collect();

    let api = Api::new(&shelves, clock.clone(), &metrics);
    let registry = Arc::new(metrics.registry(&shelves, &clock));
    tracing::info!(
        api = %api_port.local_addr()?,
        metrics = %metrics_port.local_addr()?,
        version = env!("CARGO_PKG_VERSION"),
        "serving"
    );
    let mut servers = JoinSet::new();
    servers.spawn(serve(api_port, api.on_loopback(key)));
    servers.spawn(serve(agent_socket, api.on_socket()));
    servers.spawn(serve(metrics_port, metrics_router(registry)));
    let probe = Probe {
        shelves: shelves.clone(),
        strict_start: args.strict_start,
        phase: phase.clone(),
        clock: clock.clone(),
    };
    servers.spawn(probe.serve(probe_socket));

    let tools = Tools {
        store,
        cluster,
        connector,
        clock,
        spool: Arc::new(spool),
        logins: Arc::new(Logins::default()),
        timing,
        phase: phases,
        metrics,
    };
    let mut keepers = JoinSet::new();
    for shelf in shelves {
        let keeper = Keeper::new(tools.clone(), shelf).context("the spool")?;
        keepers.spawn(keeper.run());
    }
    terminated().await.context("waiting for SIGTERM")?;
    advance(&phase, Phase::Stopping);
    // An answer that is on its way, or not stored yet, is waited for: the kubelet decides how long.
    while keepers.join_next().await.is_some() {}
    tracing::info!("stopped");
    Ok(())
}

/// On all addresses of both families; on IPv4 alone where the node has no other.
fn bind_everywhere(port: u16) -> anyhow::Result<TcpListener> {
    match TcpSocket::new_v6() {
        Ok(_) => bind((Ipv6Addr::UNSPECIFIED, port)),
        Err(_) => bind((Ipv4Addr::UNSPECIFIED, port)),
    }
}

fn bind(address: impl Into<SocketAddr>) -> anyhow::Result<TcpListener> {
    let address = address.into();
    let taken = || format!("binding {address}: another container of the pod has taken it");
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if address.is_ipv6() {
        set_ipv6_v6only(&socket, false)?;
    }
    // On Linux SO_REUSEADDR never lets two sockets listen on one port (that would be SO_REUSEPORT). It lets a restarted
    // sidecar bind at once, while connections of the one before are in TIME_WAIT.
    socket.set_reuseaddr(true)?;
    socket.bind(address).with_context(taken)?;
    socket.listen(1024).with_context(taken)
}

/// A fresh socket at `path`; one that an earlier process left is removed.
fn socket(path: &Path, mode: u32) -> anyhow::Result<UnixListener> {
    let shown = || format!("the socket {}", path.display());
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error).with_context(shown),
        _ => {}
    }
    let listener = UnixListener::bind(path).with_context(shown)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).with_context(shown)?;
    Ok(listener)
}

fn metrics_router(registry: Arc<Registry>) -> Router {
    let metrics = move || {
        let registry = registry.clone();
        async move {
            let mut text = String::new();
            let encoded = prometheus_client::encoding::text::encode(&mut text, &registry);
            let status =
                if encoded.is_ok() { http::StatusCode::OK } else { http::StatusCode::INTERNAL_SERVER_ERROR };
            (status, [(CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text)
        }
    };
    Router::new().route("/metrics", get(metrics))
}

fn certificates(argument: &str, data: &str) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let pem = STANDARD.decode(data.trim()).with_context(|| format!("{argument}: not base64"))?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let found = found.with_context(|| format!("{argument}: not PEM"))?;
    if found.is_empty() {
        bail!("{argument}: no certificate in it");
    }
    Ok(found)
}

/// The keys of CA certificates (SubjectPublicKeyInfo in DER): they stay when a CA renews its certificate.
fn public_keys(certificates: &[CertificateDer<'static>]) -> anyhow::Result<Vec<Vec<u8>>> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates {
        roots.add(certificate.clone())?;
    }
    Ok(roots.roots.iter().map(|root| root.subject_public_key_info.to_vec()).collect())
}
