//! `serve`: serves tokens until SIGTERM. It binds its ports first, so that a port that another container holds ends the process before
//! anything is read; then it starts one refresher per grant and the listeners.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use agent_creds_core::pod::{AGENT_SOCKET, CALLER_KEY_FILE, PROBE_SOCKET};
use agent_creds_core::sidecar_args::ServeArgs;
use agent_creds_runtime::metrics;
use agent_creds_runtime::server::{Limits, serve};
use agent_creds_runtime::signals::Termination;
use anyhow::{Context, bail};
use axum::Router;
use axum::routing::get;
use rustix::net::sockopt::set_ipv6_v6only;
use tokio::net::{TcpListener, TcpSocket, UnixListener};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::setup;
use crate::clock::Clock;
use crate::lifecycle::{Phase, advance};
use crate::metrics::Metrics;
use crate::refresher::{EventRecorder, Logins, Refresher, Tools};
use crate::serve::api::Api;
use crate::serve::caller_key::CallerKey;
use crate::serve::probe::Probe;
use crate::store::Store;

/// Limits of the listeners. All connections of the pod come from the same address.
fn limits() -> Limits {
    Limits { connections: 256, per_source: 256, ..Limits::default() }
}

/// Serves until SIGTERM, and until what is then under way is stored.
///
/// # Errors
/// Where the arguments contradict each other, a port is taken, or a volume cannot be used.
pub async fn run(args: ServeArgs) -> anyhow::Result<()> {
    if let Err(sentence) = args.validate() {
        bail!(sentence);
    }
    setup::on_store(&args.grants, Serve(&args)).await
}

struct Serve<'a>(&'a ServeArgs);

impl setup::Task for Serve<'_> {
    type Output = ();

    async fn run<S: Store>(self, store: S, cluster: Option<String>, clock: Clock) -> anyhow::Result<()> {
        serve_from(store, cluster, clock, self.0).await
    }
}

async fn serve_from<S: Store>(
    store: S,
    cluster: Option<String>,
    clock: Clock,
    args: &ServeArgs,
) -> anyhow::Result<()> {
    let mut termination = Termination::listen().context("installing signal handlers")?;
    let api_port = bind((Ipv4Addr::LOCALHOST, args.port))?;
    let metrics_port = bind_everywhere(args.metrics_port)?;
    let agent_socket = socket(&args.shared_dir.join(AGENT_SOCKET), 0o666)?;
    let probe_socket = socket(&args.grants.spool_dir.join(PROBE_SOCKET), 0o600)?;
    let key_file = args.shared_dir.join(CALLER_KEY_FILE);
    let key = CallerKey::load_or_create(&key_file)
        .with_context(|| format!("the caller key in {}", key_file.display()))?;
    let connector = setup::connector(&args.grants)?;
    let spool = setup::spool(&args.grants)?;
    let counters = Metrics::default();
    let (phase, phases) = watch::channel(Phase::Running);
    let caches = setup::caches(&args.grants);

    let api = Api::new(&caches, clock.clone(), &counters);
    let registry = Arc::new(counters.registry(&caches, &clock, store.token_source()));
    tracing::info!(
        api = %api_port.local_addr()?,
        metrics = %metrics_port.local_addr()?,
        version = env!("CARGO_PKG_VERSION"),
        "serving"
    );
    let mut servers = JoinSet::new();
    // The servers end with the process.
    let (_never, stop) = watch::channel(false);
    servers.spawn(serve(api_port, None, api.on_loopback(key), limits(), stop.clone()));
    servers.spawn(serve(agent_socket, None, api.on_socket(), limits(), stop.clone()));
    servers.spawn(serve(metrics_port, None, metrics_router(registry), limits(), stop));
    let probe = Probe {
        caches: caches.clone(),
        strict_start: args.strict_start,
        phase: phase.clone(),
        clock: clock.clone(),
    };
    servers.spawn(probe.serve(probe_socket));

    let events = EventRecorder::default();
    let tools = Tools {
        store,
        cluster,
        connector,
        clock,
        spool,
        logins: Arc::new(Logins::default()),
        timing: setup::timing(&args.grants),
        once: None,
        events: events.clone(),
        phase: phases,
        metrics: counters,
    };
    let mut refreshers = JoinSet::new();
    for cache in caches {
        let refresher = Refresher::new(tools.clone(), cache).context("the spool")?;
        refreshers.spawn(refresher.run());
    }
    termination.received().await;
    advance(&phase, Phase::Stopping);
    // Wait for an answer that is still to come or not stored yet; the kubelet decides for how long.
    while refreshers.join_next().await.is_some() {}
    events.finish().await;
    tracing::info!("stopped");
    Ok(())
}

/// Binds all addresses of both families, or of IPv4 alone where the node has no IPv6.
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
    // On Linux SO_REUSEADDR never lets two sockets listen on one port (that is SO_REUSEPORT). A restarted sidecar can bind at once
    // although connections of the process before are in TIME_WAIT.
    socket.set_reuseaddr(true)?;
    socket.bind(address).with_context(taken)?;
    socket.listen(1024).with_context(taken)
}

/// Creates a socket at `path`, in place of one of an earlier process.
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

fn metrics_router(registry: Arc<prometheus_client::registry::Registry>) -> Router {
    Router::new().route("/metrics", get(async move || metrics::page(&registry)))
}
