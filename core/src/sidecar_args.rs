//! The arguments of `agent-creds-sidecar serve`: one type, which the webhook renders into the injected container and the sidecar
//! parses. They are the only configuration of the sidecar: the environment of a pod is written by its author, by Services and by
//! other webhooks, so the sidecar reads nothing from there.

mod identity;

pub use identity::{Exchange, Identity, IdentityArgs};

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;

use crate::names::{LocalName, ObjectName, SecretName, is_label};
use crate::pod;

/// Which grants, and how their Secrets are reached.
#[derive(Clone, Debug, PartialEq, Args)]
pub struct GrantArgs {
    /// A grant: its local name and its grant Secret. Repeated for each grant.
    #[arg(long = "grant", value_name = "LOCAL=[NAMESPACE/]SECRET", required = true)]
    pub grants: Vec<GrantArg>,
    /// Where the Secrets are: `kubernetes`, or `dir:PATH` for a directory of manifests.
    #[arg(long, default_value = "kubernetes")]
    pub store: StoreArg,
    /// URL of the API server.
    #[arg(long, value_name = "URL", default_value = "https://kubernetes.default.svc")]
    pub api_server: String,
    /// CA certificates of the API server: base64 of PEM. This or --api-ca-file is needed with --store kubernetes.
    #[arg(long, value_name = "BASE64", conflicts_with = "api_ca_file")]
    pub api_ca_data: Option<String>,
    /// CA certificates of the API server: a file of PEM.
    #[arg(long, value_name = "PATH")]
    pub api_ca_file: Option<PathBuf>,
    /// CA certificates that are trusted at providers besides the public ones: base64 of PEM.
    #[arg(long, value_name = "BASE64")]
    pub provider_roots_data: Option<String>,
    /// Directory of the spool: answers that are not stored yet, and the probe socket.
    #[arg(long, value_name = "PATH", default_value = pod::SPOOL_DIR)]
    pub spool_dir: PathBuf,
    /// Multiplies all times of the refresh protocol, for tests.
    #[arg(long, default_value_t = 1.0, hide = true)]
    pub time_scale: f64,
    /// The account that the Secrets are read as.
    #[command(flatten)]
    pub identity: IdentityArgs,
}

/// Settings of `serve`.
#[derive(Clone, Debug, PartialEq, Args)]
pub struct ServeArgs {
    /// Which grants.
    #[command(flatten)]
    pub grants: GrantArgs,
    /// Port of the local API on 127.0.0.1.
    #[arg(long, default_value_t = pod::DEFAULT_PORT)]
    pub port: u16,
    /// Port of the metrics, on all addresses.
    #[arg(long, value_name = "PORT", default_value_t = pod::DEFAULT_METRICS_PORT)]
    pub metrics_port: u16,
    /// Report started only when every grant is ready, so that the main containers wait for that.
    #[arg(long)]
    pub strict_start: bool,
    /// Directory that is shared with the agent's containers: caller key and socket.
    #[arg(long, value_name = "PATH", default_value = pod::SHARED_DIR)]
    pub shared_dir: PathBuf,
}

/// Value of `--store`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreArg {
    /// The Kubernetes API.
    Kubernetes,
    /// A directory of Secret manifests.
    Directory(PathBuf),
}

impl fmt::Display for StoreArg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kubernetes => f.write_str("kubernetes"),
            Self::Directory(path) => write!(f, "dir:{}", path.display()),
        }
    }
}

impl FromStr for StoreArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match (text, text.strip_prefix("dir:")) {
            ("kubernetes", _) => Ok(Self::Kubernetes),
            (_, Some(path)) if !path.is_empty() => Ok(Self::Directory(path.into())),
            _ => Err("write kubernetes or dir:PATH".to_owned()),
        }
    }
}

/// Value of `--grant`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrantArg {
    /// Its local name.
    pub name: LocalName,
    /// Its grant Secret.
    pub secret: ObjectName,
}

