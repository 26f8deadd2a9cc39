//! `agent-creds-webhook`: one role per subcommand.

use std::io::{self, Write as _};
use std::process::ExitCode;

use agent_creds_runtime::process;
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
            // Where this cannot be written either, there is the exit code.
            let _ = writeln!(io::stderr(), "error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn serve(role: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    process::log();
    process::install_tls()?;
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().build().context("starting the runtime")?.block_on(role)
}
