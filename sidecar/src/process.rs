//! What a process that holds credentials does before it does anything else.

use anyhow::{Context, anyhow};
use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

/// No core files, no ptrace and no reading of `/proc/<pid>` by others of the same uid; one TLS provider.
pub fn protect() -> anyhow::Result<()> {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    setrlimit(Resource::Core, none).context("forbidding core files")?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable).context("forbidding dumps")?;
    rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .map_err(|_| anyhow!("a second TLS provider is in this binary"))
}

/// One JSON line per event on standard output. No level from the environment: it is the pod author's.
pub fn log() {
    // Our own lines alone: a library's may hold what it could not parse, and that can be a Secret.
    let ours = Targets::new().with_target("agent_creds_sidecar", LevelFilter::INFO);
    let lines = tracing_subscriber::fmt::layer().json().flatten_event(true);
    tracing_subscriber::registry().with(lines.with_filter(ours)).init();
}
