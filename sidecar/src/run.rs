//! `serve`: the wiring. Binds first, so that a port that somebody else holds ends the process before anything is
//! read; then one keeper per grant, and the listeners.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use agent_creds_core::pod::{AGENT_SOCKET, CALLER_KEY_FILE, PROBE_SOCKET};
use anyhow::{Context, bail};
use axum::Router;
use axum::routing::get;
use http::header::CONTENT_TYPE;
use prometheus_client::registry::Registry;
use rustix::net::sockopt::set_ipv6_v6only;
use tokio::net::{TcpListener, TcpSocket, UnixListener};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::args::{ServeArgs, StoreArg};
use crate::clock::Clock;
use crate::keeper::{Herald, Keeper, Logins, Tools};
use crate::lifecycle::{Phase, advance, terminated};
use crate::metrics::Metrics;
use crate::serve::api::Api;
use crate::serve::caller_key::CallerKey;
use crate::serve::probe::Probe;
use crate::serve::serve;
use crate::store::Store;
use crate::store::directory::Directory;
use crate::wiring;

/// Serves until SIGTERM, and until what is under way then is stored.
pub async fn run(args: ServeArgs) -> anyhow::Result<()> {
    if let Err(sentence) = args.validate() {
        bail!(sentence);
    }
    let clock = Clock::system();
    match &args.grants.store {
        StoreArg::Directory(path) => run_with(Directory::new(path.clone()), None, clock, &args).await,
        StoreArg::Kubernetes => {
            let (store, cluster) = wiring::kubernetes(&args.grants, &clock)?;
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
    let probe_socket = socket(&args.grants.spool_dir.join(PROBE_SOCKET), 0o600)?;
    let key_file = args.shared_dir.join(CALLER_KEY_FILE);
    let key = CallerKey::load_or_create(&key_file)
        .with_context(|| format!("the caller key in {}", key_file.display()))?;
    let connector = wiring::connector(&args.grants)?;
    let spool = wiring::spool(&args.grants)?;
    let metrics = Metrics::default();
    let (phase, phases) = watch::channel(Phase::Running);
    let shelves = wiring::shelves(&args.grants);

    let api = Api::new(&shelves, clock.clone(), &metrics);
    let mut registry = metrics.registry(&shelves, &clock);
    if let Some(wallet) = store.wallet() {
        registry.register_collector(Box::new(wallet.clone()));
    }
    let registry = Arc::new(registry);
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

    let herald = Herald::default();
    let tools = Tools {
        store,
        cluster,
        connector,
        clock,
        spool,
        logins: Arc::new(Logins::default()),
        timing: wiring::timing(&args.grants),
        once: None,
        herald: herald.clone(),
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
    herald.finish().await;
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
