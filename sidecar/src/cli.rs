//! The command line.

use std::path::PathBuf;

use agent_creds_core::pod;
use agent_creds_core::sidecar_args::{GrantArgs, ServeArgs};
use clap::{Args, Parser, Subcommand, ValueEnum};

/// Redeems grants, keeps their refresh tokens, and serves short-lived tokens to the agent in the same pod.
#[derive(Debug, Parser)]
#[command(name = "agent-creds-sidecar", version)]
pub struct Cli {
    /// The subcommand.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve tokens until SIGTERM.
    Serve(Box<ServeArgs>),
    /// Keep grants alive that no agent uses for a long time. Exit code 0: done, or nothing was due; 3: an answer could not be
    /// stored; 4: a person has to log in again; 1: any other failure.
    Refresh(Box<RefreshArgs>),
    /// Ask the running sidecar, for the kubelet's exec probes. Exit code 0: yes.
    Probe {
        /// The probe.
        kind: ProbeKind,
        /// Directory of the probe socket.
        #[arg(long, value_name = "PATH", default_value = pod::SPOOL_DIR)]
        spool_dir: PathBuf,
    },
    /// Tell the running sidecar that the pod is being deleted: it makes no new claims and goes on serving.
    Drain {
        /// Directory of the probe socket.
        #[arg(long, value_name = "PATH", default_value = pod::SPOOL_DIR)]
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

/// Settings of `refresh`.
#[derive(Debug, Args)]
pub struct RefreshArgs {
    /// Which grants.
    #[command(flatten)]
    pub grants: GrantArgs,
    /// Redeem what is due, and end. This flag is required.
    #[arg(long, required = true)]
    pub once: bool,
    /// Time limit in seconds. Default: ten terms of a claim, which is ten minutes.
    #[arg(long, value_name = "SECONDS")]
    pub deadline: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
