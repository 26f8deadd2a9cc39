//! The account that the sidecar reads the Secrets as.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use url::Url;

use crate::names::ObjectName;
use crate::pod;

/// The account that the Secrets are read as, and how the sidecar obtains its token.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct IdentityArgs {
    /// The account that reads the Secrets: `exchange`, the credential ServiceAccount, whose token comes from the identity
    /// server; or `pod`, the pod's own. Default with --store kubernetes: `exchange`.
    #[arg(long, value_name = "MODE")]
    pub identity: Option<Identity>,
    /// URL of the identity server, with --identity exchange.
    #[arg(long, value_name = "URL")]
    pub identity_server: Option<String>,
    /// ConfigMap with the CA of the identity server, key `ca.crt`, with --identity exchange.
    #[arg(long, value_name = "NAMESPACE/NAME", value_parser = ObjectName::parse)]
    pub identity_ca: Option<ObjectName>,
    /// The credential ServiceAccount, with --identity exchange.
    #[arg(long, value_name = "NAMESPACE/NAME", value_parser = ObjectName::parse)]
    pub credential: Option<ObjectName>,
    /// Directory with the projected ServiceAccount tokens.
    #[arg(long, value_name = "PATH", default_value = pod::IDENTITY_DIR)]
    pub identity_dir: PathBuf,
}

/// Value of `--identity`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Identity {
    /// The credential ServiceAccount, whose token the agent cannot obtain.
    Exchange,
    /// The pod's own ServiceAccount. The agent can then read the grant Secrets, too.
    Pod,
}

/// Settings of the identity exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// URL of the identity server.
    pub server: Url,
    /// ConfigMap with its CA.
    pub ca: ObjectName,
    /// The credential ServiceAccount.
    pub credential: ObjectName,
}

impl Identity {
    /// The value of `--identity`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Exchange => "exchange",
            Self::Pod => "pod",
        }
    }
}

impl IdentityArgs {
    /// Returns what the exchange needs, where the arguments ask for one. `Err` is the sentence what to change.
    pub fn exchange(&self, in_cluster: bool) -> Result<Option<Exchange>, String> {
        let default = if in_cluster { Identity::Exchange } else { Identity::Pod };
        let parts = (&self.identity_server, &self.identity_ca, &self.credential);
        match (self.identity.unwrap_or(default), in_cluster, parts) {
            (Identity::Pod, _, (None, None, None)) => Ok(None),
            (Identity::Pod, ..) => Err(
                "--identity-server, --identity-ca and --credential: for --identity exchange alone; leave them out"
                    .to_owned(),
            ),
            (Identity::Exchange, false, _) => {
                Err("--identity exchange: only for --store kubernetes; leave it out".to_owned())
            }
            (Identity::Exchange, true, (Some(server), Some(ca), Some(credential))) => {
                let url = Url::parse(server).ok().filter(|url| {
                    url.scheme() == "https" && url.path() == "/" && url.query().is_none()
                });
                let server = url.ok_or("--identity-server: write https://HOST")?;
                Ok(Some(Exchange { server, ca: ca.clone(), credential: credential.clone() }))
            }
            (Identity::Exchange, true, _) => Err(
                "--identity-server, --identity-ca and --credential: needed with --identity exchange; or write --identity pod"
                    .to_owned(),
            ),
        }
    }
}
