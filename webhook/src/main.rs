//! `agent-creds-webhook`: one role per subcommand.

use std::io;

use agent_creds_webhook::roles::{Cli, Role, admit, inject};
use anyhow::Context as _;
use clap::Parser as _;

fn main() -> anyhow::Result<()> {
    match Cli::parse().role {
        Role::Inject(config) => inject::main(config, &mut io::stdout().lock(), &mut io::stderr().lock()),
        Role::Admit(config) => {
            tracing_subscriber::fmt().json().flatten_event(true).with_writer(io::stdout).init();
            let provider = rustls::crypto::aws_lc_rs::default_provider();
            if provider.install_default().is_err() {
                anyhow::bail!("another TLS implementation is installed in this process");
            }
            tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .context("starting the runtime")?
                .block_on(admit::main(config))
        }
    }
}
