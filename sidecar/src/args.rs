//! The command line: the only way to configure the sidecar. The environment of a pod is written by its author, by
//! Services and by other webhooks; so nothing is read from there.

mod identity;

pub use identity::{Exchange, Identity, IdentityArgs, Place};

use std::path::PathBuf;
use std::str::FromStr;

use agent_creds_core::names::{LocalName, SecretName, is_label};
use agent_creds_core::pod;
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::object_name::ObjectName;

/// Redeems grants, keeps what lasts, and serves short-lived tokens to the agent beside it.
#[derive(Debug, Parser)]
#[command(name = "agent-creds-sidecar", version)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve tokens until SIGTERM.
    Serve(Box<ServeArgs>),
    /// Keep grants alive that no agent uses for long, without serving anybody. Exit 0: done, or nothing to do; 3: an answer
    /// could not be stored; 4: a person has to log in again; 1: anything else.
    Refresh(Box<RefreshArgs>),
    /// Ask the running sidecar, for the kubelet's exec probes. Exit 0: yes.
    Probe {
        /// What to ask.
        kind: ProbeKind,
        /// Directory of the probe socket.
        #[arg(long, default_value = pod::SPOOL_DIR)]
        spool_dir: PathBuf,
    },
    /// Tell the running sidecar that the pod is going away: no new claims, serving goes on.
    Drain {
        /// Directory of the probe socket.
        #[arg(long, default_value = pod::SPOOL_DIR)]
        spool_dir: PathBuf,
    },
}

/// The kubelet's probes.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum ProbeKind {
    /// May the main containers start?
    Startup,
    /// Is the process alive?
    Liveness,
}

/// Which grants, and how they are reached.
#[derive(Debug, Args)]
pub struct GrantArgs {
    /// A grant: what the agent calls it, and its Secret. Repeated for each.
    #[arg(long = "grant", value_name = "LOCAL=[NAMESPACE/]SECRET", required = true)]
    pub grants: Vec<GrantArg>,
    /// Where the Secrets are: `kubernetes`, or `dir:PATH` for a directory of manifests.
    #[arg(long, default_value = "kubernetes")]
    pub store: StoreArg,
    /// URL of the API server.
    #[arg(long, default_value = "https://kubernetes.default.svc")]
    pub api_server: String,
    /// CA certificates of the API server: base64 of PEM.
    #[arg(long, value_name = "BASE64", conflicts_with = "api_ca_file")]
    pub api_ca_data: Option<String>,
    /// The same as a file of PEM.
    #[arg(long, value_name = "PATH")]
    pub api_ca_file: Option<PathBuf>,
    /// CA certificates to trust at token endpoints besides the public ones: base64 of PEM.
    #[arg(long, value_name = "BASE64")]
    pub provider_roots_data: Option<String>,
    /// Volume of the sidecar alone: answers that are not stored yet, and the probe socket.
    #[arg(long, default_value = pod::SPOOL_DIR)]
    pub spool_dir: PathBuf,
    /// Multiplies all times of the refresh protocol, for tests.
    #[arg(long, default_value_t = 1.0, hide = true)]
    pub time_scale: f64,
    /// Which account the Secrets are read as.
    #[command(flatten)]
    pub identity: IdentityArgs,
}

/// Settings of `refresh`.
#[derive(Debug, Args)]
pub struct RefreshArgs {
    /// Which grants.
    #[command(flatten)]
    pub grants: GrantArgs,
    /// Redeem what has to be redeemed and end. There is no other way yet.
    #[arg(long, required = true)]
    pub once: bool,
    /// Seconds after which it ends, whatever is left. By default ten times the term of a claim: ten minutes.
    #[arg(long, value_name = "SECONDS")]
    pub deadline: Option<u64>,
}

