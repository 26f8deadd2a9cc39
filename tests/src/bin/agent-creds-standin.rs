//! The stand-in OAuth server as a program, for tests that are not written in Rust.
//!
//! ```text
//! agent-creds-standin --ca ca.pem \
//!     --client '{"provider":"pagerduty","id":"app","secret":"s","auth":"post","scopes":["incidents.read"]}' \
//!     --client '{"provider":"datadog:datadoghq.eu","id":"pub","auth":"none","scopes":["monitors_read"]}'
//! ```
//!
//! When it serves, it prints one line: `{"ready":true,"address":"127.0.0.1:…"}`. Its control routes are under `/test/`
//! (`src/standin/control.rs`). It ends with its stdin.

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;

use agent_creds_tests::standin::{Client, Config, Standin};
use anyhow::Context as _;
use clap::Parser;

/// A strict OAuth server for tests, on the providers' real host names.
#[derive(Parser)]
struct Arguments {
    /// Address to listen on; port 0 selects a free one
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,

    /// File for the CA certificate that clients must trust
    #[arg(long)]
    ca: PathBuf,

    /// Additional name or address in the certificate; may be repeated
    #[arg(long = "name")]
    names: Vec<String>,

    /// A client, as JSON: provider, id, secret, auth (post, basic, none), scopes; may be repeated
    #[arg(long = "client", value_parser = client)]
    clients: Vec<Client>,

    /// Lifetime of access tokens in seconds, instead of the provider's own
    #[arg(long)]
    token_life: Option<u64>,
}

fn client(json: &str) -> Result<Client, String> {
    serde_json::from_str(json).map_err(|error| error.to_string())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let Arguments { listen, ca, names, clients, token_life } = Arguments::parse();
    let config = Config { clients, names, authority: None, token_life };
    let standin = Standin::start(listen, config).await.context("starting to serve")?;
    std::fs::write(&ca, standin.ca_pem()).with_context(|| format!("writing {}", ca.display()))?;
    let ready = serde_json::json!({ "ready": true, "address": standin.addr().to_string() });
    writeln!(io::stdout(), "{ready}").context("printing the address")?;

    let end = tokio::task::spawn_blocking(|| io::copy(&mut io::stdin(), &mut io::sink()));
    end.await.context("waiting for the end of stdin")?.context("reading stdin")?;
    Ok(())
}
