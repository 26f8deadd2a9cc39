//! `serve`: the wiring. Binds first, so that a port that somebody else holds ends the process before anything is
//! read; then one keeper per grant, and the listeners.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use agent_creds_core::pod::{AGENT_SOCKET, API_TOKEN_FILE, CALLER_KEY_FILE, PROBE_SOCKET};
use anyhow::{Context, bail};
use axum::Router;
use axum::routing::get;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::CONTENT_TYPE;
use prometheus_client::registry::Registry;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::args::{Identity, ServeArgs, StoreArg};
use crate::clock::Clock;
use crate::grant::fingerprint::hex;
use crate::grant::machine::Timing;
use crate::keeper::{Keeper, Tools, random};
use crate::lifecycle::{Phase, advance, terminated};
use crate::metrics::Metrics;
use crate::present::connect::Connector;
use crate::serve::api::Api;
use crate::serve::caller_key::CallerKey;
use crate::serve::probe::Probe;
use crate::serve::serve;
use crate::shelf::Shelf;
use crate::store::Store;
use crate::store::directory::Directory;
use crate::store::kubernetes::Kubernetes;

/// Serves until SIGTERM, and until what is under way then is stored.
pub async fn run(args: ServeArgs) -> anyhow::Result<()> {
    if let Err(sentence) = args.validate() {
        bail!(sentence);
    }
    match &args.store {
        StoreArg::Directory(path) => run_with(Directory::new(path.clone()), &args).await,
        StoreArg::Kubernetes => {
            let Identity::Pod = args.identity;
            let roots = certificates("--api-ca-data", args.api_ca_data.as_deref().unwrap_or_default())?;
            let roots = roots.into_iter().map(|root| root.to_vec()).collect();
            let token = args.identity_dir.join(API_TOKEN_FILE);
            let store = Kubernetes::connect(&args.api_server, roots, &token)
                .with_context(|| format!("the Kubernetes store, with the token in {}", token.display()))?;
            run_with(store, &args).await
        }
    }
}

async fn run_with<S: Store>(store: S, args: &ServeArgs) -> anyhow::Result<()> {
    let api_port = bind(([127, 0, 0, 1], args.port)).await?;
    let metrics_port = bind(([0, 0, 0, 0], args.metrics_port)).await?;
    let agent_socket = socket(&args.shared_dir.join(AGENT_SOCKET), 0o666)?;
    let probe_socket = socket(&args.spool_dir.join(PROBE_SOCKET), 0o600)?;
    let key_file = args.shared_dir.join(CALLER_KEY_FILE);
    let key = CallerKey::load_or_create(&key_file)
        .with_context(|| format!("the caller key in {}", key_file.display()))?;
    let roots = args.provider_roots_data.as_deref().map(|data| certificates("--provider-roots-data", data));
    let connector =
        Connector::new(roots.transpose()?.unwrap_or_default()).context("--provider-roots-data")?;

    let clock = Clock::system();
    let metrics = Metrics::default();
    let (phase, phases) = watch::channel(Phase::Running);
    let shelves: Vec<_> = args
        .grants
        .iter()
        .map(|grant| Arc::new(Shelf::new(grant.name.clone(), grant.secret.clone())))
        .collect();

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
        connector,
        clock,
        holder: hex(&random::<16>()),
        timing: Timing::default(),
        phase: phases,
        metrics,
    };
    let mut keepers = JoinSet::new();
    for shelf in shelves {
        keepers.spawn(Keeper::new(tools.clone(), shelf).run());
    }
    terminated().await.context("waiting for SIGTERM")?;
    advance(&phase, Phase::Stopping);
    // An answer that is on its way, or not stored yet, is waited for: the kubelet decides how long.
    while keepers.join_next().await.is_some() {}
    tracing::info!("stopped");
    Ok(())
}

async fn bind(address: impl Into<std::net::SocketAddr>) -> anyhow::Result<TcpListener> {
    let address = address.into();
    let taken = || format!("binding {address}: another container of the pod has taken it");
    // On Linux SO_REUSEADDR never lets two sockets listen on one port (that would be SO_REUSEPORT). It lets a restarted
    // sidecar bind at once, while connections of the one before are in TIME_WAIT.
    let socket = tokio::net::TcpSocket::new_v4()?;
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
