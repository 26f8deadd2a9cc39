//! What a process does before anything else.

use anyhow::{Context as _, anyhow};
use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

/// Forbids core files, ptrace, and reading `/proc/<pid>` by other processes of the same uid.
///
/// # Errors
/// Where the kernel does not allow it: a process that holds credentials must then not run.
pub fn protect_memory() -> anyhow::Result<()> {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    setrlimit(Resource::Core, none).context("forbidding core files")?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable).context("forbidding dumps")
}

/// Installs the TLS provider. There has to be exactly one.
///
/// # Errors
/// Where a second one is in this process.
pub fn install_tls() -> anyhow::Result<()> {
    let installed = rustls::crypto::aws_lc_rs::default_provider().install_default();
    installed.map_err(|_| anyhow!("a second TLS provider is in this process"))
}

/// Logs one JSON object a line on standard output: the lines of our crates alone, since a library's line may hold what it
/// could not parse, and that can be a Secret. The level is not read from the environment, which the pod's author writes.
pub fn log() {
    let ours = ["agent_creds_sidecar", "agent_creds_webhook", "agent_creds_runtime"];
    let ours = Targets::new().with_targets(ours.map(|target| (target, LevelFilter::INFO)));
    let lines = tracing_subscriber::fmt::layer().json().flatten_event(true);
    tracing_subscriber::registry().with(lines.with_filter(ours)).init();
}
