//! The `agent-creds-sidecar` binary.

use std::process::ExitCode;

use agent_creds_core::pod::PROBE_SOCKET;
use agent_creds_runtime::process;
use agent_creds_sidecar::cli::{Cli, Command, ProbeKind};
use agent_creds_sidecar::commands::{refresh, serve};
use agent_creds_sidecar::serve::probe::{Question, ask};
use clap::Parser;

#[expect(clippy::print_stderr, reason = "the exit message for a person or the kubelet; there is no log yet")]
fn main() -> ExitCode {
    let protected = process::protect_memory().and_then(|()| process::install_tls());
    let outcome = protected.and_then(|()| run(Cli::parse().command));
    outcome.unwrap_or_else(|error| {
        eprintln!("agent-creds-sidecar: {error:#}");
        ExitCode::FAILURE
    })
}

fn run(command: Command) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (dir, question) = match command {
        Command::Serve(args) => {
            process::log();
            return runtime.block_on(serve::run(*args)).map(|()| ExitCode::SUCCESS);
        }
        Command::Refresh(args) => {
            process::log();
            return runtime.block_on(refresh::run(*args));
        }
        Command::Probe { kind: ProbeKind::Startup, spool_dir } => (spool_dir, Question::Startup),
        Command::Probe { kind: ProbeKind::Liveness, spool_dir } => (spool_dir, Question::Liveness),
        Command::Drain { spool_dir } => (spool_dir, Question::Drain),
    };
    runtime.block_on(ask(&dir.join(PROBE_SOCKET), question)).map_err(anyhow::Error::msg)?;
    Ok(ExitCode::SUCCESS)
}
