//! `agent-creds-webhook`: one role per subcommand.

use std::io::{self, Write as _};
use std::process::ExitCode;

use agent_creds_webhook::roles::{Cli, Role, admit, identity, inject, manage};
use anyhow::Context as _;
use clap::Parser as _;

fn main() -> ExitCode {
    let result = match Cli::parse().role {
        Role::Inject(config) => inject::main(config, &mut io::stdout().lock(), &mut io::stderr().lock()),
        Role::Admit(config) => serve(admit::main(config)),
        Role::Identity(config) => serve(identity::main(config)),
        Role::Manage(config) => serve(manage::main(config)),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Where even this cannot be written, the exit code has to do.
            let _ = writeln!(io::stderr(), "error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn serve(role: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    tracing_subscriber::fmt().json().flatten_event(true).with_writer(io::stdout).init();
    let installed = rustls::crypto::aws_lc_rs::default_provider().install_default();
    anyhow::ensure!(installed.is_ok(), "another TLS implementation is installed in this process");
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().build().context("starting the runtime")?.block_on(role)
}
