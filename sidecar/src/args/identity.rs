//! Which account the Secrets are read as.

use std::path::PathBuf;
use std::str::FromStr;

use agent_creds_core::names::is_label;
use agent_creds_core::pod;
use clap::{Args, ValueEnum};
use url::Url;

use crate::object_name::ObjectName;

/// Which account the Secrets are read as, and how it is come by.
#[derive(Debug, Args)]
pub struct IdentityArgs {
    /// Which account reads the Secrets: `exchange`, a credential ServiceAccount of their own, whose token is got from the
    /// identity server; or `pod`, the pod's own. Default with --store kubernetes: `exchange`.
    #[arg(long)]
    pub identity: Option<Identity>,
    /// The identity server, with --identity exchange.
    #[arg(long, value_name = "URL")]
    pub identity_server: Option<Url>,
    /// ConfigMap with the CA of the identity server, key `ca.crt`, with --identity exchange.
    #[arg(long, value_name = "NAMESPACE/NAME")]
    pub identity_ca: Option<Place>,
    /// The credential ServiceAccount, with --identity exchange.
    #[arg(long, value_name = "NAMESPACE/NAME")]
    pub credential: Option<Place>,
    /// Volume with the sidecar's ServiceAccount tokens.
    #[arg(long, default_value = pod::IDENTITY_DIR)]
    pub identity_dir: PathBuf,
}

/// Value of `--identity`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Identity {
    /// A token of the credential ServiceAccount, which the agent cannot get.
    Exchange,
    /// The pod's own ServiceAccount: simple, and the agent can then read the grant Secrets too.
    Pod,
}

/// What an exchange needs to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// The identity server.
    pub server: Url,
    /// ConfigMap with its CA.
    pub ca: ObjectName,
    /// Whose tokens it gives.
    pub credential: ObjectName,
}

impl IdentityArgs {
    /// What is needed for an exchange, if there is to be one; or the sentence what to change.
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
                Err("--identity exchange: a directory asks nobody who reads it; leave it out".to_owned())
            }
            (Identity::Exchange, true, (Some(server), Some(ca), Some(credential))) => {
                if server.scheme() != "https" || server.path() != "/" || server.query().is_some() {
                    return Err("--identity-server: write https://HOST".to_owned());
                }
                let (ca, credential) = (ca.0.clone(), credential.0.clone());
                Ok(Some(Exchange { server: server.clone(), ca, credential }))
            }
            (Identity::Exchange, true, _) => Err(
                "--identity-server, --identity-ca and --credential: needed with --identity exchange; or write --identity pod"
                    .to_owned(),
            ),
        }
    }
}

/// `NAMESPACE/NAME` of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place(ObjectName);

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (namespace, name) = text.split_once('/').ok_or("write NAMESPACE/NAME")?;
        if !is_label(namespace) {
            return Err("the namespace before '/' is no valid name".to_owned());
        }
        if name.len() > 253 || !name.split('.').all(is_label) {
            return Err("what follows '/' is no valid name".to_owned());
        }
        Ok(Self(ObjectName { namespace: namespace.to_owned(), name: name.to_owned() }))
    }
}