/// Settings of `serve`.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// Which grants.
    #[command(flatten)]
    pub grants: GrantArgs,
    /// Port of the local API on 127.0.0.1.
    #[arg(long, default_value_t = pod::DEFAULT_PORT)]
    pub port: u16,
    /// Port of the metrics, on all addresses.
    #[arg(long, default_value_t = pod::DEFAULT_METRICS_PORT)]
    pub metrics_port: u16,
    /// The main containers wait until every grant is ready.
    #[arg(long)]
    pub strict_start: bool,
    /// Volume shared with the agent's containers: caller key and socket.
    #[arg(long, default_value = pod::SHARED_DIR)]
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
    /// What the agent calls it.
    pub name: LocalName,
    /// Its Secret.
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
    /// What is needed for an exchange of identities, if there is to be one; or the sentence what to change.
    pub fn exchange(&self) -> Result<Option<Exchange>, String> {
        self.identity.exchange(self.store == StoreArg::Kubernetes)
    }

    /// Rules across arguments. Returns the sentence what to change.
    pub fn validate(&self) -> Result<(), String> {
        for (i, grant) in self.grants.iter().enumerate() {
            if self.grants[..i].iter().any(|other| other.name == grant.name || other.secret == grant.secret) {
                return Err(format!("--grant {}={}: given twice; keep one", grant.name, grant.secret));
            }
            let place = grant.secret.namespace.is_empty();
            match self.store {
                StoreArg::Kubernetes if place => {
                    return Err(format!(
                        "--grant {}: write NAMESPACE/SECRET with --store kubernetes",
                        grant.name
                    ));
                }
                StoreArg::Directory(_) if !place => {
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
    /// Rules across arguments. Returns the sentence what to change.
    pub fn validate(&self) -> Result<(), String> {
        self.grants.validate()?;
        if self.port == self.metrics_port && self.port != 0 {
            return Err(format!("--port and --metrics-port: both are {}; write two", self.port));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn serve(extra: &[&str]) -> Result<(), String> {
        let base = ["agent-creds-sidecar", "serve"];
        let cli = Cli::try_parse_from(base.iter().chain(extra)).map_err(|error| error.to_string())?;
        let Command::Serve(args) = cli.command else {
            return Err("not serve".to_owned());
        };
        args.validate()
    }

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn a_refresh_is_of_the_same_grants_and_once() {
        let parse = |extra: &[&str]| {
            let base = [
                "agent-creds-sidecar",
                "refresh",
                "--grant=a=ops/s",
                "--api-ca-file=/ca.crt",
                "--identity=pod",
            ];
            Cli::try_parse_from(base.iter().chain(extra)).map_err(|error| error.to_string())
        };
        let Command::Refresh(args) = parse(&["--once", "--deadline=900"]).unwrap().command else {
            panic!("not refresh")
        };
        assert_eq!((args.deadline, args.grants.validate()), (Some(900), Ok(())));
        assert!(parse(&[]).unwrap_err().contains("--once"));
        assert!(parse(&["--once", "--port=1"]).unwrap_err().contains("--port"), "it listens nowhere");
    }

    #[test]
    fn grants_and_stores_fit_together() {
        assert_eq!(serve(&["--grant=a=ops/s", "--api-ca-data=x", "--identity=pod"]), Ok(()));
        assert_eq!(serve(&["--grant=a=s", "--store=dir:/tmp/x"]), Ok(()));
        for (args, message) in [
            (vec!["--grant=a=s", "--api-ca-data=x"], "write NAMESPACE/SECRET"),
            (vec!["--grant=a=ops/s", "--store=dir:/x"], "no namespaces"),
            (vec!["--grant=a=ops/s"], "--api-ca-data"),
            (vec!["--grant=a=x", "--grant=a=y", "--store=dir:/x"], "given twice"),
            (vec!["--grant=a=x", "--grant=b=x", "--store=dir:/x"], "given twice"),
            (vec!["--grant=a=x-state", "--store=dir:/x"], "reserved for state"),
            (vec!["--grant=a", "--store=dir:/x"], "LOCAL="),
            (vec!["--grant=a=A/x", "--store=dir:/x"], "namespace"),
            (vec!["--grant=a=x", "--store=file:/x"], "dir:PATH"),
            (vec!["--grant=a=x", "--store=dir:/x", "--port=1", "--metrics-port=1"], "write two"),
            (vec!["--grant=a=ops/s", "--api-ca-data=x", "--api-ca-file=/x"], "cannot be used with"),
            (vec!["--store=dir:/x"], "--grant"),
        ] {
            let error = serve(&args).expect_err(message);
            assert!(error.contains(message), "{args:?}: {error}");
        }
    }

    #[test]
    fn an_exchange_needs_to_know_with_whom_and_for_what() {
        let base = ["--grant=a=ops/s", "--api-ca-data=x"];
        let with = |extra: &[&'static str]| serve(&[&base[..], extra].concat());
        let (server, ca, credential) =
            ("--identity-server=https://i.sys.svc", "--identity-ca=sys/agent-creds-ca", "--credential=ops/c");
        assert_eq!(with(&[server, ca, credential]), Ok(()), "it is the default");
        assert_eq!(with(&[server, ca, credential, "--identity=exchange"]), Ok(()));
        for (extra, message) in [
            (vec![], "needed with --identity exchange"),
            (vec!["--identity=exchange", ca, credential], "needed with --identity exchange"),
            (vec![server, credential], "needed with --identity exchange"),
            (vec![server, ca], "needed with --identity exchange"),
            (vec!["--identity=pod", server], "leave them out"),
            (vec!["--identity=pod", credential], "leave them out"),
            (vec!["--identity-server=http://i.sys.svc", ca, credential], "write https://HOST"),
            (vec!["--identity-server=https://i/x", ca, credential], "write https://HOST"),
            (vec!["--identity-server=i.sys.svc", ca, credential], "--identity-server"),
            (vec![server, "--identity-ca=agent-creds-ca", credential], "write NAMESPACE/NAME"),
            (vec![server, ca, "--credential=OPS/c"], "namespace"),
            (vec![server, ca, "--credential=ops/c;d"], "no valid name"),
            (vec![server, ca, credential, "--identity=node"], "invalid value"),
        ] {
            let error = with(&extra).expect_err(message);
            assert!(error.contains(message), "{extra:?}: {error}");
        }
        let error = serve(&["--grant=a=x", "--store=dir:/x", "--identity=exchange"]).expect_err("no cluster");
        assert!(error.contains("a directory asks nobody"), "{error}");
    }
}
