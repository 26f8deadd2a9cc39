//! The subcommands, one file each. They read arguments and files, and connect the parts.

pub mod admit;
pub mod identity;
pub mod inject;
pub mod manage;
mod serving;

use clap::{Parser, Subcommand};

/// Admission of agent-creds.
#[derive(Debug, Parser)]
#[command(version, about)]
pub struct Cli {
    /// The role to run.
    #[command(subcommand)]
    pub role: Role,
}

/// The roles.
#[derive(Debug, Subcommand)]
pub enum Role {
    /// Answer the API server's admission requests.
    Admit(admit::Config),
    /// Exchange the identity of an injected pod for a token of its credential ServiceAccount.
    Identity(identity::Config),
    /// Print what admission would make of manifests. Needs no cluster.
    Inject(inject::Config),
    /// Keep certificates, their CA and the seal keys.
    Manage(manage::Config),
}