impl FromStr for GrantArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (local, place) = text.split_once('=').ok_or("write LOCAL=[NAMESPACE/]SECRET")?;
        let (namespace, secret) = place.split_once('/').unwrap_or(("", place));
        if place.contains('/') && !is_label(namespace) {
            return Err("the namespace before '/' is no valid name".to_owned());
        }
        let name = LocalName::parse(local).map_err(|error| error.to_string())?;
        let secret = SecretName::parse(secret).map_err(|error| error.to_string())?;
        let secret = ObjectName { namespace: namespace.to_owned(), name: secret.as_str().to_owned() };
        Ok(Self { name, secret })
    }
}

impl GrantArgs {
    /// Returns what the identity exchange needs, where the arguments ask for one. `Err` is the sentence what to change.
    pub fn exchange(&self) -> Result<Option<Exchange>, String> {
        self.identity.exchange(self.store == StoreArg::Kubernetes)
    }

    /// Checks rules that concern several arguments. `Err` is the sentence what to change.
    pub fn validate(&self) -> Result<(), String> {
        for (i, grant) in self.grants.iter().enumerate() {
            if self.grants[..i].iter().any(|other| other.name == grant.name || other.secret == grant.secret) {
                return Err(format!("--grant {}={}: given twice; keep one", grant.name, grant.secret));
            }
            let no_namespace = grant.secret.namespace.is_empty();
            match self.store {
                StoreArg::Kubernetes if no_namespace => {
                    return Err(format!(
                        "--grant {}: write NAMESPACE/SECRET with --store kubernetes",
                        grant.name
                    ));
                }
                StoreArg::Directory(_) if !no_namespace => {
                    return Err(format!(
                        "--grant {}: a directory has no namespaces; write the Secret alone",
                        grant.name
                    ));
                }
                _ => {}
            }
        }
        if self.store == StoreArg::Kubernetes && self.api_ca_data.is_none() && self.api_ca_file.is_none() {
            return Err("--api-ca-data or --api-ca-file: needed with --store kubernetes".to_owned());
        }
        self.exchange().map(drop)
    }
}

impl ServeArgs {
    /// Checks rules that concern several arguments. `Err` is the sentence what to change.
    pub fn validate(&self) -> Result<(), String> {
        self.grants.validate()?;
        if self.port == self.metrics_port && self.port != 0 {
            return Err(format!("--port and --metrics-port: both are {}; write two", self.port));
        }
        Ok(())
    }

    /// Renders the arguments, as the sidecar parses them. Arguments that have the default of a pod are left out.
    pub fn render(&self) -> Vec<String> {
        let Self { grants, port, metrics_port, strict_start, shared_dir } = self;
        let GrantArgs {
            grants,
            store,
            api_server,
            api_ca_data,
            api_ca_file,
            provider_roots_data,
            spool_dir,
            time_scale,
            identity,
        } = grants;
        let IdentityArgs { identity: mode, identity_server, identity_ca, credential, identity_dir } =
            identity;
        let mut arguments = vec!["serve".to_owned(), format!("--store={store}")];
        let mut add = |name: &str, value: Option<String>| {
            arguments.extend(value.map(|value| format!("--{name}={value}")));
        };
        let path =
            |path: &PathBuf, default: &str| (path.as_os_str() != default).then(|| path.display().to_string());
        add("identity", mode.map(|mode| mode.as_str().to_owned()));
        add("api-server", Some(api_server.clone()));
        add("api-ca-data", api_ca_data.clone());
        add("api-ca-file", api_ca_file.as_ref().map(|path| path.display().to_string()));
        add("identity-server", identity_server.clone());
        add("identity-ca", identity_ca.as_ref().map(ObjectName::to_string));
        add("credential", credential.as_ref().map(ObjectName::to_string));
        add("identity-dir", path(identity_dir, pod::IDENTITY_DIR));
        add("provider-roots-data", provider_roots_data.clone());
        add("spool-dir", path(spool_dir, pod::SPOOL_DIR));
        add("shared-dir", path(shared_dir, pod::SHARED_DIR));
        add("time-scale", (*time_scale != 1.0).then(|| time_scale.to_string()));
        add("port", Some(port.to_string()));
        add("metrics-port", Some(metrics_port.to_string()));
        if *strict_start {
            arguments.push("--strict-start".to_owned());
        }
        arguments.extend(grants.iter().map(|grant| format!("--grant={}={}", grant.name, grant.secret)));
        arguments
    }
}

#[cfg(test)]
mod tests;
