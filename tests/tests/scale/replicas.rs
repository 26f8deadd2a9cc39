//! The two kinds of replicas.

use std::fmt;
use std::sync::Arc;

use agent_creds_tests::cluster;
use agent_creds_tests::event::fingerprint;
use agent_creds_tests::sidecar::{Secrets, Setup, Sidecar};
use tempfile::TempDir;

use super::group::{GRANT, Place};
use super::setting::{Setting, TIME_SCALE};
use super::swarm::Swarm;

/// URL of the test cluster's API server.
pub(crate) const API_SERVER: &str = "https://localhost:6443";

/// The kind of a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A process.
    Sidecars,
    /// The shipped refresher, in this process.
    Simulated,
}

/// All replicas of a grant; dropping them ends them.
pub(crate) enum Replicas {
    Sidecars(Fleet),
    Simulated(Box<Swarm>),
}

/// Real sidecars.
pub(crate) struct Fleet {
    arguments: Vec<String>,
    provider_ca: String,
    program: Option<std::path::PathBuf>,
    /// Contains the account's token.
    _identity: Arc<TempDir>,
    running: Vec<Sidecar>,
}

impl Replicas {
    /// Creates an empty set of replicas.
    pub(crate) fn new(kind: Kind, setting: &Setting, place: &Place<'_>) -> Self {
        match kind {
            Kind::Sidecars => Self::Sidecars(Fleet::new(setting, place)),
            Kind::Simulated => Self::Simulated(Box::new(Swarm::new(place))),
        }
    }

    /// Starts `more` replicas.
    pub(crate) async fn start(&mut self, more: usize) {
        match self {
            Self::Sidecars(fleet) => fleet.start(more).await,
            Self::Simulated(swarm) => swarm.start(more),
        }
    }

    pub(crate) fn count(&self) -> usize {
        match self {
            Self::Sidecars(fleet) => fleet.running.len(),
            Self::Simulated(swarm) => swarm.count(),
        }
    }

    /// Returns the number of replicas that do not serve the access token with this fingerprint.
    pub(crate) async fn not_serving(&self, fp: &str) -> usize {
        match self {
            Self::Sidecars(fleet) => fleet.not_serving(fp).await,
            Self::Simulated(swarm) => swarm.not_serving(fp),
        }
    }
}

impl Fleet {
    fn new(setting: &Setting, place: &Place<'_>) -> Self {
        let identity = tempfile::tempdir().expect("a temporary folder");
        std::fs::write(identity.path().join("api-token"), place.token).expect("writing into our own folder");
        let arguments = vec![
            format!("--grant={GRANT}={}/{GRANT}", place.namespace),
            format!("--time-scale={TIME_SCALE}"),
            format!("--api-server={API_SERVER}"),
            format!("--api-ca-file={}", cluster::directory().join("ca.crt").display()),
            "--identity=pod".to_owned(),
            format!("--identity-dir={}", identity.path().display()),
        ];
        let (provider_ca, program) = (place.provider_ca.to_owned(), setting.program.clone());
        Self { arguments, provider_ca, program, _identity: identity.into(), running: Vec::new() }
    }

    async fn start(&mut self, more: usize) {
        let secrets = Secrets::new();
        for _ in 0..more {
            let setup = Setup::new(&secrets).in_cluster().trust(&self.provider_ca);
            let setup = self.arguments.iter().fold(setup, |setup, argument| setup.argument(argument));
            let setup = match &self.program {
                Some(program) => setup.program(program),
                None => setup,
            };
            self.running.push(setup.start().await);
        }
    }

    async fn not_serving(&self, fp: &str) -> usize {
        let mut lacking = 0;
        for sidecar in &self.running {
            let token = sidecar.token(GRANT).await.text("access_token");
            lacking += usize::from(token.is_none_or(|token| fingerprint(&token) != fp));
        }
        lacking
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sidecars => "sidecars",
            Self::Simulated => "simulated",
        })
    }
}
